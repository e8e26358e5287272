//! Observers of the limiter and its stores: the one port for metrics.
//!
//! All methods do nothing by default, and none may block. Their arguments name limits, never users: an [`Observer`] that only reads
//! [`Limit`](super::Limit)s cannot leak user ids. (The keys of a plan do contain users; keep them out of labels.)
//!
//! | called by | for |
//! |---|---|
//! | [`stores::Observed`](crate::stores::Observed), around everything else | calls: decided, undecided, uncounted |
//! | the guard | failures of the store, and its availability |
//! | the store in Redis | its scripts |
//! | whoever decides for several servers | which are left |

use std::time::Duration;

use super::{
    key::ServerId,
    plan::Plan,
    store::{StoreAnswer, StoreError},
};

/// Receives events of the limiter and its stores.
pub trait Observer: Send + Sync {
    /// A call was decided, in this time.
    fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, took: Duration) {
        let _ = (plan, answer, took);
    }

    /// A call was not decided.
    fn undecided(&self, plan: &Plan<'_>, error: &StoreError, took: Duration) {
        let _ = (plan, error, took);
    }

    /// A call was allowed because no limit counts it. Per-user limits may have been skipped, see [`Plan::skips_users`].
    fn uncounted(&self, plan: &Plan<'_>) {
        let _ = plan;
    }

    /// The store failed a call, which may have been decided without it.
    fn failed(&self, plan: &Plan<'_>, error: &StoreError) {
        let _ = (plan, error);
    }

    /// The store decided this many calls at once, in this time.
    fn batch(&self, calls: usize, took: Duration) {
        let _ = (calls, took);
    }

    /// The store has recovered, or has become unavailable.
    fn store_is(&self, answering: bool) {
        let _ = answering;
    }

    /// Only these servers are decided for from now on: what is kept for others can go. A call that is being decided meanwhile may still be
    /// reported, so this may be repeated.
    fn retain(&self, is_served: &dyn Fn(&ServerId) -> bool) {
        let _ = is_served;
    }
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
