//! The service: takes a request, and forwards it to the inner service if allowed.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{Body, classify::Classify, future::ResponseFuture, gate::Gate, response::Respond};
use crate::limiter::Store;

/// A service behind a limiter, created by [`McpLimitLayer`](super::McpLimitLayer).
pub struct McpLimit<I, S, C, R> {
    inner: I,
    gate: Arc<Gate<S, C, R>>,
}

impl<I, S, C, R> McpLimit<I, S, C, R> {
    pub(super) fn new(inner: I, gate: Arc<Gate<S, C, R>>) -> Self {
        Self { inner, gate }
    }
}

impl<I, S, C, R, B, O> Service<Request<B>> for McpLimit<I, S, C, R>
where
    I: Service<Request<C::Body>, Response = Response<O>> + Clone,
    S: Store + 'static,
    C: Classify<B> + Send + Sync + 'static,
    C::Body: Send,
    R: Respond<C::Context> + Send + Sync + 'static,
    B: Send + 'static,
{
    type Response = Response<Body<O>>;
    type Error = I::Error;
    type Future = ResponseFuture<I, I::Future, C::Body>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Call the instance that was polled ready; a clone of it need not be ready.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let gate = Arc::clone(&self.gate);
        ResponseFuture::new(Box::pin(async move { gate.admit(request).await }), ready)
    }
}

impl<I: Clone, S, C, R> Clone for McpLimit<I, S, C, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), gate: Arc::clone(&self.gate) }
    }
}

impl<I: fmt::Debug, S, C, R> fmt::Debug for McpLimit<I, S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
