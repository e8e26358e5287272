//! A map that is read on each call, and changed only when a key is first counted.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

/// Values by key. Keys must be bounded, or removed by [`Grown::retain`].
#[derive(Debug)]
pub(super) struct Grown<K, V>(ArcSwap<HashMap<K, Arc<V>, RandomState>>);

impl<K, V> Default for Grown<K, V> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<K: Clone + Eq + Hash, V> Grown<K, V> {
    /// The value of a key, if it was ever counted.
    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.0.load().get(key).cloned()
    }

    /// Counts with the value of a key, which is made when it is first counted.
    pub(super) fn count(&self, key: &K, make: impl FnOnce() -> V, count: impl FnOnce(&V)) {
        if let Some(known) = self.0.load().get(key) {
            return count(known);
        }
        let new = Arc::new(make());
        self.0.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.entry(key.clone()).or_insert_with(|| Arc::clone(&new));
            map
        });
        // Another call may have been first.
        count(&self.get(key).unwrap_or(new));
    }

    /// Removes the values of other keys.
    pub(super) fn retain(&self, is_kept: &dyn Fn(&K) -> bool) {
        self.0.rcu(|map| {
            let kept = map.iter().filter(|(key, _)| is_kept(key));
            kept.map(|(key, value)| (key.clone(), Arc::clone(value))).collect::<HashMap<_, _, _>>()
        });
    }
}
