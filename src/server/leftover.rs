//! What is left of a request's body once its answer is known.
//!
//! A connection that ends while its client still sends takes the answer with it: the system resets what is not read, and the client sees a
//! broken pipe where it should have seen a 413 and why. So the rest is read and thrown away, for as long and as much as is reasonable.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::meter::Meter;

/// A client reads its answer in this time, or does not want it.
const LONGEST: Duration = Duration::from_secs(2);
const LARGEST: usize = 64 * 1024 * 1024;

/// A request that the meter knows of until it is answered and its body is dealt with, also when its client leaves and the future is dropped.
pub(super) struct UnderWay(Meter);

impl UnderWay {
    pub(super) fn begin(meter: Meter) -> Self {
        meter.request_began();
        Self(meter)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.request_ended(Instant::now());
    }
}

/// A request's body, whose rest is thrown away when it is dropped before its end.
pub(super) struct Received {
    body: Option<Incoming>,
    under_way: Arc<UnderWay>,
}

impl Received {
    pub(super) fn new(body: Incoming, under_way: Arc<UnderWay>) -> Self {
        Self { body: Some(body), under_way }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let poll = Pin::new(body).poll_frame(cx);
        if matches!(poll, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        // Without a runtime the process ends, and the connection with it.
        if let (Some(body), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(timeout(LONGEST, discard(body, self.under_way.clone())));
        }
    }
}

async fn discard(mut body: Incoming, _under_way: Arc<UnderWay>) {
    let mut left = LARGEST;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => break,
        }
    }
}
