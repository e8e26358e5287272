//! A `tools/call` over HTTP, the one path that every front takes: what a method means, the headers that say how a body is read, the decision
//! with its `RateLimit` fields, and replies as responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::{DenialForm, Envelope, Fault, Headers, Reply, Revision, fields};
use crate::limiter::{Call, Decision, Limiter, Store, StoreError};

/// What a request is, by its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// POST: a message, which has to be read.
    Message,
    /// GET, HEAD, DELETE and OPTIONS: streams and the end of a session. No limit counts them, and no body of theirs is a message.
    Passing,
    /// Any other: a server might run what is in it, so it goes nowhere.
    NotAllowed,
}

/// The value of `Allow` beside a 405.
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

/// Header fields to add to a response.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// A decision about an envelope's calls.
#[derive(Debug)]
pub struct Decided {
    /// The decision, or why the store made none.
    pub decision: Result<Decision, StoreError>,
    /// `RateLimit` and `RateLimit-Policy`, where they were asked for: for the response, whichever it is.
    pub fields: Fields,
}

impl Decided {
    /// Decides a call, or a batch, and takes its tokens when it is allowed.
    pub async fn about<S: Store>(limiter: &Limiter<S>, call: &Call<'_>, wants_fields: bool) -> Self {
        let decision = limiter.decide(call).await;
        let fields = match &decision {
            Ok(decision) if wants_fields => rate_limit(&limiter.policy().plan(call), decision),
            _ => Fields::new(),
        };
        Self { decision, fields }
    }

    /// The reply in place of the server's; `None` when the calls may go on.
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

/// The headers that say how a body is to be read.
///
/// # Errors
/// When one of them is there twice, or is no text.
pub fn headers(headers: &HeaderMap) -> Result<Headers<'_>, Fault> {
    Headers::collect(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// The revision of the client's session, if it has one.
pub fn declared(headers_of: &HeaderMap) -> Option<Revision> {
    headers(headers_of).ok()?.declared()
}

/// The HTTP status of what happened, where a session is answered over HTTP 200: an extension of the response.
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
