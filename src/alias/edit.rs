//! Edits to a JSON object, as operations of a JSON patch (RFC 6902).
//!
//! A patch consists only of these, never of a diff against a re-serialized object: unknown fields stay unchanged.

use json_patch::{
    AddOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::{Map, Value};

use crate::model::{
    owners::scope_key,
    path::{FieldPath, Step},
    subject::ScopeKey,
};

/// The operation that adds a new value.
pub(super) fn add(at: &FieldPath, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: pointer(at), value })
}

/// The operation that replaces a value.
pub(super) fn replace(at: &FieldPath, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path: pointer(at), value })
}

/// The operation that removes a value.
pub(super) fn remove(at: &FieldPath) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: pointer(at) })
}

/// The operation that moves a value.
pub(super) fn relocate(from: &FieldPath, to: &FieldPath) -> PatchOperation {
    PatchOperation::Move(MoveOperation { from: pointer(from), path: pointer(to) })
}

fn pointer(path: &FieldPath) -> PointerBuf {
    PointerBuf::from_tokens(path.steps().iter().map(|step| match step {
        Step::Key(key) => Token::new(key.as_ref()),
        Step::Index(index) => Token::from(*index),
    }))
}

/// Adds a guard, if it would pass in the API server.
///
/// The API server compares its own encoder's output with the text of the patch, byte by byte: its encoder escapes `<`, `>`, `&` and line
/// separators, and writes floats differently. A failing guard fails the whole request, so such values are not guarded.
pub(super) fn guard(at: &FieldPath, value: &Value, edits: &mut Vec<PatchOperation>) {
    if is_written_alike(value) {
        edits.push(PatchOperation::Test(TestOperation { path: pointer(at), value: value.clone() }));
    }
}

fn is_written_alike(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::String(text) => !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']),
        Value::Array(entries) => entries.iter().all(is_written_alike),
        Value::Object(map) => map.values().all(is_written_alike),
    }
}

/// The edits that turn the map at `path` from `before` into `after`, key by key. The one key that changes its name is `f:shared`, which is
/// moved.
pub(super) fn between(path: &FieldPath, before: &Map<String, Value>, after: &Map<String, Value>, edits: &mut Vec<PatchOperation>) {
    let (old_name, new_name) = (scope_key(ScopeKey::Shared), scope_key(ScopeKey::Global));
    let renamed = before.get(old_name).filter(|owned| !after.contains_key(old_name) && after.get(new_name) == Some(*owned));
    let is_moved = renamed.is_some() && !before.contains_key(new_name);
    for (key, value) in before {
        let at = || path.key(key.clone());
        match (value, after.get(key)) {
            (_, Some(same)) if value == same => {}
            (Value::Object(before), Some(Value::Object(after))) => between(&at(), before, after, edits),
            (_, Some(other)) => edits.push(replace(&at(), other.clone())),
            (_, None) if is_moved && key == old_name => edits.push(relocate(&at(), &path.key(new_name))),
            (_, None) => edits.push(remove(&at())),
        }
    }
    let added = after.iter().filter(|(key, _)| !(before.contains_key(*key) || is_moved && *key == new_name));
    edits.extend(added.map(|(key, value)| add(&path.key(key.clone()), value.clone())));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_go_writes_alike_is_guarded() {
        for (value, guarded) in [
            (json!({"maxTokens": 5, "refillPeriod": "1m0s"}), true),
            (json!({"maxTokens": 1e20, "refillPeriod": "1m0s"}), false),
            (json!({"maxTokens": 5, "refillPeriod": "<1m"}), false),
            (json!(["\"\\\n\u{7f}ä", null, true, -1]), true),
            (json!(["a&b"]), false),
            (json!("\u{2028}"), false),
        ] {
            let mut edits = Vec::new();
            guard(&FieldPath::new(["spec"]), &value, &mut edits);
            assert_eq!(!edits.is_empty(), guarded, "{value}");
        }
    }

    #[test]
    fn keys_are_escaped_in_pointers() {
        let at = FieldPath::new(["metadata", "annotations", "a.b/c~d"]).index(2);
        assert_eq!(pointer(&at).as_str(), "/metadata/annotations/a.b~1c~0d/2");
    }
}
