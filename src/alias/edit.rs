//! Edits to a JSON object, as RFC 6902 writes them.
//!
//! A patch is made of these and never by comparing the object with a re-serialised one: what tollgate does not know stays as it is.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::{owners::scope_key, path::FieldPath, subject::ScopeKey};

/// One operation of a JSON patch, on one key. Paths are JSON pointers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Edit {
    /// Fails the whole patch unless the value is there.
    Test {
        /// Where.
        path: String,
        /// What has to be there.
        value: Value,
    },
    /// Takes a value away and puts it elsewhere.
    Move {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Puts a value where none is.
    Add {
        /// Where.
        path: String,
        /// The value.
        value: Value,
    },
    /// Puts a value in the place of another.
    Replace {
        /// Where.
        path: String,
        /// The value.
        value: Value,
    },
    /// Takes a value away.
    Remove {
        /// Where.
        path: String,
    },
}

/// Adds a guard, where the API server would pass it.
///
/// It compares what its own encoder wrote with the text of the patch, byte by byte: `<`, `>`, `&` and line separators are escaped there,
/// and floats are written in another way. A guard that fails there fails the whole request, so such values go unguarded.
pub(super) fn guard(path: String, value: &Value, edits: &mut Vec<Edit>) {
    if is_written_alike(value) {
        edits.push(Edit::Test { path, value: value.clone() });
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
pub(super) fn between(path: &FieldPath, before: &Map<String, Value>, after: &Map<String, Value>, edits: &mut Vec<Edit>) {
    let (old_name, new_name) = (scope_key(ScopeKey::Shared), scope_key(ScopeKey::Global));
    let renamed = before.get(old_name).filter(|owned| !after.contains_key(old_name) && after.get(new_name) == Some(*owned));
    let is_moved = renamed.is_some() && !before.contains_key(new_name);
    for (key, value) in before {
        let at = path.key(key);
        match (value, after.get(key)) {
            (_, Some(same)) if value == same => {}
            (Value::Object(before), Some(Value::Object(after))) => between(&at, before, after, edits),
            (_, Some(other)) => edits.push(Edit::Replace { path: at.pointer(), value: other.clone() }),
            (_, None) if is_moved && key == old_name => edits.push(Edit::Move { from: at.pointer(), path: path.key(new_name).pointer() }),
            (_, None) => edits.push(Edit::Remove { path: at.pointer() }),
        }
    }
    let added = after.iter().filter(|(key, _)| !(before.contains_key(*key) || is_moved && *key == new_name));
    edits.extend(added.map(|(key, value)| Edit::Add { path: path.key(key).pointer(), value: value.clone() }));
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
            guard("/spec".to_owned(), &value, &mut edits);
            assert_eq!(!edits.is_empty(), guarded, "{value}");
        }
    }
}
