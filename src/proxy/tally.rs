//! The outcome of calls since the proxy started, in total and by limit: [`live`](super::live) reports them with the buckets.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::live::{LimitTotals, Totals};
use crate::limiter::{DecidedBy, Limit, Observer, Plan, Policy, StoreAnswer, StoreError, Verdict};

/// Counters for people. Bounded by the limits of manifests; users are not counted.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    allowed: AtomicU64,
    denied: AtomicU64,
    undecided: AtomicU64,
    fail_open: AtomicU64,
    /// Read at each call, changed when a limit first counts one.
    limits: ArcSwap<HashMap<Limit, Arc<Counts>, RandomState>>,
}

#[derive(Debug, Default)]
struct Counts {
    allowed: AtomicU64,
    denied: AtomicU64,
}

impl Tally {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let (allowed, denied, undecided, fail_open) = (zero(), zero(), zero(), zero());
        Self { began: Instant::now(), allowed, denied, undecided, fail_open, limits: ArcSwap::default() }
    }

    /// The current totals, with every limit of a policy.
    pub(super) fn totals(&self, policy: &Policy) -> Totals {
        let counted = self.limits.load();
        let limits = policy.limits().into_iter().map(|limit| {
            let count = |of: fn(&Counts) -> &AtomicU64| counted.get(&limit).map_or(0, |counts| read(of(counts)));
            LimitTotals { allowed: count(|counts| &counts.allowed), denied: count(|counts| &counts.denied), limit: limit.to_string() }
        });
        Totals {
            up_seconds: self.began.elapsed().as_secs_f64(),
            allowed: read(&self.allowed),
            denied: read(&self.denied),
            undecided: read(&self.undecided),
            fail_open: read(&self.fail_open),
            limits: limits.collect(),
        }
    }

    fn count(&self, limit: &Limit, of: fn(&Counts) -> &AtomicU64) {
        if let Some(counts) = self.limits.load().get(limit) {
            return add(of(counts));
        }
        let new = Arc::new(Counts::default());
        self.limits.rcu(|limits| {
            let mut limits = HashMap::clone(limits);
            limits.entry(limit.clone()).or_insert_with(|| Arc::clone(&new));
            limits
        });
        // Another call may have been first.
        if let Some(counts) = self.limits.load().get(limit) {
            add(of(counts));
        }
    }
}

impl Observer for Tally {
    fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, _took: Duration) {
        let (refusal, total) = match answer.verdict {
            Verdict::Denied(refusal) => (Some(refusal), &self.denied),
            Verdict::Allowed { shadow, .. } => (shadow, &self.allowed),
        };
        add(total);
        if answer.source == DecidedBy::FailOpen {
            return add(&self.fail_open);
        }
        match refusal {
            Some(refusal) => {
                let draw = plan.draws().get(refusal.by);
                draw.into_iter().for_each(|draw| self.count(draw.limit(), |counts| &counts.denied));
            }
            None => plan.draws().iter().for_each(|draw| self.count(draw.limit(), |counts| &counts.allowed)),
        }
    }

    fn undecided(&self, _plan: &Plan<'_>, _error: &StoreError, _took: Duration) {
        add(&self.undecided);
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
