//! ToolHive's operator, as recognizable from the objects that it manages, and which bucket names it reads.
//!
//! No published version of the operator reads `global` (v0.63.0 of November 2026 included): its Go type has only `shared`, so a limit that
//! is stored as `global` is missing from the configuration that it renders, whatever the installed CRD has.

use serde_json::Value;

/// The finalizers that the operator adds to `MCPServer`, `MCPOIDCConfig` and `MCPExternalAuthConfig`. A `VirtualMCPServer` has none.
pub const FINALIZERS: [&str; 3] = [
    "mcpserver.toolhive.stacklok.dev/finalizer",
    "mcpoidcconfig.toolhive.stacklok.dev/finalizer",
    "mcpexternalauthconfig.toolhive.stacklok.dev/finalizer",
];

/// Whether an object has a finalizer of the operator: proof that it is running, or was until the object outlived it.
///
/// ```
/// use serde_json::json;
/// use tollgate::model::operator::manages;
///
/// assert!(manages(&json!({"metadata": {"finalizers": ["mcpserver.toolhive.stacklok.dev/finalizer"]}})));
/// assert!(!manages(&json!({"metadata": {"finalizers": ["example.com/backup"]}})));
/// ```
pub fn manages(object: &Value) -> bool {
    let finalizers = object.get("metadata").and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    finalizers.into_iter().flatten().filter_map(Value::as_str).any(is_operators)
}

/// Whether a finalizer is one of the operator's.
pub fn is_operators(finalizer: &str) -> bool {
    FINALIZERS.contains(&finalizer)
}

/// What is known of the operator in the object's cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operator {
    /// It was not found, or no cluster was checked.
    #[default]
    Absent,
    /// Its objects cannot be listed, or not yet.
    Unknown,
    /// Its finalizers are on objects of the cluster; it reads only `shared`.
    AtWork,
    /// Configured by the administrator to read `global` (`--toolhive-reads-global`).
    ReadsGlobal,
}

impl Operator {
    /// Combines this with what one more object of the cluster shows.
    #[must_use]
    pub fn seen_on(self, object: &Value) -> Self {
        if self != Self::ReadsGlobal && manages(object) { Self::AtWork } else { self }
    }
}
