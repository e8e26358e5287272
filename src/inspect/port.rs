//! The port for inspecting a store: reading what buckets hold, and resetting them.
//!
//! Decisions never wait for any of this, nor does it follow their deadline: it is for people at a terminal. The result was true when the
//! store read it, by the store's clock; the next call may change it.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use thiserror::Error;

use crate::limiter::{
    key::ServerId,
    shape::State,
    store::{Cause, StoreError},
    time::Micros,
};

/// Inspects the state of buckets. The keys are those of [`key`](crate::limiter::key).
pub trait Inspect: Send + Sync {
    /// Reads some keys, in their order. Read-only: not even TTLs change.
    ///
    /// # Errors
    /// When the store does not respond, or returns an error.
    fn read(&self, keys: &[String]) -> impl Future<Output = Result<Vec<Sample>, InspectError>> + Send;

    /// Keys of a server's buckets, each once, in no order. Full buckets need no key, so most are absent.
    ///
    /// # Errors
    /// When the store does not respond, or returns an error.
    fn list(&self, server: &ServerId, bounds: Bounds) -> impl Future<Output = Result<Listing, InspectError>> + Send;

    /// Deletes a bucket, which refills it; returns whether it existed. Idempotent.
    ///
    /// # Errors
    /// When the store does not confirm. The bucket may have been reset all the same.
    fn reset(&self, key: &str) -> impl Future<Output = Result<bool, InspectError>> + Send;
}

/// The content of a key, and when it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The store's time.
    pub at: Micros,
    /// The content.
    pub kept: Stored,
}

/// The content of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    /// Nothing: the bucket is full.
    Nothing,
    /// A bucket.
    Bucket {
        /// Its tokens, and their time.
        state: State,
        /// How long the store keeps it without further calls; `None` if it never expires.
        ttl: Option<Duration>,
    },
    /// Something else. Calls that draw on this bucket fail with [`Cause::Bucket`] until it is reset.
    Unusable,
}

/// Bounds of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of keys.
    pub most_keys: usize,
    /// Maximum number of steps, in each of which the store scans a thousand of all keys that it has, including foreign ones.
    pub most_pages: usize,
}

/// Keys of a server's buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys.
    pub keys: Vec<String>,
    /// Whether the list is complete. If not, a bound was reached.
    pub complete: bool,
}

/// Why a store could not be inspected.
#[derive(Clone, Debug, Error)]
#[error("the store cannot be inspected: {message}")]
pub struct InspectError {
    cause: Cause,
    message: Arc<dyn Error + Send + Sync>,
}

impl Default for Bounds {
    /// A thousand keys, found among a million.
    fn default() -> Self {
        Self { most_keys: 1000, most_pages: 1000 }
    }
}

impl InspectError {
    /// An error of a kind, and its message.
    pub fn new(cause: Cause, message: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause, message: Arc::from(message.into()) }
    }

    /// The kind of error.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl From<StoreError> for InspectError {
    fn from(error: StoreError) -> Self {
        Self { cause: error.cause(), message: error.into_source() }
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
