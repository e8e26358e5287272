//! Keys that do not hold a bucket: logged once when they are found, and once when they hold buckets again.
//!
//! Calls that draw on such a key are not decided, and with `--on-store-error open` the limit then has no effect. The log names the limit,
//! but never the user in the key; `tollgate limits ls` lists the key.

use std::{
    collections::HashSet,
    hash::BuildHasher,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

use crate::limiter::Plan;

/// How many keys are tracked. Any found beyond that are not logged.
const MOST: usize = 1024;

/// Tracks unusable keys.
#[derive(Debug, Default)]
pub(super) struct Unusable {
    /// The size of the set below, so that decisions consult it only if it is not empty.
    count: AtomicUsize,
    /// By their hashes.
    keys: Mutex<HashSet<u64, RandomState>>,
    hasher: RandomState,
}

impl Unusable {
    /// Records that a call was not decided because of its `by`-th bucket. Returns whether that is new, and logged.
    pub(super) fn found(&self, plan: &Plan<'_>, by: usize) -> bool {
        let Some(draw) = plan.draws().nth(by) else { return false };
        let mut keys = self.keys();
        let is_new = keys.len() < MOST && keys.insert(self.hasher.hash_one(draw.parts()));
        self.count.store(keys.len(), Ordering::Relaxed);
        drop(keys);
        if is_new {
            let server = plan.server();
            tracing::warn!(
                namespace = server.namespace,
                server = server.name,
                limit = %draw.limit(),
                "a key in Redis does not hold a bucket, so this limit cannot be counted there: remove it with tollgate limits reset"
            );
        }
        is_new
    }

    /// Records that a call was decided, so that all of its buckets are usable. Returns whether one was not before, which is logged.
    pub(super) fn decided(&self, plan: &Plan<'_>) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut is_new = false;
        for draw in plan.draws() {
            let mut keys = self.keys();
            let was_unusable = keys.remove(&self.hasher.hash_one(draw.parts()));
            self.count.store(keys.len(), Ordering::Relaxed);
            drop(keys);
            if was_unusable {
                is_new = true;
                let server = plan.server();
                tracing::info!(namespace = server.namespace, server = server.name, limit = %draw.limit(), "the key holds a bucket again");
            }
        }
        is_new
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<u64, RandomState>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Call, plan::tests::policy};

    #[test]
    fn a_change_is_news_once() {
        let (unusable, policy) = (Unusable::default(), policy());
        let alice = policy.plan(&Call::of("search").by("alice"));
        let bob = policy.plan(&Call::of("search").by("bob"));
        assert!(!unusable.decided(&alice), "nothing was wrong");
        assert!(unusable.found(&alice, 3) && !unusable.found(&alice, 3), "said once");
        assert!(!unusable.decided(&bob), "another user's bucket says nothing about hers");
        assert!(unusable.decided(&alice) && !unusable.decided(&alice));
        assert!(unusable.found(&alice, 3), "again");
        assert!(!unusable.found(&alice, 99), "no such bucket");
    }

    #[test]
    fn memory_is_bounded() {
        let (unusable, policy) = (Unusable::default(), policy());
        for user in 0..2 * MOST {
            let user = user.to_string();
            assert_eq!(unusable.found(&policy.plan(&Call::of("search").by(&user)), 3), user.parse::<usize>().expect("a number") < MOST);
        }
        assert_eq!(unusable.keys().len(), MOST);
    }
}
