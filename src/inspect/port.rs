//! The port for looking into a store: what buckets hold, without touching them, and making them full again.
//!
//! Decisions never wait for any of this, nor does it follow their deadline: it is for people at a terminal. What it returns is
//! true when the store reads it, by the store's clock; the next call may change it.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use thiserror::Error;

use crate::limiter::{
    key::ServerId,
    shape::State,
    store::{Cause, StoreError},
    time::Micros,
};

/// Looks into the state of buckets. The keys are those of [`key`](super::key).
pub trait Inspect: Send + Sync {
    /// What is kept under each of some keys, in their order. It changes nothing, not even how long they live.
    ///
    /// # Errors
    /// When the store does not respond, or refuses.
    fn read(&self, keys: &[String]) -> impl Future<Output = Result<Vec<Sample>, InspectError>> + Send;

    /// Keys of a server's buckets, each once, in no order. Full buckets need no key, so most are not there.
    ///
    /// # Errors
    /// When the store does not respond, or refuses.
    fn list(&self, server: &ServerId, bounds: Bounds) -> impl Future<Output = Result<Listing, InspectError>> + Send;

    /// Forgets a bucket, which makes it full; whether there was anything to forget. Doing it twice does no harm.
    ///
    /// # Errors
    /// When the store does not say that it is done. It may be done all the same.
    fn reset(&self, key: &str) -> impl Future<Output = Result<bool, InspectError>> + Send;
}

/// What was found under a key, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The time of the store.
    pub at: Micros,
    /// What was there.
    pub kept: Stored,
}

/// What a store keeps under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    /// Nothing: the bucket is full.
    Nothing,
    /// A bucket.
    Bucket {
        /// Its tokens, and since when.
        state: State,
        /// For how long the store keeps it, if nobody calls; `None` when it has no end.
        ttl: Option<Duration>,
    },
    /// Something else. Calls that draw on this bucket fail with [`Cause::Bucket`] until it is reset.
    Unusable,
}

/// How far a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Keys, at most.
    pub most_keys: usize,
    /// Steps, at most, in each of which the store looks at a thousand of all the keys that it has, whosever they are.
    pub most_pages: usize,
}

/// Keys of a server's buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys.
    pub keys: Vec<String>,
    /// Whether these are all. If not, the bounds were reached before the end.
    pub complete: bool,
}

/// Why a store was not looked into.
#[derive(Clone, Debug, Error)]
#[error("the store cannot be inspected: {told}")]
pub struct InspectError {
    cause: Cause,
    told: Arc<dyn Error + Send + Sync>,
}

impl Default for Bounds {
    /// A thousand keys, found among a million.
    fn default() -> Self {
        Self { most_keys: 1000, most_pages: 1000 }
    }
}

impl InspectError {
    /// Trouble of a kind, and what was told about it.
    pub fn new(cause: Cause, told: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, told: Arc::from(told.into()) }
    }

    /// What kind of trouble it is.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl From<StoreError> for InspectError {
    fn from(error: StoreError) -> Self {
        Self { cause: error.cause(), told: error.into_told() }
    }
}

impl<S: Inspect> Inspect for Arc<S> {
    fn read(&self, keys: &[String]) -> impl Future<Output = Result<Vec<Sample>, InspectError>> + Send {
        self.as_ref().read(keys)
    }

    fn list(&self, server: &ServerId, bounds: Bounds) -> impl Future<Output = Result<Listing, InspectError>> + Send {
        self.as_ref().list(server, bounds)
    }

    fn reset(&self, key: &str) -> impl Future<Output = Result<bool, InspectError>> + Send {
        self.as_ref().reset(key)
    }
}
