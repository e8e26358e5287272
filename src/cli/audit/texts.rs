//! An audit of what `kubectl get -o yaml` printed. Neighbours may come after the objects that refer to them, so all is read first.

use std::{path::PathBuf, rc::Rc, sync::Arc};

use super::judged::Audit;
use crate::{
    audit::{around::Neighbours, judge},
    cli::inputs::{Input, expand},
    manifest::{Node, Piece, Raw, Text, kind_and_version, read},
    model::{
        GROUP,
        subject::{Kind, RefKind, Subject},
    },
    report::{Finding, Object},
};

const TEMPLATES: &str = "audit what a cluster holds, as in `kubectl get -o yaml`";

pub(super) fn look(paths: &[PathBuf], audit: &mut Audit<'_>) {
    let skips = audit.ignores.excludes();
    let mut read = Read::default();
    for input in expand(paths, &*skips) {
        match input {
            Ok(input) => read.input(&Rc::new(input), audit),
            Err(missing) => audit.reporter.text(&missing.name, vec![Finding::new("unreadable", missing.message)]),
        }
    }
    audit.reporter.summary.skipped = read.skipped;
    for held in &read.held {
        let value = held.node.to_value();
        let subject = Subject::new(held.kind, &value);
        let found = judge(subject, &read.around).into_iter().map(|found| found.in_text(&held.file, &held.text, &held.node));
        audit.judged(&held.file, &held.input, &held.object, subject, found.collect());
    }
}

/// An object, and where it stands.
struct Held {
    input: Rc<Input>,
    file: Arc<str>,
    text: Rc<Text>,
    node: Rc<Node>,
    kind: Kind,
    object: Object,
}

/// What the texts hold.
#[derive(Default)]
struct Read {
    held: Vec<Held>,
    around: Neighbours,
    skipped: usize,
}

impl Read {
    fn input(&mut self, input: &Rc<Input>, audit: &mut Audit<'_>) {
        let file: Arc<str> = input.name().into();
        let end = input.each_document(&mut |raw| {
            let unreadable = self.document(input, &file, raw);
            unreadable.into_iter().for_each(|found| audit.reporter.text(&file, vec![found]));
        });
        if let Err(error) = end {
            audit.reporter.text(&file, vec![Finding::new("unreadable", error.to_string())]);
        }
    }

    /// Keeps what a document holds; a finding where it cannot be read.
    fn document(&mut self, input: &Rc<Input>, file: &Arc<str>, raw: Raw) -> Option<Finding> {
        let text = match raw.text() {
            Ok(text) => Rc::new(text),
            Err((text, broken)) => return Some(Finding::unreadable(file, &text, &broken, TEMPLATES)),
        };
        let end = read(text.as_str(), &mut |piece| {
            let Piece::Object(node) = piece else { return };
            if let Some((kind, _)) = kind_and_version(&node) {
                let (input, file, text, object) = (input.clone(), file.clone(), text.clone(), Object::of(kind, &node));
                self.held.push(Held { input, file, text, node, kind, object });
            } else if node.text("kind") == Some("ConfigMap") {
                self.around.add_config_map(&node.to_value());
                self.skipped += 1;
            } else if let Some(kind) = neighbour(&node) {
                self.around.add(kind, &node.to_value());
                self.skipped += 1;
            } else {
                self.skipped += 1;
            }
        });
        end.err().map(|broken| Finding::unreadable(file, &text, &broken, TEMPLATES))
    }
}

/// The kind of an object that ours may refer to.
fn neighbour(node: &Node) -> Option<RefKind> {
    let (kind, api_version) = (node.text("kind")?, node.text("apiVersion")?);
    let kind = RefKind::ALL.into_iter().find(|known| known.name() == kind)?;
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    (group == if kind == RefKind::Secret { "" } else { GROUP }).then_some(kind)
}
