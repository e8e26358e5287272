//! How many responses are still being passed on.

use std::sync::atomic::AtomicI64;

use axum::{body::Body, response::Response};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// A gauge of responses of unknown length.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Gauge<i64, AtomicI64>);

impl Streams {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let streams = Self::default();
        registry.register("streams", "Answers that are still being passed on", streams.0.clone());
        streams
    }

    /// Counts a response of unknown length until it ends.
    pub(super) fn streaming(&self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        let streaming = Streaming::begin(&self.0);
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &streaming;
                frame
            }))
        })
    }
}

/// A response that is being streamed.
struct Streaming(Gauge<i64, AtomicI64>);

impl Streaming {
    fn begin(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.dec();
    }
}
