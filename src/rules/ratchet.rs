//! Ratcheting: a violation that the stored object already has, in a part that the request does not change, only warns.
//!
//! Without it, installing the webhook would freeze every object that already had violations: migrators re-PUT whole objects, controllers
//! remove finalizers, people edit labels, and each of these would be rejected for a violation that it did not introduce.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Context, Effect, Violation, check};
use crate::model::{
    path::{FieldPath, Step},
    subject::{RATE_LIMITING, ScopeKey, TOOLS},
};

/// The violations of an update: those that are identical in `old` become warnings.
pub fn check_update<'a>(new: &Context<'a>, old: &'a Value) -> Vec<Violation> {
    let mut violations = check(new);
    if violations.iter().all(|violation| violation.level == Effect::Warn) {
        return violations;
    }
    let before = check(&new.with_object(old));
    let before: HashMap<_, _> = before.iter().map(|was| ((was.rule, stable_name(&was.path, old)), was)).collect();
    for violation in violations.iter_mut().filter(|violation| violation.level == Effect::Deny) {
        let stood = before.get(&(violation.rule, stable_name(&violation.path, new.subject.object)));
        let unchanged = stood.is_some_and(|was| {
            same(&violation.path, new.subject.object, &was.path, old) && same(&violation.ground, new.subject.object, &was.ground, old)
        });
        if unchanged {
            violation.level = Effect::Warn;
        }
    }
    violations
}

fn same(new_path: &FieldPath, new: &Value, old_path: &FieldPath, old: &Value) -> bool {
    new_path.find(new).map(canonical) == old_path.find(old).map(canonical)
}

/// A path in terms that do not change when tools move or when `shared` is renamed: tools by name, buckets by their new name.
fn stable_name(path: &FieldPath, object: &Value) -> FieldPath {
    let mut walked = FieldPath::default();
    let mut out = Vec::new();
    for step in path.steps() {
        walked = match step {
            Step::Key(key) => walked.key(key.clone()),
            Step::Index(index) => walked.index(*index),
        };
        out.push(match step {
            Step::Key(key) if key == ScopeKey::Shared.key() => Step::Key(ScopeKey::Global.key().into()),
            Step::Index(_) => match walked.key("name").find(object).and_then(Value::as_str) {
                Some(name) => Step::Key(name.to_owned().into()),
                None => step.clone(),
            },
            Step::Key(_) => step.clone(),
        });
    }
    out.into_iter().collect()
}

/// A value with every lone `shared` renamed to `global`, at any depth that holds limits.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(canonical_map(map)),
        // Tools are compared as a map by name, regardless of their order.
        Value::Array(entries) => {
            let mut entries: Vec<_> = entries.iter().map(canonical).collect();
            entries.sort_by(|a, b| name(a).cmp(&name(b)));
            Value::Array(entries)
        }
        other => other.clone(),
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name").and_then(Value::as_str)
}

fn canonical_map(map: &Map<String, Value>) -> Map<String, Value> {
    let alone = map.get(ScopeKey::Global.key()).is_none_or(Value::is_null);
    let renamed = map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let key = if alone && key == ScopeKey::Shared.key() { ScopeKey::Global.key() } else { key };
        let value = if [RATE_LIMITING, TOOLS].contains(&key) { canonical(value) } else { value.clone() };
        (key.to_owned(), value)
    });
    renamed.collect()
}
