//! From a document to what is found in its objects.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use super::crds::Crds;
use crate::{
    manifest::{
        MARK, Node, Piece, Raw, Text, gives_ours, holds_placeholders, is_filled_in_later, is_patch, kind_and_version, misnamed, read,
        template, unversioned,
    },
    model::{
        GROUP, VERSIONS,
        path::FieldPath,
        problem::Problem,
        subject::{Kind, Subject},
    },
    report::{Finding, Object},
    rules::{Context, check},
};

const TEMPLATES: &str = "judge what it gives, as in `helm template . | tollgate check -`";

/// What was found in a document.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Each object of our kinds, with everything found in it.
    pub objects: Vec<(Object, Vec<Finding>)>,
    /// Objects of other kinds, and texts that hold none of ours.
    pub skipped: usize,
    /// Templates that give none of our kinds.
    pub templates: usize,
    /// Patches of objects of our kinds.
    pub patches: usize,
    /// Objects with findings that depend on a placeholder.
    pub placeholders: usize,
    /// What there is to say of the text itself: why the rest of it could not be read, and whose an object is that does not say so.
    pub of_text: Vec<Finding>,
}

/// Judges every object of a document; by the CRDs too, where there are some.
pub fn judge(file: &Arc<str>, raw: Raw, crds: Option<&Crds>) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let (text, broken) = match raw.text() {
        Ok(text) => {
            let end = read(text.as_str(), &mut |piece| {
                let Piece::Object(node) = piece else { return };
                match kind_and_version(&node) {
                    Some(_) if is_patch(&node) => verdicts.patches += 1,
                    Some((kind, version)) => {
                        let (found, are_all) = findings(kind, version, &node, crds);
                        verdicts.placeholders += usize::from(!are_all);
                        let found = found.into_iter().map(|found| found.in_text(file, &text, &node)).collect();
                        verdicts.objects.push((Object::of(kind, &node), found));
                    }
                    None => match misnamed(&node) {
                        Some((kind, field, problem)) => {
                            let found = Finding::new("TG012", problem).on(FieldPath::new([field]));
                            verdicts.objects.push((Object::of(kind, &node), vec![found.in_text(file, &text, &node)]));
                        }
                        None => {
                            verdicts.skipped += 1;
                            verdicts.of_text.extend(unversioned(&node).map(|kind| without_version(kind, file, &text, &node)));
                        }
                    },
                }
            });
            (text, end.err())
        }
        Err((text, broken)) => (text, Some(broken)),
    };
    let is_template = template(text.as_str()).is_some();
    let may_be_ours = text.as_str().contains(MARK) && (!is_template || gives_ours(text.as_str()));
    match broken {
        None => {}
        Some(broken) if may_be_ours => verdicts.of_text.push(Finding::unreadable(file, &text, &broken, TEMPLATES)),
        // A chart has many of them, and most are of other kinds.
        Some(_) if is_template => verdicts.templates += 1,
        Some(broken) => {
            verdicts.skipped += 1;
            verdicts.of_text.push(Finding::unread(file, &text, &broken));
        }
    }
    verdicts
}

/// An object without apiVersion.
fn without_version(kind: Kind, file: &Arc<str>, text: &Text, node: &Node) -> Finding {
    let problem = Problem::new(format!("this {} has no apiVersion, and is not judged", kind.name()));
    let problem = problem.advice(format!("write {GROUP}/{}", VERSIONS[0]));
    Finding { path: None, ..Finding::new("no-version", problem).on(FieldPath::new(["kind"])).in_text(file, text, node) }
}

/// What is found in an object, and whether that is all: the value of a placeholder is not known yet.
fn findings(kind: Kind, version: &str, node: &Node, crds: Option<&Crds>) -> (Vec<Finding>, bool) {
    let object = node.to_value();
    let mut found = all_findings(kind, version, &object, crds);
    let before = found.len();
    if holds_placeholders(node) {
        found.retain(|found| !is_about_placeholder(found, &object));
    }
    let are_all = found.len() == before;
    (found, are_all)
}

fn is_about_placeholder(found: &Finding, object: &Value) -> bool {
    let Some(path) = &found.path else { return false };
    let at = |path: &FieldPath| path.find(object).is_some_and(is_filled_in_later);
    match found.id {
        "crd-rule" => true,
        // About a pair, and found at one of the two.
        "TG008" => at(&path.steps().iter().take(path.steps().len().saturating_sub(1)).cloned().collect()),
        // What is wrong with a map is not what is in it.
        _ => at(path) && path.find(object).is_some_and(Value::is_string),
    }
}

fn all_findings(kind: Kind, version: &str, object: &Value, crds: Option<&Crds>) -> Vec<Finding> {
    let mut found: Vec<_> = check(&Context::new(Subject::new(kind, object))).into_iter().map(Finding::from).collect();
    let Some(crds) = crds else { return found };
    found.retain_mut(|found| {
        let path = found.path.as_ref().filter(|_| found.id == "TG101");
        let keep_global = path.and_then(|path| crds.keep_global(kind, version, path));
        if keep_global == Some(true) {
            found.problem = "deprecated, write global".into();
        }
        // Where the CRD lacks global, shared is the name to write.
        keep_global != Some(false)
    });
    // The CRDs that tollgate prints say the same with the same ids; a field that both lack is reported once.
    let ids: HashSet<_> = found.iter().map(|found| found.id).collect();
    let unknown: HashSet<_> =
        found.iter().filter(|found| matches!(found.id, "TG011" | "TG012")).filter_map(|found| found.path.clone()).collect();
    let is_reported = |by_crd: &Finding| match by_crd.id {
        "crd-rule" => ids.iter().any(|id| by_crd.problem.fault.starts_with(id)),
        _ => by_crd.path.as_ref().is_some_and(|path| unknown.contains(path)),
    };
    found.extend(crds.judge(kind, version, object).into_iter().filter(|by_crd| !is_reported(by_crd)));
    found
}
