//! The store port: where the state of buckets is kept, and what any store promises.
//!
//! A store decides a plan as [`settle`](super::settle::settle) does, atomically: two decisions on a common bucket happen one after the
//! other, and nobody sees a call that has taken from some of its buckets only. The time is the store's own, so that all who share a store
//! share its clock.

use std::{error::Error, fmt, future::Future, sync::Arc};

use super::{plan::Plan, settle::Verdict};

/// Keeps the state of buckets.
pub trait Store: Send + Sync {
    /// Takes what the plan says from all of its buckets, or from none.
    ///
    /// # Errors
    /// No decision; the error says whether tokens may be gone. A call must not be sent again when they may be
    /// ([`StoreError::may_have_taken`]).
    fn take(&self, plan: &Plan<'_>) -> impl Future<Output = Result<StoreAnswer, StoreError>> + Send;

    /// Is told of a plan without buckets: its call is allowed, and the store is not asked.
    fn uncounted(&self, plan: &Plan<'_>) {
        let _ = plan;
    }

    /// Whether the store would answer at all, found out without taking anything.
    ///
    /// # Errors
    /// Why it would not.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A verdict and who reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAnswer {
    /// What was found.
    pub verdict: Verdict,
    /// Who found it.
    pub source: DecidedBy,
}

/// Who reached a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// The store, asked for this call.
    Store,
    /// What the store had said before makes this denial certain; it was not asked again.
    Cache,
    /// Buckets in this process, since the store does not answer.
    Local,
    /// Nobody: the store does not answer, and calls are allowed meanwhile.
    FailOpen,
}

/// Why there is no decision.
#[derive(Clone, Debug)]
pub struct StoreError {
    cause: Cause,
    may_have_taken: bool,
    source: Arc<dyn Error + Send + Sync>,
}

/// What kind of trouble a store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It did not answer in time.
    Timeout,
    /// It cannot be reached, or the connection broke.
    Connection,
    /// It does not let us in, or not do what we must.
    Auth,
    /// It is well, but the state of one of the call's buckets cannot be used. Other calls may fare better.
    Bucket,
    /// Anything else.
    Other,
}

impl DecidedBy {
    /// As in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Cache => "cache",
            Self::Local => "local",
            Self::FailOpen => "fail_open",
        }
    }
}

impl Cause {
    /// As in metrics; `timeout`, `connection`, `auth` and `other` are also ToolHive's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Auth => "auth",
            Self::Bucket => "bucket",
            Self::Other => "other",
        }
    }
}

impl From<Verdict> for StoreAnswer {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, source: DecidedBy::Store }
    }
}

impl StoreError {
    /// The store was not asked, or refused as a whole: no token is gone.
    pub fn untaken(cause: Cause, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, may_have_taken: false, source: Arc::from(source.into()) }
    }

    /// The store was asked and what it did is not known: the tokens may or may not be gone.
    pub fn unknown(cause: Cause, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, may_have_taken: true, source: Arc::from(source.into()) }
    }

    /// What kind of trouble it is.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) fn into_told(self) -> Arc<dyn Error + Send + Sync> {
        self.source
    }

    /// Whether tokens may be gone although there is no decision.
    pub fn may_have_taken(&self) -> bool {
        self.may_have_taken
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.may_have_taken { "the store did not say whether it decided" } else { "the store did not decide" };
        write!(f, "{what}: {}", self.source)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl<S: Store> Store for Arc<S> {
    fn take(&self, plan: &Plan<'_>) -> impl Future<Output = Result<StoreAnswer, StoreError>> + Send {
        self.as_ref().take(plan)
    }

    fn uncounted(&self, plan: &Plan<'_>) {
        self.as_ref().uncounted(plan);
    }

    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.as_ref().probe()
    }
}
