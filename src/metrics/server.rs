//! The metrics of one server. Series that every call needs are looked up once and cached: counting a call is a few additions.

use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use super::{
    families::Families,
    grown::Grown,
    labels::{CallLabels, Decider, DecisionLabels, ErrorLabels, LimitLabel, LimitLabels, ServerLabels},
};
use crate::{
    inspect::report::Totals,
    limiter::{Cause, DecidedBy, Limit, Plan, Scope, ServerId, StoreAnswer, Verdict, plan::Draw, settle::Shortfall},
};

/// Whether a bucket or a call passed.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Allowed,
    Rejected,
}

/// The series of a server.
#[derive(Debug)]
pub(super) struct Server {
    labels: ServerLabels,
    pub(super) check_latency: Histogram,
    pub(super) users_skipped: Counter,
    fail_open: Counter,
    /// By decision, decider, scope and operation type; created when first counted.
    decisions: [OnceLock<Counter>; 8 * Decider::COUNT],
    /// By decision and decider.
    calls: [OnceLock<Counter>; 2 * Decider::COUNT],
    /// Bounded by the limits of manifests.
    limits: Grown<Limit, OfLimit>,
}

/// The series of a limit, by decider; created when first counted.
#[derive(Debug, Default)]
struct OfLimit {
    allowed: [OnceLock<Counter>; Decider::COUNT],
    denied: [OnceLock<Counter>; Decider::COUNT],
}

impl Decision {
    fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Rejected => "rejected",
        }
    }
}

impl Server {
    pub(super) fn new(server: &ServerId, families: &Families) -> Self {
        let labels = ServerLabels(Arc::new(server.clone()));
        Self {
            check_latency: families.check_latency.get(&labels),
            users_skipped: families.users_skipped.get(&labels),
            fail_open: families.fail_open.get(&labels),
            decisions: [const { OnceLock::new() }; 8 * Decider::COUNT],
            calls: [const { OnceLock::new() }; 2 * Decider::COUNT],
            limits: Grown::default(),
            labels,
        }
    }

    /// Counts a decision, as ToolHive does: each bucket of an allowed call, and the one bucket that denied.
    pub(super) fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, families: &Families) {
        let source = answer.source;
        match answer.verdict {
            Verdict::Denied(refusal) => {
                self.call(Decision::Rejected, source, families);
                self.refused(plan, refusal, source, families);
            }
            Verdict::Allowed { shadow, .. } => {
                self.call(Decision::Allowed, source, families);
                // If a shadow limit would have denied, no shadow bucket was drawn on.
                for draw in plan.draws().filter(|draw| draw.enforced() || shadow.is_none()) {
                    self.bucket(Decision::Allowed, &draw, source, families);
                    if source != DecidedBy::FailOpen {
                        self.limit(Decision::Allowed, &draw, source, families);
                    }
                }
                if let Some(refusal) = shadow {
                    self.refused(plan, refusal, source, families);
                }
            }
        }
        if source == DecidedBy::FailOpen {
            self.fail_open.inc();
        }
    }

    pub(super) fn undecided(&self, cause: Cause, families: &Families) {
        families.undecided.get(&self.error(cause.name())).inc();
    }

    pub(super) fn failed(&self, cause: Cause, families: &Families) {
        // ToolHive's four kinds.
        let error_type = if cause == Cause::Bucket { Cause::Other } else { cause }.name();
        families.redis_errors.get(&self.error(error_type)).inc();
    }

    fn error(&self, error_type: &'static str) -> ErrorLabels {
        ErrorLabels { server: self.labels.clone(), error_type }
    }

    fn refused(&self, plan: &Plan<'_>, refusal: Shortfall, source: DecidedBy, families: &Families) {
        let Some(draw) = plan.draws().nth(refusal.by) else { return };
        self.bucket(Decision::Rejected, &draw, source, families);
        self.limit(Decision::Rejected, &draw, source, families);
    }

    /// The totals, without those by limit.
    pub(super) fn totals(&self, families: &Families) -> Totals {
        let calls = |decision| {
            let from = call_index(decision, Decider::Store);
            sum(self.calls.iter().skip(from).take(Decider::COUNT))
        };
        let undecided = Cause::ALL.iter().filter_map(|cause| Some(families.undecided.known(&self.error(cause.name()))?.get()));
        Totals {
            allowed: calls(Decision::Allowed),
            denied: calls(Decision::Rejected),
            undecided: undecided.sum(),
            fail_open: self.fail_open.get(),
            ..Totals::default()
        }
    }

    /// How many calls a limit counted and allowed, and how many it denied or, in shadow, would have.
    pub(super) fn outcomes(&self, limit: &Limit) -> (u64, u64) {
        self.limits.get(limit).map_or((0, 0), |of| (sum(&of.allowed), sum(&of.denied)))
    }

    fn limit(&self, decision: Decision, draw: &Draw<'_>, source: DecidedBy, families: &Families) {
        let (limit, decider) = (draw.limit(), Decider::of(draw, source));
        self.limits.count(limit, OfLimit::default, |of| {
            let (series, family) = match decision {
                Decision::Allowed => (&of.allowed, &families.allowed),
                Decision::Rejected => (&of.denied, &families.denials),
            };
            let make = || {
                let labels = LimitLabels { server: self.labels.clone(), limit: LimitLabel(limit.clone()), source: decider.name() };
                family.get(&labels)
            };
            series.get(decider as usize).map(|kept| kept.get_or_init(make).inc());
        });
    }

    fn bucket(&self, decision: Decision, draw: &Draw<'_>, source: DecidedBy, families: &Families) {
        let decider = Decider::of(draw, source);
        let limit = draw.limit();
        let make = || {
            let ((scope, operation_type), decision, source) = (limit.labels(), decision.name(), decider.name());
            let labels = DecisionLabels { server: self.labels.clone(), decision, scope, operation_type, source };
            families.decisions.get(&labels)
        };
        let kept = self.decisions.get(4 * call_index(decision, decider) + limit_index(limit));
        kept.map(|kept| kept.get_or_init(make).inc());
    }

    fn call(&self, decision: Decision, source: DecidedBy, families: &Families) {
        let decider = Decider::from(source);
        let make = || {
            let labels = CallLabels { server: self.labels.clone(), decision: decision.name(), source: decider.name() };
            families.calls.get(&labels)
        };
        self.calls.get(call_index(decision, decider)).map(|kept| kept.get_or_init(make).inc());
    }
}

fn sum<'a>(series: impl IntoIterator<Item = &'a OnceLock<Counter>>) -> u64 {
    series.into_iter().filter_map(OnceLock::get).map(Counter::get).sum()
}

fn call_index(decision: Decision, decider: Decider) -> usize {
    decision as usize * Decider::COUNT + decider as usize
}

fn limit_index(limit: &Limit) -> usize {
    usize::from(limit.scope == Scope::PerUser) * 2 + usize::from(limit.tool.is_some())
}
