//! What is counted of reviews. Names are stable; labels are few and never come from an object.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::authority::Trust;
use crate::{
    admission::{Hook, Record},
    server::tls::ServerCertificate,
};

/// Counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    duration: Family<HookLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge<i64, AtomicI64>,
    rules: Family<RuleLabels, Counter>,
    alias: Family<AliasLabels, Counter>,
    panics: Counter,
    certificate_expiry: Gauge<i64, AtomicI64>,
    certificate_valid: Gauge<i64, AtomicI64>,
    certificate: Arc<ServerCertificate>,
    authority: Option<AuthorityGauges>,
}

/// Of a certificate that the replicas issue themselves.
#[derive(Debug)]
struct AuthorityGauges {
    bundles_match: Gauge<i64, AtomicI64>,
    ca_expiry: Gauge<i64, AtomicI64>,
    trust: watch::Receiver<Trust>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    hook: &'static str,
    operation: &'static str,
    kind: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    hook: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HookLabels {
    hook: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
    level: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AliasLabels {
    case: &'static str,
}

/// Seconds; a review takes tens of microseconds, a call that waits for its body takes as long as the caller likes.
const BUCKETS: [f64; 12] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

impl Metrics {
    pub(super) fn new(certificate: Arc<ServerCertificate>, trust: Option<watch::Receiver<Trust>>) -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let authority = trust.map(|trust| AuthorityGauges::new(trust, &mut registry));
        let metrics = Self {
            requests: Family::default(),
            refusals: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
            rules: Family::default(),
            alias: Family::default(),
            panics: Counter::default(),
            certificate_expiry: Gauge::default(),
            certificate_valid: Gauge::default(),
            certificate,
            authority,
            registry: Registry::default(),
        };
        let admission = registry.sub_registry_with_prefix("admission");
        admission.register("requests", "Reviews answered", metrics.requests.clone());
        admission.register("refusals", "Calls that did not get as far as a review, by HTTP status", metrics.refusals.clone());
        admission.register_with_unit("duration", "Time from a request's head to its answer", Unit::Seconds, metrics.duration.clone());
        admission.register("in_flight", "Calls being answered", metrics.in_flight.clone());
        admission.register("rules", "Reviews in which a rule fired", metrics.rules.clone());
        admission.register("alias", "Locations by row of the shared-to-global table", metrics.alias.clone());
        admission.register("panics", "Handlers that panicked", metrics.panics.clone());
        let expiry = metrics.certificate_expiry.clone();
        registry.register("certificate_expiry_timestamp", "End of the served certificate, in seconds since the epoch", expiry);
        let valid = metrics.certificate_valid.clone();
        registry.register("certificate_valid", "1 while the served certificate is valid, 0 before and after", valid);
        Self { registry, ..metrics }
    }

    /// Counts a call as in flight until the guard goes.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(super) fn reviewed(&self, hook: Hook, record: &Record, took: Duration) {
        let hook = hook.name();
        let labels = RequestLabels { hook, operation: record.operation, kind: record.kind, verdict: record.verdict.name() };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&HookLabels { hook }).observe(took.as_secs_f64());
        for (rule, denies) in &record.rules {
            self.rules.get_or_create(&RuleLabels { rule, level: if *denies { "deny" } else { "warn" } }).inc();
        }
        // The validating webhook looks at the same locations again: they are counted where something is done about them.
        if hook == Hook::Mutate.name() {
            for case in &record.alias {
                self.alias.get_or_create(&AliasLabels { case: case.id() }).inc();
            }
        }
    }

    pub(super) fn refused(&self, hook: Hook, status: StatusCode) {
        self.refusals.get_or_create(&RefusalLabels { hook: hook.name(), code: status.as_u16() }).inc();
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    /// As OpenMetrics text.
    pub(super) fn encode(&self) -> Result<String, std::fmt::Error> {
        self.certificate_expiry.set(self.certificate.not_after());
        self.certificate_valid.set(self.certificate.validity().is_ok().into());
        self.authority.iter().for_each(AuthorityGauges::set);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl AuthorityGauges {
    fn new(trust: watch::Receiver<Trust>, registry: &mut Registry) -> Self {
        let (bundles_match, ca_expiry) = (Gauge::default(), Gauge::default());
        registry.register("cabundle_match", "1 while callers trust the served certificate by the caBundle", bundles_match.clone());
        registry.register("ca_expiry_timestamp", "End of the CA that signs, in seconds since the epoch", ca_expiry.clone());
        Self { bundles_match, ca_expiry, trust }
    }

    fn set(&self) {
        let trust = self.trust.borrow();
        self.bundles_match.set(trust.check(OffsetDateTime::now_utc()).is_ok().into());
        self.ca_expiry.set(trust.ca_not_after.map(OffsetDateTime::unix_timestamp).unwrap_or_default());
    }
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct InFlight(Gauge<i64, AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
