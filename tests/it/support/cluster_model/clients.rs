//! What each client sends for an operation, and the same operation in the words of a manifest that never said `shared`.

use super::schema::each_holder;
use super::{Op, Refused, metadata_mut, put};
use serde_json::{Map, Value, json};

/// The annotation in which `kubectl apply` remembers its manifest.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One HTTP request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) manager: String,
    /// False when the server has to guess the manager from the user agent, as for most controllers.
    pub(super) names_manager: bool,
}

#[derive(Debug)]
pub(super) enum Verb {
    Create(Value),
    Put(Value),
    MergePatch(Value),
    Apply { config: Value, force: bool },
}

/// The request that `op` comes to, given what the client reads first; `None` when there is nothing to send.
pub(super) fn call(op: &Op, live: Option<&Value>) -> Result<Option<Call>, Refused> {
    let (verb, manager) = match op {
        Op::Create { manifest } => (Verb::Create(manifest.clone()), "kubectl-create"),
        Op::ClientApply { manifest } => {
            let annotated = annotated(manifest);
            let verb = live.map_or_else(|| Verb::Create(annotated.clone()), |live| Verb::MergePatch(client_apply_patch(&annotated, live)));
            (verb, "kubectl-client-side-apply")
        }
        Op::ServerApply { manifest, manager, force } => (Verb::Apply { config: manifest.clone(), force: *force }, manager.as_str()),
        Op::Put { manifest, manager } => (Verb::Put(manifest.clone()), manager.as_str()),
        Op::PutBack => (Verb::Put(live.ok_or(Refused::NotFound)?.clone()), "migrator"),
        Op::MergePatch { patch, manager } => (Verb::MergePatch(patch.clone()), manager.as_str()),
        Op::HelmUpgrade { next, .. } if live.is_none() => (Verb::Create(next.clone()), "helm"),
        Op::HelmUpgrade { previous, next } => (Verb::MergePatch(difference(previous, next)), "helm"),
        Op::Label { key, value } => (Verb::MergePatch(json!({"metadata": {"labels": {key: value}}})), "kubectl-label"),
    };
    let computed = matches!(op, Op::ClientApply { .. } | Op::HelmUpgrade { .. });
    if computed && matches!(&verb, Verb::MergePatch(patch) if *patch == json!({})) {
        return Ok(None);
    }
    Ok(Some(Call { verb, manager: manager.to_owned(), names_manager: *op != Op::PutBack }))
}

/// The manifest as `kubectl apply` sends it: with its own text in an annotation.
fn annotated(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    let annotations = metadata_mut(&mut manifest).entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    let text = last_applied(manifest.clone());
    manifest["metadata"]["annotations"][LAST_APPLIED] = text.into();
    manifest
}

/// The text that stands for a manifest: sorted keys, no annotation within the annotation, and a line end.
pub(super) fn last_applied(mut manifest: Value) -> String {
    if let Some(annotations) = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        put(annotations, LAST_APPLIED, None);
    }
    manifest.sort_all_objects();
    format!("{manifest}\n")
}

/// kubectl's three-way patch: what the manifest says and the live object does not, and what the last manifest said and this one
/// does not. Everything else in the live object is left alone.
fn client_apply_patch(annotated: &Value, live: &Value) -> Value {
    let original = live["metadata"]["annotations"][LAST_APPLIED].as_str().and_then(|text| serde_json::from_str(text).ok());
    let mut patch = only(&difference(&original.unwrap_or_else(|| json!({})), annotated), Keep::Deletions);
    json_patch::merge(&mut patch, &only(&difference(live, annotated), Keep::Values));
    patch
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Deletions,
    Values,
}

fn only(patch: &Value, keep: Keep) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let kept = patch.iter().filter_map(|(key, value)| {
        let kept = match value {
            Value::Null => (keep == Keep::Deletions).then_some(Value::Null),
            Value::Object(map) if !map.is_empty() => Some(only(value, keep)).filter(|kept| *kept != json!({})),
            _ => (keep == Keep::Values).then(|| value.clone()),
        };
        Some((key.clone(), kept?))
    });
    Value::Object(kept.collect())
}

/// The JSON merge patch that makes `to` of `from`; lists are replaced whole.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        let change = match (from.get(key), value) {
            (Some(old @ Value::Object(_)), Value::Object(_)) => Some(difference(old, value)).filter(|patch| *patch != json!({})),
            (Some(old), value) if old == value => None,
            _ => Some(value.clone()),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    patch.extend(from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    patch.into()
}

/// The same operation by a user whose files say `global` and never `shared`. Where both are said, `shared` is laid over `global`.
pub fn canonical(op: &Op) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Create { manifest } | Op::ClientApply { manifest } | Op::ServerApply { manifest, .. } | Op::Put { manifest, .. } => {
            say_global(manifest);
        }
        Op::MergePatch { patch, .. } => say_global(patch),
        Op::HelmUpgrade { previous, next } => {
            say_global(previous);
            say_global(next);
        }
        Op::PutBack | Op::Label { .. } => {}
    }
    op
}

fn say_global(document: &mut Value) {
    each_holder(document, &mut |holder| {
        let Some(shared) = holder.get_mut("shared").map(Value::take) else { return };
        match holder.get_mut("global") {
            Some(_) if shared.is_null() => {}
            Some(global @ Value::Object(_)) if shared.is_object() => overlay(global, shared),
            _ => drop(holder.insert("global".to_owned(), shared)),
        }
        put(holder, "shared", None);
    });
    // A manifest that was exported from a cluster carries an older manifest.
    if let Some(Value::String(text)) = document.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED))
        && let Ok(mut inner) = serde_json::from_str::<Value>(text)
    {
        say_global(&mut inner);
        *text = last_applied(inner);
    }
}

fn overlay(below: &mut Value, above: Value) {
    if let (Value::Object(below), Value::Object(above)) = (below, above) {
        below.extend(above);
    }
}
