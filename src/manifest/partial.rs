//! Objects of our kinds that are not whole: patches of another object, and values that a later tool fills in.

use serde_json::Value;

use super::{Content, Node};

/// Keys of strategic merge patches, which say what to do with another object.
const DIRECTIVES: [&str; 2] = ["$patch", "$retainKeys"];
const DIRECTIVE_PREFIXES: [&str; 2] = ["$setElementOrder/", "$deleteFromPrimitiveList/"];

/// Whether an object is a strategic merge patch by what it says itself.
pub fn is_patch(object: &Node) -> bool {
    object.entries().iter().any(|entry| {
        let key = entry.key.as_str();
        DIRECTIVES.contains(&key) || DIRECTIVE_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) || is_patch(&entry.node)
    })
}

/// Whether a value is filled in later, at least in part: by Flux (`${VAR}`) or by SOPS, which encrypts values.
pub fn is_filled_in_later(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split_once("${").is_some_and(|(_, rest)| rest.contains('}')) || text.starts_with("ENC[AES256_GCM,"),
        Value::Array(entries) => entries.iter().any(is_filled_in_later),
        Value::Object(fields) => fields.values().any(is_filled_in_later),
        _ => false,
    }
}

/// The same of a node.
pub fn holds_placeholders(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(value) => is_filled_in_later(value),
        Content::List(entries) | Content::Map(entries) => entries.iter().any(|entry| holds_placeholders(&entry.node)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_of_flux_and_sops() {
        for later in [json!("${TOKENS}"), json!({"a": ["redis-${ENV:=dev}:6379"]}), json!("ENC[AES256_GCM,data:x,iv:y,tag:z,type:int]")] {
            assert!(is_filled_in_later(&later), "{later}");
        }
        for now in [json!("$TOKENS"), json!("5"), json!(null), json!({"${A}": 1})] {
            assert!(!is_filled_in_later(&now), "{now}");
        }
    }
}
