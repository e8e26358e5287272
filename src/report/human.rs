//! For people: the problem, the line, a caret, and advice.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Excerpt, Finding, FindingCounts, Judged, Place, Report, Severity, Summary};

pub(super) struct Human<'w> {
    out: &'w mut dyn Write,
    renderer: Renderer,
}

impl<'w> Human<'w> {
    pub(super) fn new(out: &'w mut dyn Write, colors: bool) -> Self {
        Self { out, renderer: if colors { Renderer::styled() } else { Renderer::plain() } }
    }
}

impl Report for Human<'_> {
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let object = judged.object.map(ToString::to_string);
        for found in judged.findings.iter().filter(|found| found.ignored.is_none()) {
            writeln!(self.out, "{}\n", self.renderer.render(&[group(found, judged.source, object.as_deref())]))?;
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        self.out.write_all(table(&summary.namespaces).as_bytes())?;
        writeln!(self.out, "{}", totals(summary))?;
        self.out.flush()
    }
}

fn group<'a>(found: &'a Finding, source: &'a str, object: Option<&'a str>) -> Group<'a> {
    let level = match found.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error | Severity::Unreadable => Level::ERROR,
    };
    let shown = found.place.as_ref().and_then(|place| Some((place, place.excerpt.as_ref()?)));
    // Without a line to mark, the advice stays in the sentence.
    let title = if shown.is_some() { found.fault_with_field() } else { found.message_with_field() };
    let mut group = Group::with_title(level.primary_title(title).id(found.id));
    if let Some((place, excerpt)) = shown {
        group = group.element(snippet(place, excerpt, found.problem.advice.as_deref(), AnnotationKind::Primary));
        let used = place.used.as_ref().filter(|used| used.start.line != place.start.line);
        let used = used.and_then(|used| Some((used, used.excerpt.as_ref()?)));
        group = group.elements(used.map(|(used, excerpt)| snippet(used, excerpt, Some("used here"), AnnotationKind::Context)));
    } else if let Some(place) = &found.place {
        let origin = annotate_snippets::Origin::path(&*place.file).line(place.start.line).char_column(place.start.column);
        group = group.element(origin);
    } else {
        // Without a text, the object is the place.
        return group.element(annotate_snippets::Origin::path(object.unwrap_or(source)));
    }
    group.elements(object.map(|object| Level::NOTE.message(object)))
}

fn snippet<'a>(
    place: &'a Place,
    excerpt: &'a Excerpt,
    label: Option<&'a str>,
    kind: AnnotationKind,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let snippet = Snippet::source(&*excerpt.line).line_start(place.start.line).path(&*place.file).fold(false);
    snippet.annotation(kind.span(excerpt.marked.clone()).label(label))
}

/// A line for each namespace; empty if totals are not by namespace.
fn table(namespaces: &BTreeMap<String, FindingCounts>) -> String {
    if namespaces.is_empty() {
        return String::new();
    }
    let width = namespaces.keys().map(String::len).chain([NAMESPACE.len()]).max().unwrap_or_default();
    let mut table = format!("{NAMESPACE:width$}  OBJECTS  WITH LIMITS  ERRORS  WARNINGS\n");
    for (namespace, totals) in namespaces {
        let FindingCounts { judged, limited, errors, warnings, .. } = totals;
        table += &format!("{namespace:width$}  {judged:>7}  {limited:>11}  {errors:>6}  {warnings:>8}\n");
    }
    table + "\n"
}

const NAMESPACE: &str = "NAMESPACE";

fn totals(summary: &Summary) -> String {
    let &Summary { judged, skipped, templates, patches, placeholders, errors, warnings, ignored, unreadable, .. } = summary;
    let mut line = format!("{judged} checked");
    if skipped > 0 {
        line += &format!(", {skipped} of other kinds");
    }
    if templates > 0 {
        line += &format!(", {} not checked", counted(templates, "template"));
    }
    if patches > 0 {
        line += &format!(", {} not checked (check what kustomize renders)", counted(patches, "patch"));
    }
    if placeholders > 0 {
        line += &format!(", {placeholders} with placeholders that could not be checked (check what is applied)");
    }
    let counts = [(errors, "error"), (warnings, "warning"), (unreadable, "unreadable"), (ignored, "ignored")];
    let counts: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| counted(*count, word)).collect();
    line + ": "
        + &match counts.as_slice() {
            // Nothing checked is not the same as no problems.
            [] if judged == 0 => "nothing to check".to_owned(),
            [] => "no problems".to_owned(),
            counts => counts.join(", "),
        }
}

fn counted(count: usize, word: &str) -> String {
    let plural = match word {
        "error" | "warning" | "template" if count > 1 => "s",
        "patch" if count > 1 => "es",
        _ => "",
    };
    format!("{count} {word}{plural}")
}
