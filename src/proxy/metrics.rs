//! Metrics of requests. The limiter's decisions are counted by its own observer. Labels are few and never taken from a request; as there,
//! `namespace` and `server` name the server that the limits are written for.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::access::Access;
use crate::{auth::Rejection, limiter::ServerId};

/// Counters of one proxy.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
    streams: Gauge<i64, AtomicI64>,
    reloads: Family<ReloadLabels, Counter>,
    limits_current: Gauge<i64, AtomicI64>,
    buffered: Gauge<i64, AtomicI64>,
    sign_ins_refused: Family<RefusalLabels, Counter>,
    keys_age: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    outcome: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// Seconds. A denial takes tens of microseconds, a tool any time.
const BUCKETS: [f64; 13] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0];

impl Metrics {
    /// `has_keys` adds the age of the issuer's keys.
    pub(super) fn new(mut registry: Registry, server: &ServerId, has_keys: bool) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Histogram::new(BUCKETS),
            streams: Gauge::default(),
            reloads: Family::default(),
            limits_current: Gauge::default(),
            buffered: Gauge::default(),
            sign_ins_refused: Family::default(),
            keys_age: Gauge::default(),
            registry: Registry::default(),
        };
        let labels = [("namespace", &server.namespace), ("server", &server.name)].map(|(name, value)| (name.into(), value.clone().into()));
        let ours = registry.sub_registry_with_prefix("tollgate_proxy").sub_registry_with_labels(labels.into_iter());
        ours.register(
            "requests",
            "Requests by what the limits said and the HTTP status, or what it would be where a session gets 200",
            metrics.requests.clone(),
        );
        ours.register_with_unit("request_duration", "Until the head of the answer", Unit::Seconds, metrics.duration.clone());
        ours.register_with_unit("buffered", "Bodies of requests in memory", Unit::Bytes, metrics.buffered.clone());
        ours.register("streams", "Answers that are still being passed on", metrics.streams.clone());
        ours.register("sign_ins_refused", "Requests refused for want of a caller, by reason", metrics.sign_ins_refused.clone());
        if has_keys {
            let age = "Since the issuer's keys were last read, or since the start where they never were";
            ours.register_with_unit("issuer_keys_age", age, Unit::Seconds, metrics.keys_age.clone());
        }
        ours.register("reloads", "Changes of the limits under way, and whether they could be used", metrics.reloads.clone());
        let current = "1 while the limits in force are those of the file or object, 0 while it cannot be read or used";
        ours.register("limits_current", current, metrics.limits_current.clone());
        metrics.limits_current.set(1);
        Self { registry, ..metrics }
    }

    pub(super) fn answered(&self, access: &Access, status: StatusCode) {
        let outcome = access.called.as_ref().map_or("passed", |called| called.outcome);
        self.requests.get_or_create(&RequestLabels { outcome, status: status.as_u16() }).inc();
        self.duration.observe(Duration::as_secs_f64(&access.took()));
    }

    pub(super) fn sign_in_refused(&self, rejection: Rejection) {
        self.sign_ins_refused.get_or_create(&RefusalLabels { reason: rejection.reason() }).inc();
    }

    pub(super) fn reloaded(&self, well: bool) {
        self.reloads.get_or_create(&ReloadLabels { result: if well { "used" } else { "refused" } }).inc();
    }

    pub(super) fn limits_are_current(&self, current: bool) {
        self.limits_current.set(current.into());
    }

    /// Counts a response of unknown length until it ends.
    pub(super) fn streaming(&self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        let streaming = Streaming::begin(&self.streams);
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &streaming;
                frame
            }))
        })
    }

    /// With the bytes of bodies in memory, and the age of the keys.
    pub(super) fn encode(&self, buffered: usize, keys_age: Option<Duration>) -> Result<String, std::fmt::Error> {
        self.buffered.set(i64::try_from(buffered).unwrap_or(i64::MAX));
        if let Some(age) = keys_age {
            self.keys_age.set(age.as_secs_f64());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
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
