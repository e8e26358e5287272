//! MCP's messages: what is counted, what is refused, what a denied client reads, and that no other parser reads otherwise.

pub mod bodies;
mod denials;
mod differential;
mod envelope;

use tollgate::mcp::{Envelope, Headers, Reader, Refusal};

/// The headers of a POST under a revision.
fn headers(revision: Option<&str>) -> Headers<'_> {
    Headers { content_type: Some("application/json"), protocol_version: revision, ..Headers::default() }
}

/// Reads a body without a revision, as is 2025-03-26.
fn read(body: impl AsRef<[u8]>) -> Result<Envelope, Refusal> {
    Reader::default().read(&headers(None), body.as_ref())
}

/// A `tools/call` with id 1.
fn call(tool: &str) -> String {
    serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string()
}
