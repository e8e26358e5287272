//! The metrics as registered. The table is in the [module documentation](super).

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    labels::{CallLabels, DecisionLabels, ErrorLabels, LimitLabels, ServerLabels},
    per_server::PerServer,
};
use crate::limiter::ServerId;

/// Seconds: memory decides in less than a microsecond, Redis in some 50, and a guard gives up after 0.1 s by default.
const LATENCIES: [f64; 13] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Calls in a script; at most 256.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// All metrics of the limiter.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) decisions: PerServer<DecisionLabels, Counter>,
    pub(super) redis_errors: PerServer<ErrorLabels, Counter>,
    pub(super) fail_open: PerServer<ServerLabels, Counter>,
    pub(super) check_latency: PerServer<ServerLabels, Histogram>,
    pub(super) calls: PerServer<CallLabels, Counter>,
    pub(super) allowed: PerServer<LimitLabels, Counter>,
    pub(super) denials: PerServer<LimitLabels, Counter>,
    pub(super) undecided: PerServer<ErrorLabels, Counter>,
    pub(super) users_skipped: PerServer<ServerLabels, Counter>,
    pub(super) batch_size: Histogram,
    pub(super) script_latency: Histogram,
    pub(super) store_up: Gauge<i64, AtomicI64>,
}

impl Families {
    /// Registers all of them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            decisions: PerServer::new(Counter::default),
            redis_errors: PerServer::new(Counter::default),
            fail_open: PerServer::new(Counter::default),
            check_latency: PerServer::new(|| Histogram::new(LATENCIES)),
            calls: PerServer::new(Counter::default),
            allowed: PerServer::new(Counter::default),
            denials: PerServer::new(Counter::default),
            undecided: PerServer::new(Counter::default),
            users_skipped: PerServer::new(Counter::default),
            batch_size: Histogram::new(BATCHES),
            script_latency: Histogram::new(LATENCIES),
            store_up: Gauge::default(),
        };
        families.register_as_toolhive(registry.sub_registry_with_prefix("toolhive_rate_limit"));
        families.register_own(registry.sub_registry_with_prefix("tollgate_rate_limit"));
        families.store_up.set(1);
        families
    }

    /// Removes the series of other servers.
    pub(super) fn retain(&self, is_served: &dyn Fn(&ServerId) -> bool) {
        self.decisions.retain(is_served);
        self.redis_errors.retain(is_served);
        self.fail_open.retain(is_served);
        self.check_latency.retain(is_served);
        self.calls.retain(is_served);
        self.allowed.retain(is_served);
        self.denials.retain(is_served);
        self.undecided.retain(is_served);
        self.users_skipped.retain(is_served);
    }

    fn register_as_toolhive(&self, registry: &mut Registry) {
        registry.register(
            "decisions",
            "Buckets of decisions: each of an allowed call, the denying one of a rejected call",
            self.decisions.clone(),
        );
        registry.register("redis_errors", "Calls that the store failed, by kind of error", self.redis_errors.clone());
        registry.register("fail_open", "Calls allowed because the store is unavailable", self.fail_open.clone());
        let latency = self.check_latency.clone();
        registry.register_with_unit("check_latency", "Time that a call waited for its decision", Unit::Seconds, latency);
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register("calls", "Calls decided; a batch counts as one", self.calls.clone());
        registry.register("allowed", "Calls that a limit counted and allowed", self.allowed.clone());
        registry.register("denials", "Calls that a limit rejected, or in shadow would have", self.denials.clone());
        registry.register("undecided", "Calls without a decision, by kind of error", self.undecided.clone());
        registry.register("users_skipped", "Calls without a user, to which per-user limits did not apply", self.users_skipped.clone());
        registry.register("batch_size", "Calls that one script in Redis decided", self.batch_size.clone());
        let latency = self.script_latency.clone();
        registry.register_with_unit("script_latency", "Time from sending a script to its response", Unit::Seconds, latency);
        registry.register("store_up", "Whether the store is available (1) or calls are decided without it (0)", self.store_up.clone());
    }
}
