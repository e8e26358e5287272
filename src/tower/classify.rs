//! Which tools a request calls, and the caller.

use std::future::{Future, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

/// The calls of one request, by one caller: all are allowed, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub(super) tools: Vec<String>,
    pub(super) user: Option<String>,
}

/// How to handle a request.
#[derive(Debug)]
pub enum Classified<B, T> {
    /// No limit counts it.
    Pass(Request<B>),
    /// It is forwarded if the limits allow these calls.
    Counted {
        /// The request.
        request: Request<B>,
        /// The calls it makes.
        calls: Calls,
        /// What a response needs to know about the request.
        context: T,
    },
    /// It is rejected, whatever the limits are.
    Refused(Response<Full<Bytes>>),
}

/// Classifies requests. A closure from `&Request<B>` to `Option<Calls>` implements this, if the body need not be read.
pub trait Classify<B> {
    /// The body that the service receives: `B` itself, or a body rebuilt after reading.
    type Body;
    /// What a response needs to know about a request, such as its id.
    type Context: Send + Sync;

    /// Takes the request, and returns it unless it is rejected. Dropped when the client disconnects.
    fn classify(&self, request: Request<B>) -> impl Future<Output = Classified<Self::Body, Self::Context>> + Send;
}

impl Calls {
    /// One call of a tool, by an anonymous caller.
    pub fn of(tool: impl Into<String>) -> Self {
        Self { tools: vec![tool.into()], user: None }
    }

    /// Several calls at once. An empty list is not counted.
    pub fn batch<T: Into<String>>(tools: impl IntoIterator<Item = T>) -> Self {
        Self { tools: tools.into_iter().map(Into::into).collect(), user: None }
    }

    /// The same calls by a verified user. Never pass an unverified claim: it would choose whose tokens are taken.
    #[must_use]
    pub fn by(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }
}

impl<B: Send, F: Fn(&Request<B>) -> Option<Calls>> Classify<B> for F {
    type Body = B;
    type Context = ();

    fn classify(&self, request: Request<B>) -> impl Future<Output = Classified<B, ()>> + Send {
        ready(match self(&request) {
            Some(calls) => Classified::Counted { request, calls, context: () },
            None => Classified::Pass(request),
        })
    }
}
