//! Edits to a JSON object, as RFC 6902 writes them.
//!
//! A patch is made of these and never by comparing the object with a re-serialised one: what tollgate does not know stays as it is.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::path::FieldPath;

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

/// The edits that turn the map at `path` from `before` into `after`, key by key; a key that only changes its name is moved.
pub(super) fn between(path: &FieldPath, before: &Map<String, Value>, after: &Map<String, Value>, edits: &mut Vec<Edit>) {
    let mut added: Vec<_> = after.iter().filter(|(key, _)| !before.contains_key(*key)).collect();
    for (key, value) in before {
        let at = path.key(key);
        match (value, after.get(key)) {
            (_, Some(same)) if value == same => {}
            (Value::Object(before), Some(Value::Object(after))) => between(&at, before, after, edits),
            (_, Some(other)) => edits.push(Edit::Replace { path: at.pointer(), value: other.clone() }),
            (_, None) => match added.iter().position(|(_, new)| *new == value) {
                Some(index) => {
                    let (to, _) = added.swap_remove(index);
                    edits.push(Edit::Move { from: at.pointer(), path: path.key(to).pointer() });
                }
                None => edits.push(Edit::Remove { path: at.pointer() }),
            },
        }
    }
    edits.extend(added.into_iter().map(|(key, value)| Edit::Add { path: path.key(key).pointer(), value: value.clone() }));
}
