//! The layer: the state shared by all services that it wraps.

use std::{fmt, sync::Arc};

use http::{Request, Response};
use http_body_util::Full;
use tower_layer::Layer;

use super::{
    classify::{Classified, Classify},
    response::Respond,
    service::McpLimit,
};
use crate::{
    limiter::{Call, Decision, Limiter, Store},
    mcp::{
        DenialForm,
        http::{Decided, Fields},
    },
};

/// Applies a limiter to services.
pub struct McpLimitLayer<S, C, R = DenialForm> {
    gate: Arc<Gate<S, C, R>>,
}

/// Decides requests.
pub(super) struct Gate<S, C, R> {
    limiter: Arc<Limiter<S>>,
    classifier: C,
    responder: R,
    rate_limit_fields: bool,
}

impl<S, C> McpLimitLayer<S, C> {
    /// `classifier` determines the calls of a request; denials have MCP's default format ([`DenialForm`]).
    pub fn new(limiter: Arc<Limiter<S>>, classifier: C) -> Self {
        Self::with_responder(limiter, classifier, DenialForm::default())
    }
}

impl<S, C, R> McpLimitLayer<S, C, R> {
    /// The same with other responses: a [`DenialForm`] with other settings, [`Plain`](super::Plain), or your own [`Respond`].
    pub fn with_responder(limiter: Arc<Limiter<S>>, classifier: C, responder: R) -> Self {
        Self { gate: Arc::new(Gate { limiter, classifier, responder, rate_limit_fields: false }) }
    }
}

impl<S, C: Clone, R: Clone> McpLimitLayer<S, C, R> {
    /// Whether responses to counted calls carry `RateLimit` and `RateLimit-Policy`
    /// ([draft-ietf-httpapi-ratelimit-headers-11](crate::mcp::fields)). By default they do not.
    #[must_use]
    pub fn rate_limit_fields(self, wanted: bool) -> Self {
        let Gate { limiter, classifier, responder, .. } = &*self.gate;
        let (limiter, classifier, responder) = (Arc::clone(limiter), classifier.clone(), responder.clone());
        Self { gate: Arc::new(Gate { limiter, classifier, responder, rate_limit_fields: wanted }) }
    }
}

impl<I, S, C, R> Layer<I> for McpLimitLayer<S, C, R> {
    type Service = McpLimit<I, S, C, R>;

    fn layer(&self, inner: I) -> Self::Service {
        McpLimit::new(inner, Arc::clone(&self.gate))
    }
}

impl<S, C, R> Clone for McpLimitLayer<S, C, R> {
    fn clone(&self) -> Self {
        Self { gate: Arc::clone(&self.gate) }
    }
}

impl<S, C, R> fmt::Debug for McpLimitLayer<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpLimitLayer").finish_non_exhaustive()
    }
}

impl<S: Store, C, R> Gate<S, C, R> {
    /// The request to forward and the headers for its response, or the response to send instead.
    pub(super) async fn admit<B>(&self, request: Request<B>) -> Result<(Request<C::Body>, Fields), Response<Full<bytes::Bytes>>>
    where
        C: Classify<B>,
        R: Respond<C::Context>,
    {
        let (mut request, calls, context) = match self.classifier.classify(request).await {
            Classified::Pass(request) => return Ok((request, Fields::new())),
            Classified::Refused(response) => return Err(response),
            Classified::Counted { request, calls, context } => (request, calls, context),
        };
        let tools: Vec<_> = calls.tools.iter().map(String::as_str).collect();
        let call = Call::batch(&tools).by_known(calls.user.as_deref());
        let Decided { decision, fields } = Decided::about(&self.limiter, &call, self.rate_limit_fields).await;
        let mut instead = match decision {
            Ok(Decision::Denied(denial)) => {
                let mut response = self.responder.denied(&context, &denial);
                response.extensions_mut().insert(denial);
                response
            }
            Ok(allowed) => {
                request.extensions_mut().insert(allowed);
                return Ok((request, fields));
            }
            Err(error) => self.responder.undecided(&context, &error),
        };
        instead.headers_mut().extend(fields);
        Err(instead)
    }
}
