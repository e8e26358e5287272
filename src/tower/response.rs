//! The responses to clients whose calls are not forwarded.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;

use crate::{
    limiter::{Denial, StoreError},
    mcp::{DenialForm, Envelope},
};

/// Turns denials into responses, given what the classifier knows about the request.
pub trait Respond<T> {
    /// A limit denies the calls.
    fn denied(&self, context: &T, denial: &Denial) -> Response<Full<Bytes>>;

    /// The store failed to decide. The error is for logs: it may contain the store's address.
    fn undecided(&self, context: &T, error: &StoreError) -> Response<Full<Bytes>>;
}

/// MCP's format.
impl Respond<Envelope> for DenialForm {
    fn denied(&self, envelope: &Envelope, denial: &Denial) -> Response<Full<Bytes>> {
        DenialForm::denied(self, envelope, denial).into()
    }

    fn undecided(&self, envelope: &Envelope, _: &StoreError) -> Response<Full<Bytes>> {
        DenialForm::undecided(self, envelope).into()
    }
}

/// Plain HTTP: 429 or 503, `Retry-After`, and a line of text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<T> Respond<T> for Plain {
    fn denied(&self, _: &T, denial: &Denial) -> Response<Full<Bytes>> {
        plain(StatusCode::TOO_MANY_REQUESTS, denial.retry_after_secs(), "rate limit exceeded\n")
    }

    fn undecided(&self, _: &T, _: &StoreError) -> Response<Full<Bytes>> {
        plain(StatusCode::SERVICE_UNAVAILABLE, Some(1), "rate limits cannot be checked at the moment\n")
    }
}

fn plain(status: StatusCode, retry_after_secs: Option<u64>, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(retry_after_secs.map(|secs| (RETRY_AFTER, HeaderValue::from(secs))));
    response
}
