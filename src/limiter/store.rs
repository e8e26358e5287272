//! The store port: where the state of buckets is kept, and what any store promises.
//!
//! A store decides a plan as [`settle`](super::settle::settle) does, atomically: two decisions on a common bucket happen one after the
//! other, and nobody sees a call that has taken from some of its buckets only. The time is the store's own, so that all who share a store
//! share its clock.

use std::{error::Error, future::Future, sync::Arc};

use thiserror::Error;

use super::{plan::Plan, settle::Verdict};

/// Keeps the state of buckets.
pub trait Store: Send + Sync {
    /// Takes what the plan says from all of its buckets, or from none.
    ///
    /// # Errors
    /// No decision; the error says whether tokens may be gone. A call must not be sent again on [`StoreError::Unanswered`].
    fn take(&self, plan: &Plan<'_>) -> impl Future<Output = Result<Verdict, StoreError>> + Send;
}

/// Why there is no decision.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was not asked: no token is gone.
    #[error("the store could not be asked: {0}")]
    NotAsked(#[source] Box<dyn Error + Send + Sync>),
    /// The store was asked and did not answer: the tokens may or may not be gone.
    #[error("the store did not answer: {0}")]
    Unanswered(#[source] Box<dyn Error + Send + Sync>),
}

impl<S: Store> Store for Arc<S> {
    fn take(&self, plan: &Plan<'_>) -> impl Future<Output = Result<Verdict, StoreError>> + Send {
        self.as_ref().take(plan)
    }
}
