//! The layer: the state shared by all services that it wraps.

use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{gate::Gate, service::McpLimit};
use crate::{limiter::Limiter, mcp::DenialForm};

/// Applies a limiter to services.
pub struct McpLimitLayer<S, C, R = DenialForm> {
    gate: Arc<Gate<S, C, R>>,
}

impl<S, C> McpLimitLayer<S, C> {
    /// `classifier` determines the calls of a request; denials have MCP's default format ([`DenialForm`]).
    pub fn new(limiter: Arc<Limiter<S>>, classifier: C) -> Self {
        Self::with_responder(limiter, classifier, DenialForm::default())
    }
}

impl<S, C, R> McpLimitLayer<S, C, R> {
    /// The same with other responses: a [`DenialForm`] with other settings, [`Plain`](super::Plain), or your own [`Respond`](super::Respond).
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
