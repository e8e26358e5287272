//! A policy and a store together: what a proxy calls.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    decision::Decision,
    plan::Call,
    policy::Policy,
    store::{Cause, Store, StoreError},
};

/// Decides the calls of one server. Share it in an `Arc`, or share its store among several.
#[derive(Debug)]
pub struct Limiter<S> {
    store: S,
    policy: ArcSwap<Policy>,
}

impl<S> Limiter<S> {
    /// A limiter with its buckets in `store`.
    pub fn new(store: S, policy: Policy) -> Self {
        Self { store, policy: ArcSwap::from_pointee(policy) }
    }

    /// Replaces the limits from the next call on. Buckets in both keep their levels, cut to a smaller capacity.
    pub fn reload(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The current limits.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The store of the buckets.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: Store> Limiter<S> {
    /// Decides a call, or several calls of one caller together, and takes their tokens if they are allowed. A call that no limit counts is
    /// allowed without asking the store.
    ///
    /// # Errors
    /// As [`Store::take`].
    pub async fn decide(&self, call: &Call<'_>) -> Result<Decision, StoreError> {
        if call.tools().is_empty() {
            return Ok(Decision::unlimited());
        }
        let policy = self.policy.load();
        let plan = policy.plan(call);
        if plan.draws().len() == 0 {
            self.store.uncounted(&plan);
            return Ok(Decision::unlimited());
        }
        let answer = self.store.take(&plan).await?;
        Decision::new(&plan, answer).ok_or_else(|| StoreError::unknown(Cause::Other, "the response names a bucket that was not requested"))
    }
}
