//! Responses of our own instead of the MCP server's: JSON-RPC errors over HTTP.

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

use crate::mcp::{Reply, http::Fields};

/// When a client may retry if its body did not fit into memory.
const RETRY_AFTER_SECONDS: &str = "5";

/// A response of our own instead of the server's.
#[derive(Debug)]
pub struct Turned(Box<Response>);

impl Turned {
    /// This response.
    pub fn with(response: Response) -> Self {
        Self(Box::new(response))
    }

    /// The response.
    pub fn into_response(self) -> Response {
        *self.0
    }
}

/// A response as the envelope's module wrote it.
pub fn reply(reply: Reply) -> Response {
    http::Response::from(reply).map(Body::new)
}

/// A response to a request that is not, or may not be, JSON-RPC.
pub fn plain(status: u16, message: &str) -> Response {
    reply(Reply::refused(status, message))
}

/// A response with more header fields.
pub fn with(mut response: Response, fields: Fields) -> Response {
    response.headers_mut().extend(fields);
    response
}

/// The response to a body that is too large, without its message's id.
pub fn too_large(largest: usize) -> Response {
    plain(413, &format!("the body is larger than {largest} bytes"))
}

/// The response to a body that does not fit into memory.
pub fn no_room() -> Response {
    let retry = (header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    with(plain(503, "no memory is left for request bodies"), vec![retry])
}

/// The response to a method that the server must not see.
pub fn method_not_allowed(allowed: &'static str) -> Response {
    with(plain(405, "send POST, GET or DELETE"), vec![(header::ALLOW, HeaderValue::from_static(allowed))])
}
