//! From a document to what is found in its objects.

use std::sync::Arc;

use crate::{
    config::{
        rules::{Context, check},
        subject::{Kind, Subject},
    },
    report::{Finding, Object, Place},
    source::{Broken, MARK, Node, Piece, Raw, Span, Text, kind_and_version, read},
};

const TEMPLATES: &str = "judge what it gives, as in `helm template . | tollgate check -`";

/// What a document gave.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Each object of our kinds, with everything found in it.
    pub(super) objects: Vec<(Object, Vec<Finding>)>,
    /// Objects of other kinds, and texts that hold none of ours.
    pub(super) skipped: usize,
    /// Why the rest could not be read.
    pub(super) unreadable: Option<Finding>,
}

/// Judges every object of a document.
pub(super) fn judge(file: &Arc<str>, raw: Raw) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let (text, broken) = match raw.text() {
        Ok(text) => {
            let end = read(text.as_str(), &mut |piece| {
                let Piece::Object(node) = piece else { return };
                match identity(&node) {
                    Some((kind, object)) => verdicts.objects.push((object, findings(file, &text, kind, &node))),
                    None => verdicts.skipped += 1,
                }
            });
            (text, end.err())
        }
        Err((text, at)) => (text, Some(Broken { at, message: "this is no UTF-8 text".to_owned() })),
    };
    match broken {
        // What does not even name our kinds is not ours to complain about.
        Some(_) if !text.as_str().contains(MARK) => verdicts.skipped += 1,
        Some(broken) => verdicts.unreadable = Some(Finding::unreadable(file, &text, &broken, TEMPLATES)),
        None => {}
    }
    verdicts
}

/// The kind and the names of an object of ours.
fn identity(node: &Node) -> Option<(Kind, Object)> {
    let (kind, _) = kind_and_version(node)?;
    let metadata = node.field("metadata").map(|entry| &entry.node);
    let text = |key| metadata.and_then(|metadata| metadata.text(key)).map(str::to_owned);
    let name = text("name").or_else(|| text("generateName"));
    Some((kind, Object { kind: kind.name().to_owned(), namespace: text("namespace"), name }))
}

fn findings(file: &Arc<str>, text: &Text, kind: Kind, node: &Node) -> Vec<Finding> {
    let object = node.to_value();
    let found = check(&Context::new(Subject::new(kind, &object))).into_iter().map(Finding::from);
    found.map(|found| placed(file, text, node, found)).collect()
}

/// The finding at its field in the text.
fn placed(file: &Arc<str>, text: &Text, node: &Node, found: Finding) -> Finding {
    let Some(path) = &found.path else { return found };
    let located = node.locate(path);
    // A name that is wrong is pointed at itself; of other fields, the value where it fits a line.
    let is_about_name = matches!(found.id, "TG011" | "crd-pruned");
    let aims_at_value = located.key.is_empty() || (located.is_scalar && located.is_exact && !is_about_name && !located.value.is_empty());
    let place = |span: &Span| Place::new(file, text, span);
    let mut at = place(if aims_at_value { &located.value } else { &located.key });
    at.used = located.through.as_ref().map(|through| Box::new(place(through)));
    found.at(at)
}
