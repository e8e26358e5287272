//! Who is told what the limiter and its stores do: the one port for metrics.
//!
//! All methods do nothing by default, and none may block. What they are given names limits, never users: an [`Observer`] that only reads
//! [`Limit`](super::Limit)s cannot leak who called. (The keys of a plan do hold users; keep them out of labels.)
//!
//! | told by | of |
//! |---|---|
//! | [`stores::Observed`](crate::stores::Observed), around everything else | calls: decided, undecided, uncounted |
//! | the guard | what the store failed, and whether it answers |
//! | the store in Redis | its scripts |

use std::{sync::Arc, time::Duration};

use super::{
    plan::Plan,
    store::{StoreAnswer, StoreError},
};

/// Is told what happens.
pub trait Observer: Send + Sync {
    /// A call was decided, in this time.
    fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, took: Duration) {
        let _ = (plan, answer, took);
    }

    /// A call was not decided.
    fn undecided(&self, plan: &Plan<'_>, error: &StoreError, took: Duration) {
        let _ = (plan, error, took);
    }

    /// A call was allowed because no limit counts it. It may be that limits per user were left out, see [`Plan::skips_users`].
    fn uncounted(&self, plan: &Plan<'_>) {
        let _ = plan;
    }

    /// The store failed a call, which may have been decided without it.
    fn failed(&self, plan: &Plan<'_>, error: &StoreError) {
        let _ = (plan, error);
    }

    /// The store answered this many calls at once, in this time.
    fn batch(&self, calls: usize, took: Duration) {
        let _ = (calls, took);
    }

    /// The store is answering again, or no longer.
    fn store_is(&self, answering: bool) {
        let _ = answering;
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Tells both.
impl<A: Observer + ?Sized, B: Observer + ?Sized> Observer for (Arc<A>, Arc<B>) {
    fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, took: Duration) {
        self.0.decided(plan, answer, took);
        self.1.decided(plan, answer, took);
    }

    fn undecided(&self, plan: &Plan<'_>, error: &StoreError, took: Duration) {
        self.0.undecided(plan, error, took);
        self.1.undecided(plan, error, took);
    }

    fn uncounted(&self, plan: &Plan<'_>) {
        self.0.uncounted(plan);
        self.1.uncounted(plan);
    }

    fn failed(&self, plan: &Plan<'_>, error: &StoreError) {
        self.0.failed(plan, error);
        self.1.failed(plan, error);
    }

    fn batch(&self, calls: usize, took: Duration) {
        self.0.batch(calls, took);
        self.1.batch(calls, took);
    }

    fn store_is(&self, answering: bool) {
        self.0.store_is(answering);
        self.1.store_is(answering);
    }
}
