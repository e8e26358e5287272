//! The store port: where the state of buckets is stored, and what any store guarantees.
//!
//! A store decides a plan as [`settle`](super::settle::settle) does, atomically: two decisions on a common bucket happen one after the
//! other, and no partial effect of a call is ever visible. The time is the store's own, so that all users of a store share its clock.

use std::{error::Error, fmt, future::Future, sync::Arc};

use super::{plan::Plan, settle::Verdict};

/// Stores the state of buckets.
pub trait Store: Send + Sync {
    /// Takes the plan's tokens from all of its buckets, or from none.
    ///
    /// # Errors
    /// When the store does not decide; the error says whether tokens may have been taken. If they may ([`StoreError::may_have_taken`]), the call
    /// must not be sent again.
    fn take(&self, plan: &Plan<'_>) -> impl Future<Output = Result<StoreAnswer, StoreError>> + Send;

    /// Called with a plan without buckets: its call is allowed, and the store is not asked.
    fn uncounted(&self, plan: &Plan<'_>) {
        let _ = plan;
    }

    /// Checks whether the store responds at all, without taking anything.
    ///
    /// # Errors
    /// Why it does not.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A verdict and who reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAnswer {
    /// The verdict.
    pub verdict: Verdict,
    /// Who reached it.
    pub source: DecidedBy,
}

/// Who reached a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecidedBy {
    /// The store, asked for this call.
    Store,
    /// An earlier response of the store makes this denial certain; the store was not asked again.
    Cache,
    /// Buckets in this process, since the store is unavailable.
    Local,
    /// No one: the store is unavailable, and calls are allowed meanwhile.
    FailOpen,
}

/// Why the store did not decide.
#[derive(Clone, Debug)]
pub struct StoreError {
    cause: Cause,
    may_have_taken: bool,
    source: Arc<dyn Error + Send + Sync>,
}

/// The kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// No response in time.
    Timeout,
    /// The store is unreachable, or the connection broke.
    Connection,
    /// The store rejects our credentials, or our permissions are insufficient.
    Auth,
    /// The store works, but the state of one of the call's buckets is unusable. Other calls may succeed.
    Bucket,
    /// Anything else.
    Other,
}

impl DecidedBy {
    /// The name used in metrics.
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
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Timeout, Self::Connection, Self::Auth, Self::Bucket, Self::Other];

    /// The name used in metrics; `timeout`, `connection`, `auth` and `other` are also ToolHive's.
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
    /// The store was not asked, or rejected the whole request: no token was taken.
    pub fn untaken(cause: Cause, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, may_have_taken: false, source: Arc::from(source.into()) }
    }

    /// The store was asked and the outcome is unknown: the tokens may or may not have been taken.
    pub fn unknown(cause: Cause, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, may_have_taken: true, source: Arc::from(source.into()) }
    }

    /// The kind of error.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) fn into_source(self) -> Arc<dyn Error + Send + Sync> {
        self.source
    }

    /// Whether tokens may have been taken without a decision.
    pub fn may_have_taken(&self) -> bool {
        self.may_have_taken
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.may_have_taken { "the outcome of the decision is unknown" } else { "the store did not decide" };
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
