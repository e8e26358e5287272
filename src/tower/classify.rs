//! What a request calls, and who calls.

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

/// What is to be done about a request.
#[derive(Debug)]
pub enum Classified<B, T> {
    /// No limit counts it.
    Pass(Request<B>),
    /// It goes on if these calls may.
    Counted {
        /// The request.
        request: Request<B>,
        /// What it takes.
        calls: Calls,
        /// What a response needs to know of the request.
        context: T,
    },
    /// It goes nowhere, whatever the limits say.
    Refused(Response<Full<Bytes>>),
}

/// Tells what requests call. A closure from `&Request<B>` to `Option<Calls>` does, where the body need not be read.
pub trait Classify<B> {
    /// The body that the service gets: `B` itself, or what is left of it after reading.
    type Body;
    /// What a response needs to know of a request, such as its id.
    type Context: Send + Sync;

    /// Takes a request in, and gives it back unless it is refused. Dropped when the client goes.
    fn classify(&self, request: Request<B>) -> impl Future<Output = Classified<Self::Body, Self::Context>> + Send;
}

impl Calls {
    /// One call of a tool, by nobody known.
    pub fn of(tool: impl Into<String>) -> Self {
        Self { tools: vec![tool.into()], user: None }
    }

    /// Several at once. Of none, nothing is counted.
    pub fn batch<T: Into<String>>(tools: impl IntoIterator<Item = T>) -> Self {
        Self { tools: tools.into_iter().map(Into::into).collect(), user: None }
    }

    /// The same calls by a verified user. Never a claim that nobody checked: it would choose whose tokens are taken.
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
