//! The CustomResourceDefinitions of both kinds, for clusters without ToolHive: made from Rust types, printed by `tollgate crds`.
//!
//! They have both `global` and `shared`, the rules that CEL can express with the same ids as the webhook's, and preserve every unknown field
//! outside the limits. Descriptions are written for `kubectl explain`.

mod types;

use kube::CustomResourceExt;
use serde_json::{Value, json};
use thiserror::Error;

use self::types::{MCPServer, VirtualMCPServer};
use crate::model::VERSIONS;

/// Why a definition could not be generated.
#[derive(Debug, Error)]
#[error("the definition does not have the expected shape")]
pub struct BadDefinition;

/// The definition of `MCPServer`.
///
/// # Errors
/// Never, as a test proves.
pub fn mcp_server() -> Result<Value, BadDefinition> {
    finish(serde_json::to_value(MCPServer::crd()).map_err(|_| BadDefinition)?)
}

/// The definition of `VirtualMCPServer`.
///
/// # Errors
/// Never, as a test proves.
pub fn virtual_mcp_server() -> Result<Value, BadDefinition> {
    finish(serde_json::to_value(VirtualMCPServer::crd()).map_err(|_| BadDefinition)?)
}

/// Serves every version with the one schema, and removes derived parts that are not needed.
fn finish(mut crd: Value) -> Result<Value, BadDefinition> {
    let spec = crd.get_mut("spec").and_then(Value::as_object_mut).ok_or(BadDefinition)?;
    let versions = spec.get_mut("versions").and_then(Value::as_array_mut).ok_or(BadDefinition)?;
    let Some(Value::Object(mut schema)) = versions.pop() else { return Err(BadDefinition) };
    schema.values_mut().for_each(tidy);
    schema.insert("additionalPrinterColumns".to_owned(), columns());
    for (index, version) in VERSIONS.into_iter().enumerate() {
        let mut served = schema.clone();
        served.insert("name".to_owned(), version.into());
        served.insert("storage".to_owned(), (index == 0).into());
        if index > 0 {
            served.insert("deprecated".to_owned(), true.into());
        }
        versions.push(served.into());
    }
    spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    Ok(crd)
}

/// What `kubectl get` shows: the same for both kinds.
fn columns() -> Value {
    json!([
        {"name": "Global", "type": "integer", "jsonPath": ".spec.rateLimiting.global.maxTokens", "description": "Calls at once, for all callers together"},
        {"name": "Per", "type": "string", "jsonPath": ".spec.rateLimiting.global.refillPeriod", "description": "Time to refill them all"},
        {"name": "Per-User", "type": "integer", "jsonPath": ".spec.rateLimiting.perUser.maxTokens", "description": "Calls at once, for each caller"},
        {"name": "Storage", "type": "string", "jsonPath": ".spec.sessionStorage.provider", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

/// `null` for a field means that the field is absent: with `nullable`, the API server would store it instead of dropping it.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("type") || map.contains_key("properties") {
                map.remove("nullable");
                map.remove("title");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
