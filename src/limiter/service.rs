//! A policy and a store together: what a proxy asks.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    decision::Decision,
    plan::{Call, Plan},
    policy::Policy,
    store::{Cause, Store, StoreError},
};

/// Decides the calls of one server. Share it in an `Arc`, or its store among several.
#[derive(Debug)]
pub struct Limiter<S> {
    store: S,
    policy: ArcSwap<Policy>,
}

impl<S> Limiter<S> {
    /// A limiter that keeps its buckets in `store`.
    pub fn new(store: S, policy: Policy) -> Self {
        Self { store, policy: ArcSwap::from_pointee(policy) }
    }

    /// Other limits from the next call on. Buckets that both have keep what is left in them, cut to a smaller capacity.
    pub fn reload(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The limits as they are now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Where the buckets are.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: Store> Limiter<S> {
    /// Decides one call, and takes its tokens when it is allowed.
    ///
    /// # Errors
    /// As [`Store::take`]. A call that no limit counts is allowed without asking the store.
    pub async fn decide(&self, call: &Call<'_>) -> Result<Decision, StoreError> {
        let policy = self.policy.load();
        self.settle(&policy.plan(call)).await
    }

    /// Decides several calls of one caller together: all are allowed, or none. No calls are allowed.
    ///
    /// # Errors
    /// As [`Limiter::decide`].
    pub async fn decide_batch(&self, tools: &[&str], user: Option<&str>) -> Result<Decision, StoreError> {
        let policy = self.policy.load();
        match policy.plan_batch(tools, user) {
            Some(plan) => self.settle(&plan).await,
            None => Ok(Decision::unlimited()),
        }
    }

    async fn settle(&self, plan: &Plan<'_>) -> Result<Decision, StoreError> {
        if plan.draws().is_empty() {
            self.store.uncounted(plan);
            return Ok(Decision::unlimited());
        }
        let answer = self.store.take(plan).await?;
        Decision::new(plan, answer)
            .ok_or_else(|| StoreError::unknown(Cause::Other, "its answer names a bucket that it was not asked about"))
    }
}
