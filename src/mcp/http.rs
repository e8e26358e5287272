//! A `tools/call` over HTTP, shared by all front ends: the role of a method, the headers that determine how a body is read, the decision
//! with its `RateLimit` fields, and replies as responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::{DenialForm, Envelope, Fault, Headers, Reply, Revision, fields};
use crate::limiter::{Call, Decision, Limiter, Store, StoreError};

/// The role of a request, by its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// POST: a message, which must be read.
    Message,
    /// GET, HEAD, DELETE and OPTIONS: streams and the end of a session. No limit counts them, and their bodies are never messages.
    Passing,
    /// Any other method: a server might execute its body, so it is not forwarded.
    NotAllowed,
}

/// The value of `Allow` in a 405 response.
pub const ALLOWED: &str = "GET, HEAD, POST, DELETE, OPTIONS";

impl Role {
    /// The role of a method.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::POST => Self::Message,
            Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS => Self::Passing,
            _ => Self::NotAllowed,
        }
    }
}

/// Headers to add to a response.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// A decision about an envelope's calls.
#[derive(Debug)]
pub struct Decided {
    /// The decision, or why the store made none.
    pub decision: Result<Decision, StoreError>,
    /// `RateLimit` and `RateLimit-Policy`, if requested, for whichever response is sent.
    pub fields: Fields,
}

impl Decided {
    /// Decides a call, or a batch, and takes its tokens if it is allowed.
    pub async fn about<S: Store>(limiter: &Limiter<S>, call: &Call<'_>, wants_fields: bool) -> Self {
        let decision = limiter.decide(call).await;
        let fields = match &decision {
            Ok(decision) if wants_fields => rate_limit(&limiter.policy().plan(call), decision),
            _ => Fields::new(),
        };
        Self { decision, fields }
    }

    /// The reply to send instead of the server's; `None` if the calls may proceed.
    pub fn reply(&self, form: &DenialForm, envelope: &Envelope) -> Option<Reply> {
        match &self.decision {
            Ok(Decision::Allowed { .. }) => None,
            Ok(Decision::Denied(denial)) => Some(form.denied(envelope, denial)),
            Err(_) => Some(form.undecided(envelope)),
        }
    }
}

fn rate_limit(plan: &crate::limiter::Plan<'_>, decision: &Decision) -> Fields {
    let fields = [("ratelimit-policy", fields::rate_limit_policy(plan)), ("ratelimit", fields::rate_limit(plan, decision))];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?)));
    fields.collect()
}

/// The headers that determine how a body is read.
///
/// # Errors
/// When one of them appears twice, or is not text.
pub fn headers(headers: &HeaderMap) -> Result<Headers<'_>, Fault> {
    Headers::collect(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// The revision of the client's session, if it has one.
pub fn declared(headers_of: &HeaderMap) -> Option<Revision> {
    headers(headers_of).ok()?.declared()
}

/// The HTTP status of the actual outcome, if a session is answered over HTTP 200: an extension of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CauseStatus(pub StatusCode);

impl From<Reply> for Response<Full<Bytes>> {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Full::from(reply.body));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in reply.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        if let Ok(cause) = StatusCode::from_u16(reply.cause) {
            response.extensions_mut().insert(CauseStatus(cause));
        }
        response
    }
}
