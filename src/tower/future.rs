//! The response future: first the decision, then, if the request is allowed, the inner service's future.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Body;
use crate::mcp::http::Fields;

/// The request to forward and headers for its response, or a response to send instead. Boxed, since the store's own future cannot be named.
type Deciding<B> = Pin<Box<dyn Future<Output = Result<(Request<B>, Fields), Response<Full<Bytes>>>> + Send>>;

pin_project! {
    /// The response future of a [`McpLimit`](super::McpLimit).
    pub struct ResponseFuture<I, F, B> {
        #[pin]
        state: State<I, F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<I, F, B> {
        Deciding { deciding: Deciding<B>, inner: I },
        Inner { #[pin] response: F, fields: Fields },
    }
}

impl<I, F, B> ResponseFuture<I, F, B> {
    pub(super) fn new(deciding: Deciding<B>, inner: I) -> Self {
        Self { state: State::Deciding { deciding, inner } }
    }
}

impl<I, O, B> Future for ResponseFuture<I, I::Future, B>
where
    I: Service<Request<B>, Response = Response<O>>,
{
    type Output = Result<Response<Body<O>>, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let (response, fields) = match state.as_mut().project() {
                StateProjection::Inner { response, fields } => {
                    return response.poll(cx).map_ok(|mut response| {
                        response.headers_mut().extend(mem::take(fields));
                        response.map(Body::Right)
                    });
                }
                StateProjection::Deciding { deciding, inner } => match ready!(deciding.as_mut().poll(cx)) {
                    Ok((request, fields)) => (inner.call(request), fields),
                    Err(instead) => return Poll::Ready(Ok(instead.map(Body::Left))),
                },
            };
            state.set(State::Inner { response, fields });
        }
    }
}

impl<I, F, B> fmt::Debug for ResponseFuture<I, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
