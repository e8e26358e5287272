//! A finding: what is wrong, in which object, and where that is written.

use std::{fmt, sync::Arc};

use crate::{
    manifest::{Broken, MARK, Node, Position, Span, Text, template},
    model::{path::FieldPath, problem::Problem, subject::Kind},
    rules::{Effect, RULES, Violation},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; does not fail a command.
    Warning,
    /// The object would be denied, or its limits lost.
    Error,
    /// It could not be checked.
    Unreadable,
}

impl Severity {
    /// As in every format but SARIF's levels, which are the same words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error | Self::Unreadable => "error",
        }
    }
}

impl From<Effect> for Severity {
    fn from(level: Effect) -> Self {
        match level {
            Effect::Deny => Self::Error,
            Effect::Warn => Self::Warning,
        }
    }
}

/// What can be found: a rule of the table, or one of [`MORE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Stable.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is found, for people.
    pub says: &'static str,
    /// Why that matters, and what to do about it.
    pub why: &'static str,
}

/// Findings that are not rules.
pub const MORE: [Row; 11] = [
    Row {
        id: "crd-pruned",
        severity: Severity::Error,
        says: "a field that the CRD does not have, so that the API server drops it",
        why: "The API server silently drops fields that a CRD's schema does not have, and a dropped limit limits nothing. Upgrade the CRD, or use \
              a field that it has.",
    },
    Row {
        id: "crd-rule",
        severity: Severity::Error,
        says: "a validation rule of the CRD itself",
        why: "The API server rejects objects that break the CRD's own CEL rules. Messages of those in `tollgate crds` begin with the ids of the \
              rules here; for others, ask the author of the CRD.",
    },
    Row {
        id: "crd-version",
        severity: Severity::Error,
        says: "a version that the CRD does not serve",
        why: "The API server does not know the kind in a version that the CRD does not serve. Use one that it serves.",
    },
    Row {
        id: "limits-lost",
        severity: Severity::Error,
        says: "limits that kubectl applied but the object lacks: dropped by the CRD, or removed by someone (audit)",
        why: "kubectl records what it applied in an annotation of the object. A limit that is there but not in the object was dropped by a CRD \
              without the field, or removed by someone: people rely on a limit that is not enforced. Upgrade the CRD and apply again, or \
              remove the limit from the manifest.",
    },
    Row {
        id: "no-version",
        severity: Severity::Warning,
        says: "an object with the name of our kind, but without apiVersion",
        why: "Other groups have kinds of the same name, so an object without apiVersion is not checked; the API server would reject it. Set \
              apiVersion.",
    },
    Row {
        id: "not-enforced",
        severity: Severity::Error,
        says: "limits of the object that ToolHive's operator did not render, so that its proxy does not enforce them (audit)",
        why: "ToolHive's proxies read a ConfigMap that its operator renders (NAME-runconfig, NAME-vmcp-config), not the object. As published, \
              the operator reads shared and does not know global, and of a VirtualMCPServer it reads only spec.config.rateLimiting: the rest \
              is missing at run time, while the object's status says that the limits are valid. Write shared, in the place that is read, or \
              let `tollgate serve` keep both names (--shared-alias auto or mirror). A warning means that the operator has not rendered the \
              object's current generation yet.",
    },
    Row {
        id: "nothing-found",
        severity: Severity::Unreadable,
        says: "a folder without any MCPServer or VirtualMCPServer (with --strict)",
        why: "A folder that holds nothing to check looks like one without faults, though the path may be wrong, the manifests may be generated \
              later, or everything is excluded. With --strict that is exit code 2. Name the folder that has the manifests, or check what \
              your tools render: `kubectl kustomize . | tollgate check -`.",
    },
    Row {
        id: "outgoing-auth",
        severity: Severity::Error,
        says: "perUser with an MCPExternalAuthConfig that does not authenticate callers (audit)",
        why: "Most types of MCPExternalAuthConfig authenticate the server to others, not callers to the server. Without users to count, \
              perUser is ignored at run time. Set spec.oidcConfigRef, or use global.",
    },
    Row {
        id: "shared-applied",
        severity: Severity::Warning,
        says: "a manager whose manifest still says shared (audit)",
        why: "The stored object may say global already, but the manifest that says shared will be applied and renamed again. Write global in \
              the manifest: `tollgate migrate` does that.",
    },
    Row {
        id: "unreadable",
        severity: Severity::Unreadable,
        says: "a file that cannot be parsed",
        why: "A file that cannot be parsed cannot be checked: exit code 2. A file that does not parse and never mentions MCPServer only produces a \
              warning; a template that never mentions it is only counted.",
    },
    Row {
        id: "unused-ignore",
        severity: Severity::Warning,
        says: "an entry of .tollgate.toml that ignores or excludes nothing",
        why: "It is misspelt, or what it was about is gone. Remove it, before it hides something new.",
    },
];

/// Everything that can be found: the rules, then [`MORE`].
pub fn rows() -> impl Iterator<Item = Row> {
    let rules = RULES.iter().map(|rule| Row { id: rule.id, severity: rule.level.into(), says: rule.says, why: rule.explanation.why });
    rules.chain(MORE)
}

/// Which object a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// `metadata.name`, or `metadata.generateName`.
    pub name: Option<String>,
}

impl Object {
    /// The kind and the names of an object in a text.
    pub fn of(kind: Kind, node: &Node) -> Self {
        let metadata = node.field("metadata").map(|entry| &entry.node);
        let text = |key| metadata.and_then(|metadata| metadata.text(key)).map(str::to_owned);
        Self { kind: kind.name().to_owned(), namespace: text("namespace"), name: text("name").or_else(|| text("generateName")) }
    }

    /// `namespace/name`, as far as there are such.
    pub fn qualified_name(&self) -> String {
        let name = self.name.as_deref().unwrap_or("(no name)");
        self.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that could not be one may hold what a terminal obeys.
        for char in format!("{} {}", self.kind, self.qualified_name()).chars() {
            if char.is_control() { write!(f, "{}", char.escape_default())? } else { write!(f, "{char}")? }
        }
        Ok(())
    }
}

/// One problem that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The id of its [`Row`].
    pub id: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// The field, if it is about one.
    pub path: Option<FieldPath>,
    /// What is wrong, and what to do about it.
    pub problem: Problem,
    /// Where it is written, if it is in a text.
    pub place: Option<Place>,
    /// The reason given for ignoring it.
    pub ignored: Option<String>,
}

impl Finding {
    /// A finding with the severity of its row.
    pub fn new(id: &'static str, problem: impl Into<Problem>) -> Self {
        let severity = rows().find(|row| row.id == id).map_or(Severity::Error, |row| row.severity);
        Self { id, severity, path: None, problem: problem.into(), place: None, ignored: None }
    }

    /// A text that cannot be read, with a message of its own for templates.
    pub fn unreadable(file: &Arc<str>, text: &Text, broken: &Broken, with_templates: &'static str) -> Self {
        let template = template(text.as_str());
        let problem = template
            .map_or_else(|| Problem::clone(&broken.problem), |_| Problem::new("this is a template, not YAML").advice(with_templates));
        let at = template.unwrap_or(broken.at).min(text.as_str().len());
        Self::new("unreadable", problem).at(Place::new(file, text, &(at..at + 1)))
    }

    /// A text that cannot be read and does not mention our kinds: an error, but it cannot hide limits.
    pub fn unread(file: &Arc<str>, text: &Text, broken: &Broken) -> Self {
        let advice = format!("the file does not mention {MARK}, so this is only a warning");
        let problem = Problem::new(broken.problem.fault.clone()).advice(advice);
        let at = broken.at.min(text.as_str().len());
        Self { severity: Severity::Warning, ..Self::new("unreadable", problem) }.at(Place::new(file, text, &(at..at + 1)))
    }

    /// This finding about a field.
    #[must_use]
    pub fn on(mut self, path: FieldPath) -> Self {
        self.path = Some(path);
        self
    }

    /// This finding at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// This finding at its field in the text of its object.
    #[must_use]
    pub fn in_text(self, file: &Arc<str>, text: &Text, node: &Node) -> Self {
        let Some(path) = &self.path else { return self };
        let located = node.locate(path);
        // A name that is wrong is pointed at itself; of other fields, the value where it fits a line.
        let is_about_name = matches!(self.id, "TG011" | "crd-pruned");
        let aims_at_value =
            located.key.is_empty() || (located.is_scalar && located.is_exact && !is_about_name && !located.value.is_empty());
        let place = |span: &Span| Place::new(file, text, span);
        let mut at = place(if aims_at_value { &located.value } else { &located.key });
        at.used = located.through.as_ref().map(|through| Box::new(place(through)));
        self.at(at)
    }

    /// The problem in one line, after the field.
    pub fn message_with_field(&self) -> String {
        self.after_field(&self.problem)
    }

    /// The fault without advice, after the field.
    pub(super) fn fault_with_field(&self) -> String {
        self.after_field(&self.problem.fault)
    }

    fn after_field(&self, words: &impl fmt::Display) -> String {
        self.path.as_ref().map_or_else(|| words.to_string(), |path| format!("{path}: {words}"))
    }
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        let Violation { rule, level, path, problem, .. } = violation;
        Self { id: rule, severity: level.into(), path: Some(path), problem, place: None, ignored: None }
    }
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// The first character.
    pub start: Position,
    /// The one after the last, in the same line.
    pub end: Position,
    /// The line; none where it is longer than [`LONGEST_LINE`].
    pub excerpt: Option<Excerpt>,
    /// Where an alias or a merge key inserts it into the object.
    pub used: Option<Box<Place>>,
}

/// A line that is longer than this, such as a file of JSON without line ends, is not shown, and not copied for each finding in it.
pub const LONGEST_LINE: usize = 2_000;

/// A line, and the part of it to mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, without its end.
    pub line: Arc<str>,
    /// Bytes of it.
    pub marked: Span,
}

impl Place {
    /// The place of some bytes of a text, in whole characters; of several lines, the first. A span that begins in a line's end is placed
    /// where the line ends.
    pub fn new(file: &Arc<str>, text: &Text, span: &Span) -> Self {
        let around = text.line_around(span.start);
        let is_boundary = |at: &usize| text.as_str().is_char_boundary(*at);
        let start = (around.start..=span.start.min(around.end)).rev().find(is_boundary).unwrap_or(around.start);
        let end = (span.end.max(start)..around.end).find(is_boundary).unwrap_or(around.end);
        let is_shown = around.len() <= LONGEST_LINE;
        let excerpt = is_shown.then(|| Excerpt { line: text.line(start), marked: start - around.start..end - around.start });
        Self { file: file.clone(), start: text.position(start), end: text.position(end), excerpt, used: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_does_not_make_advice() {
        let found = Finding::new("TG007", Problem::new(r#""a: b" is not a period"#).advice("write 1m: a minute"));
        let found = found.on(FieldPath::new(["spec"]));
        assert_eq!(found.fault_with_field(), r#"spec: "a: b" is not a period"#);
        assert_eq!(found.message_with_field(), r#"spec: "a: b" is not a period: write 1m: a minute"#);
        assert_eq!(Finding::new("TG101", "deprecated, write global").fault_with_field(), "deprecated, write global");
    }

    #[test]
    fn a_place_of_several_lines_is_its_first() {
        let text = Text::new("a:\n  tools: [\n  ]\n".to_owned(), 10, 0);
        let place = Place::new(&"f.yaml".into(), &text, &(5..17));
        assert_eq!((place.start.line, place.start.column, place.end.line, place.end.column), (11, 3, 11, 11));
        assert_eq!(marked(&place).as_deref(), Some("tools: ["));
    }

    #[test]
    fn a_place_has_whole_characters() {
        let text = Text::new("a: é\n".to_owned(), 1, 0);
        for span in [3..4, 3..5, 4..5, 4..4, 3..9] {
            let place = Place::new(&"f.yaml".into(), &text, &span);
            assert_eq!((place.start.column, place.end.column, marked(&place).as_deref()), (4, 5, Some("é")), "{span:?}");
        }
    }

    #[test]
    fn a_place_in_the_end_of_a_line_is_where_that_begins() {
        for end in ["", "\n", "\r\n", "\r\r", "\r\r\r\n", "\r\rb\n"] {
            let text = Text::new(format!("a\nab{end}"), 1, 0);
            for at in 4..text.as_str().len().max(5) {
                let place = Place::new(&"f.yaml".into(), &text, &(at..at + 1));
                let line = &place.excerpt.as_ref().expect("a short line").line;
                assert!(place.start <= place.end && marked(&place).is_some(), "{at} of {line:?}: {place:?}");
                if !end.contains('b') {
                    assert_eq!((place.start, marked(&place).as_deref()), (Position { line: 2, column: 3 }, Some("")), "{at} of {end:?}");
                }
            }
        }
    }

    fn marked(place: &Place) -> Option<String> {
        let Excerpt { line, marked } = place.excerpt.as_ref()?;
        line.get(marked.clone()).map(str::to_owned)
    }

    #[test]
    fn findings_in_one_line_share_it_and_a_long_line_is_not_kept() {
        let text = Text::new(format!("a: [1, 2]\n{}", "x".repeat(LONGEST_LINE + 1)), 1, 0);
        let lines = [4, 7, 10].map(|at| Place::new(&"f.yaml".into(), &text, &(at..at + 1)).excerpt.map(|excerpt| excerpt.line));
        let [Some(first), Some(second), None] = lines else { panic!("{lines:?}") };
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = rows().map(|row| row.id).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }
}
