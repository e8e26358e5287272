//! Metrics of requests. The limiter's decisions are counted by its own observer. Labels are few and never taken from a request; as there,
//! `namespace` and `server` name the server that the limits are written for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use http::{Response, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::access::Access;
use crate::{
    auth::Rejection,
    limiter::ServerId,
    mcp::http::CauseStatus,
    metrics::per_server::{OfServer, PerServer},
};

/// Counters of one front.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: PerServer<RequestLabels, Counter>,
    duration: Histogram,
    reloads: Family<ReloadLabels, Counter>,
    buffered: Gauge<i64, AtomicI64>,
    sign_ins_refused: Family<RefusalLabels, Counter>,
    keys_age: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    #[prometheus(flatten)]
    server: ServerLabels,
    outcome: &'static str,
    status: u16,
}

/// `namespace` and `server`, at a front that has several.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct ServerLabels(Option<Arc<ServerId>>);

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
    /// In a registry, under names that begin with `prefix`, with the labels of the server where there is only one. `has_keys` adds the age of
    /// the issuer's keys.
    pub fn new(mut registry: Registry, prefix: &'static str, server: Option<&ServerId>, has_keys: bool) -> Self {
        let metrics = Self {
            requests: PerServer::new(Counter::default),
            duration: Histogram::new(BUCKETS),
            reloads: Family::default(),
            buffered: Gauge::default(),
            sign_ins_refused: Family::default(),
            keys_age: Gauge::default(),
            registry: Registry::default(),
        };
        let ours = labelled(&mut registry, prefix, server);
        ours.register(
            "requests",
            "Requests by what the limits said and the HTTP status, or what it would be where a session gets 200",
            metrics.requests.clone(),
        );
        ours.register_with_unit("request_duration", "Until the head of the answer", Unit::Seconds, metrics.duration.clone());
        ours.register_with_unit("buffered", "Bodies of requests in memory", Unit::Bytes, metrics.buffered.clone());
        ours.register("sign_ins_refused", "Requests refused for want of a caller, by reason", metrics.sign_ins_refused.clone());
        if has_keys {
            let age = "Since the issuer's keys were last read, or since the start where they never were";
            ours.register_with_unit("issuer_keys_age", age, Unit::Seconds, metrics.keys_age.clone());
        }
        ours.register("reloads", "Changes of the limits under way, and whether they could be used", metrics.reloads.clone());
        Self { registry, ..metrics }
    }

    /// Counts a request that is over, and logs it if it is one to log.
    pub fn finish<B>(&self, access: Access, response: &Response<B>) {
        let cause = response.extensions().get::<CauseStatus>().map_or(response.status(), |CauseStatus(status)| *status);
        self.answered(&access, cause);
        access.end(response.status());
    }

    fn answered(&self, access: &Access, status: StatusCode) {
        let outcome = access.called.as_ref().map_or("passed", |called| called.outcome);
        self.requests.get(&RequestLabels { server: ServerLabels(access.server.clone()), outcome, status: status.as_u16() }).inc();
        self.duration.observe(Duration::as_secs_f64(&access.took()));
    }

    /// Counts a request without the caller that it needs.
    pub fn sign_in_refused(&self, rejection: Rejection) {
        self.sign_ins_refused.get_or_create(&RefusalLabels { reason: rejection.reason() }).inc();
    }

    /// Counts a change of limits.
    pub fn reloaded(&self, well: bool) {
        self.reloads.get_or_create(&ReloadLabels { result: if well { "used" } else { "refused" } }).inc();
    }

    /// Removes the series of other servers, at a front that has several.
    pub fn retain(&self, is_served: &dyn Fn(&ServerId) -> bool) {
        self.requests.retain(is_served);
    }

    /// With the bytes of bodies in memory, and the age of the keys.
    pub fn encode(&self, buffered: usize, keys_age: Option<Duration>) -> Result<String, std::fmt::Error> {
        self.buffered.set(i64::try_from(buffered).unwrap_or(i64::MAX));
        if let Some(age) = keys_age {
            self.keys_age.set(age.as_secs_f64());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Where a front registers its metrics.
pub fn labelled<'r>(registry: &'r mut Registry, prefix: &'static str, server: Option<&ServerId>) -> &'r mut Registry {
    let labels = server.into_iter().flat_map(|server| [("namespace", &server.namespace), ("server", &server.name)]);
    registry.sub_registry_with_prefix(prefix).sub_registry_with_labels(labels.map(|(name, value)| (name.into(), value.clone().into())))
}

impl OfServer for RequestLabels {
    fn server(&self) -> Option<&ServerId> {
        self.server.0.as_deref()
    }
}

impl EncodeLabelSet for ServerLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(server) = &self.0 else { return Ok(()) };
        ("namespace", server.namespace.as_str()).encode(encoder.encode_label())?;
        ("server", server.name.as_str()).encode(encoder.encode_label())
    }
}
