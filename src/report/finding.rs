//! A finding: what is wrong, in which object, and where that is written.

use std::{fmt, sync::Arc};

use crate::{
    manifest::{Broken, MARK, Position, Span, Text, template},
    model::path::FieldPath,
    rules::{Effect, RULES, Violation},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be told, no more.
    Warning,
    /// A fault: the object would be refused, or its limits lost.
    Error,
    /// Nobody can tell whether something is wrong.
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
    /// When it is found, for a person.
    pub says: &'static str,
    /// Why that matters, and what to do about it.
    pub why: &'static str,
}

/// What is found beside the rules.
pub const MORE: [Row; 11] = [
    Row {
        id: "crd-pruned",
        severity: Severity::Error,
        says: "a field that the CRD does not have, so that the API server drops it",
        why: "The API server drops what a CRD's schema does not name, without a word, and a limit under a dropped name limits nothing. Upgrade \
              the CRD, or write a name that it has.",
    },
    Row {
        id: "crd-rule",
        severity: Severity::Error,
        says: "a validation rule of the CRD itself",
        why: "The CRD's own rules, in CEL, refuse the object at the API server, whatever else is said of it. Those of `tollgate crds` begin with \
              the ids of the rules here; others are explained by whoever made the CRD.",
    },
    Row {
        id: "crd-version",
        severity: Severity::Error,
        says: "a version that the CRD does not serve",
        why: "In a version that the CRD does not serve, the API server knows no such kind. Write one that it serves.",
    },
    Row {
        id: "limits-lost",
        severity: Severity::Error,
        says: "limits that kubectl applied and the object does not hold: dropped by the CRD, or removed by somebody (audit)",
        why: "kubectl notes what it applied in an annotation of the object. What stands there and not in the object was dropped by a CRD that \
              does not have the field, or somebody removed it: everybody believes in a limit that is none. Upgrade the CRD and apply again, or \
              take the limit out of the manifest.",
    },
    Row {
        id: "no-version",
        severity: Severity::Warning,
        says: "an object of a kind with our name, and without apiVersion",
        why: "Others have kinds of the same name, so an object without apiVersion is nobody's, and is not judged; the API server would not take \
              it. Write apiVersion.",
    },
    Row {
        id: "not-enforced",
        severity: Severity::Error,
        says: "limits that the object holds and ToolHive's operator did not render, so that its proxy does not enforce them (audit)",
        why: "ToolHive's proxies read a ConfigMap that its operator renders (NAME-runconfig, NAME-vmcp-config), not the object. As published, \
              the operator reads shared and does not know global, and of a VirtualMCPServer it reads spec.config.rateLimiting alone: the rest \
              is missing at run time, while the object's status says that the limits are valid. Write shared, at the place that is read, or \
              let `tollgate serve` keep both names (--shared-alias auto or mirror). A warning says that the operator has not rendered the \
              object's present generation yet.",
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
        says: "perUser with an MCPExternalAuthConfig that signs no caller in (audit)",
        why: "Most types of MCPExternalAuthConfig sign the server in elsewhere, and no caller in to the server. Then there is no user to count, \
              and perUser is passed over at run time. Set spec.oidcConfigRef, or use global.",
    },
    Row {
        id: "shared-applied",
        severity: Severity::Warning,
        says: "a manager whose manifest still says shared (audit)",
        why: "What is stored may say global already; the manifest that says shared will be applied again, and will have to be renamed again. \
              Write global there: `tollgate migrate` does so.",
    },
    Row {
        id: "unreadable",
        severity: Severity::Unreadable,
        says: "a text that cannot be read",
        why: "What cannot be read cannot be judged: exit code 2, nobody can tell. A broken text that says MCPServer nowhere hides no limits and \
              only warns; a template that says it nowhere is only counted.",
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

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The id of its [`Row`].
    pub id: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// The field, where it is about one.
    pub path: Option<FieldPath>,
    /// What is wrong, and after the last colon what to write instead.
    pub message: String,
    /// Where that is written, where it is.
    pub place: Option<Place>,
    /// Why somebody said to ignore it.
    pub ignored: Option<String>,
}

impl Finding {
    /// A finding as grave as its row says.
    pub fn new(id: &'static str, message: impl Into<String>) -> Self {
        let severity = rows().find(|row| row.id == id).map_or(Severity::Error, |row| row.severity);
        Self { id, severity, path: None, message: message.into(), place: None, ignored: None }
    }

    /// A text that cannot be read, with a word of its own for templates.
    pub fn unreadable(file: &Arc<str>, text: &Text, broken: &Broken, with_templates: &str) -> Self {
        let template = template(text.as_str());
        let message = template.map_or_else(|| broken.message.clone(), |_| format!("this is a template, not YAML: {with_templates}"));
        let at = template.unwrap_or(broken.at).min(text.as_str().len());
        Self::new("unreadable", message).at(Place::new(file, text, &(at..at + 1)))
    }

    /// A text that cannot be read, and does not name our kinds: a slip of somebody's, which hides no limits.
    pub fn unread(file: &Arc<str>, text: &Text, broken: &Broken) -> Self {
        let fault = broken.message.split(": ").next().unwrap_or_default();
        let message = format!("{fault}: it says {MARK} nowhere, and counts as another kind");
        let at = broken.at.min(text.as_str().len());
        Self { severity: Severity::Warning, ..Self::new("unreadable", message) }.at(Place::new(file, text, &(at..at + 1)))
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

    /// What is wrong, with the field that is.
    pub fn told(&self) -> String {
        self.path.as_ref().map_or_else(|| self.message.clone(), |path| format!("{path}: {}", self.message))
    }

    /// What is wrong, with the field that is, and apart from it what to write instead.
    pub(super) fn fault_and_advice(&self) -> (String, Option<&str>) {
        let told = |fault: &str| self.path.as_ref().map_or_else(|| fault.to_owned(), |path| format!("{path}: {fault}"));
        match self.message.rsplit_once(": ") {
            // A colon inside of quoted text is none of ours.
            Some((fault, advice)) if !advice.contains('"') => (told(fault), Some(advice)),
            _ => (told(&self.message), None),
        }
    }
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        let Violation { rule, level, path, message, .. } = violation;
        Self { id: rule, severity: level.into(), path: Some(path), message, place: None, ignored: None }
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
    /// Where an alias or a merge brings that place into the object.
    pub used: Option<Box<Place>>,
}

/// A line that is longer than this, such as a file of JSON without line ends, is not shown, and not copied for each finding in it.
pub const LONGEST_LINE: usize = 2_000;

/// A line, and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, without its end.
    pub line: Arc<str>,
    /// Bytes of it.
    pub marked: Span,
}

impl Place {
    /// The place of some bytes of a text, in whole characters; of several lines, the first.
    pub fn new(file: &Arc<str>, text: &Text, span: &Span) -> Self {
        let around = text.line_around(span.start);
        let mut end = span.end.clamp(span.start, around.end.max(span.start));
        while !text.as_str().is_char_boundary(end) {
            end += 1;
        }
        let is_shown = around.len() <= LONGEST_LINE;
        let excerpt = is_shown.then(|| Excerpt { line: text.line(span.start), marked: span.start - around.start..end - around.start });
        Self { file: file.clone(), start: text.position(span.start), end: text.position(end), excerpt, used: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_what_follows_the_last_colon_of_our_own() {
        let parts = |message: &str| {
            let found = Finding::new("TG007", message);
            let (fault, advice) = found.fault_and_advice();
            (fault, advice.map(str::to_owned))
        };
        assert_eq!(parts("is missing: write it"), ("is missing".to_owned(), Some("write it".to_owned())));
        assert_eq!(parts(r#"there is no Secret "a: b""#), (r#"there is no Secret "a: b""#.to_owned(), None));
        assert_eq!(parts("deprecated, write global"), ("deprecated, write global".to_owned(), None));
    }

    #[test]
    fn a_place_of_several_lines_is_its_first() {
        let text = Text::new("a:\n  tools: [\n  ]\n".to_owned(), 10, 0);
        let place = Place::new(&"f.yaml".into(), &text, &(5..17));
        assert_eq!((place.start.line, place.start.column, place.end.line, place.end.column), (11, 3, 11, 11));
        assert_eq!(marked(&place).as_deref(), Some("tools: ["));
    }

    #[test]
    fn a_place_ends_behind_a_character() {
        let text = Text::new("a: é\n".to_owned(), 1, 0);
        let place = Place::new(&"f.yaml".into(), &text, &(3..4));
        assert_eq!((place.end.column, marked(&place).as_deref()), (5, Some("é")));
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
