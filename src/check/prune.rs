//! What the API server drops from an object before it looks at it: fields that a structural schema does not have, and nulls.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning>

use serde_json::{Map, Value};

use crate::model::path::FieldPath;

/// Fields that every object has, whatever its schema says.
const ALWAYS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// An object as it would be stored, and the fields that it would lose.
pub(super) fn prune(schema: &Value, object: &Value) -> (Value, Vec<FieldPath>) {
    let mut dropped = Vec::new();
    let kept = kept(schema, object, &FieldPath::default(), true, &mut dropped);
    (kept, dropped)
}

fn kept(schema: &Value, value: &Value, path: &FieldPath, is_object_of_its_own: bool, dropped: &mut Vec<FieldPath>) -> Value {
    match value {
        Value::Object(map) => Value::Object(kept_fields(schema, map, path, is_object_of_its_own, dropped)),
        Value::Array(entries) => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            let entries = entries.iter().enumerate();
            entries.map(|(index, entry)| kept(items, entry, &path.index(index), is_embedded(items), dropped)).collect()
        }
        scalar => scalar.clone(),
    }
}

fn kept_fields(
    schema: &Value,
    map: &Map<String, Value>,
    path: &FieldPath,
    is_object_of_its_own: bool,
    dropped: &mut Vec<FieldPath>,
) -> Map<String, Value> {
    let mut fields = Map::new();
    for (key, value) in map {
        if is_object_of_its_own && ALWAYS.contains(&key.as_str()) {
            fields.insert(key.clone(), value.clone());
            continue;
        }
        let path = path.key(key.clone());
        match field(schema, key) {
            Field::Known(schema) if value.is_null() && schema.get("nullable") != Some(&Value::Bool(true)) => {}
            Field::Known(schema) => {
                fields.insert(key.clone(), kept(schema, value, &path, is_embedded(schema), dropped));
            }
            Field::Free => {
                fields.insert(key.clone(), value.clone());
            }
            Field::Unknown => dropped.push(path),
        }
    }
    fields
}

/// What a schema says of a field.
enum Field<'s> {
    Known(&'s Value),
    /// It is kept as it is.
    Free,
    Unknown,
}

fn field<'s>(schema: &'s Value, key: &str) -> Field<'s> {
    if let Some(known) = schema.get("properties").and_then(|properties| properties.get(key)) {
        return Field::Known(known);
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => Field::Free,
        Some(known @ Value::Object(_)) => Field::Known(known),
        _ if flag(schema, "x-kubernetes-preserve-unknown-fields") => Field::Free,
        _ => Field::Unknown,
    }
}

fn is_embedded(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-embedded-resource")
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_lacks_is_dropped_and_named() {
        let schema = json!({"properties": {"spec": {"properties": {
            "known": {"type": "integer"},
            "nothing": {"type": "string"},
            "nullable": {"type": "string", "nullable": true},
            "list": {"items": {"properties": {"a": {}}}},
            "map": {"additionalProperties": {"properties": {"a": {}}}},
            "free": {"x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"properties": {}}}},
            "any": {"additionalProperties": true},
            "pod": {"x-kubernetes-embedded-resource": true, "properties": {}},
            "closed": {"type": "object"},
        }}}});
        let object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"x": 1}, "extra": 1, "spec": {
            "known": 1, "nothing": null, "nullable": null, "unknown": {"deep": 1},
            "list": [{"a": 1}, {"b": 1}],
            "map": {"k": {"a": 1, "b": 1}},
            "free": {"x": {"y": 1}, "a": {"z": 1}},
            "any": {"x": 1},
            "pod": {"kind": "Pod", "spec": {}},
            "closed": {"x": 1},
        }});
        let (kept, dropped) = prune(&schema, &object);
        let dropped: Vec<_> = dropped.iter().map(ToString::to_string).collect();
        assert_eq!(dropped, ["extra", "spec.closed.x", "spec.free.a.z", "spec.list[1].b", "spec.map.k.b", "spec.pod.spec", "spec.unknown"]);
        assert_eq!(
            kept,
            json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"x": 1}, "spec": {
                "known": 1, "nullable": null, "list": [{"a": 1}, {}], "map": {"k": {"a": 1}}, "free": {"x": {"y": 1}, "a": {}},
                "any": {"x": 1}, "pod": {"kind": "Pod"}, "closed": {},
            }})
        );
    }
}
