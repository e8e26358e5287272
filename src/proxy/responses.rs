//! The proxy's own responses.

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

use super::bodies::Unread;
use crate::mcp::{Reply, http::Fields};
/// When a client may retry if there was no memory for its body.
const RETRY_AFTER_SECONDS: &str = "5";

/// A response of the proxy instead of the server's.
pub(super) struct Turned(Box<Response>);

impl Turned {
    pub(super) fn with(response: Response) -> Self {
        Self(Box::new(response))
    }

    pub(super) fn into_response(self) -> Response {
        *self.0
    }
}

/// A response as the envelope's module wrote it.
pub(super) fn reply(reply: Reply) -> Response {
    http::Response::from(reply).map(Body::new)
}

pub(super) fn with(mut response: Response, fields: Fields) -> Response {
    response.headers_mut().extend(fields);
    response
}

/// A response to a request that is not, or may not be, JSON-RPC.
pub(super) fn plain(status: u16, message: &str) -> Response {
    reply(Reply::refused(status, message))
}

pub(super) fn unread(why: Unread) -> Response {
    match why {
        Unread::TooLarge(largest, _) => plain(413, &format!("the body is larger than {largest} bytes")),
        Unread::Broken => plain(400, "the body is incomplete"),
        Unread::Late(within) => plain(408, &format!("the body was not received within {within:?}")),
        Unread::NoRoom => {
            let retry = (header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            with(plain(503, "no memory is left for request bodies"), vec![retry])
        }
    }
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    with(plain(405, "send POST, GET or DELETE"), vec![(header::ALLOW, HeaderValue::from_static(allowed))])
}
