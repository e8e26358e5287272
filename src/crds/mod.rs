//! The CustomResourceDefinitions of both kinds, for clusters without ToolHive: made from Rust types, printed by `tollgate crds`.
//!
//! They know both `global` and `shared`, carry the rules that CEL can express with the same ids as the webhook's, and keep every field
//! outside the limits that they do not know. Descriptions are written for `kubectl explain`.

mod types;

use kube::CustomResourceExt;
use serde_json::{Value, json};
use thiserror::Error;

use self::types::{MCPServer, VirtualMCPServer};
use crate::config::VERSIONS;

/// Why a definition could not be made.
#[derive(Debug, Error)]
#[error("the definition has not the expected shape")]
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

/// Serves every version with the one schema, and takes out what derives add but nobody needs.
fn finish(mut crd: Value) -> Result<Value, BadDefinition> {
    let versions = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut).ok_or(BadDefinition)?;
    let mut stored = versions.pop().ok_or(BadDefinition)?;
    tidy(&mut stored);
    for version in VERSIONS {
        let mut served = stored.clone();
        served["name"] = version.into();
        served["storage"] = (version == VERSIONS[0]).into();
        if version != VERSIONS[0] {
            served["deprecated"] = true.into();
        }
        versions.push(served);
    }
    crd["spec"]["conversion"] = json!({"strategy": "None"});
    Ok(crd)
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
