//! Where the buckets of a front are: in this process, or in Redis behind a guard.

use super::{Guard, Memory, Redis};
use crate::{
    inspect::{
        Bounds, Inspect, InspectError,
        port::{Listing, Sample},
    },
    limiter::{Plan, ServerId, Store, StoreAnswer, StoreError},
};

/// Either of the stores.
#[derive(Debug)]
pub enum Buckets {
    /// In this process.
    Memory(Memory),
    /// In Redis.
    Redis(Guard<Redis>),
}

/// The buckets that currently decide.
enum Deciding<'a> {
    /// In this process, also as a fallback for Redis.
    Here(&'a Memory),
    Redis(&'a Guard<Redis>),
}

impl Buckets {
    /// Whether the store is available, as far as is known.
    pub fn is_answering(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(guard) => guard.is_asking(),
        }
    }

    /// The name of the buckets that currently decide, for people.
    pub fn name(&self) -> &'static str {
        match (self, self.deciding()) {
            (Self::Memory(_), _) => "memory",
            (Self::Redis(_), Deciding::Here(_)) => "local",
            (Self::Redis(_), Deciding::Redis(_)) => "redis",
        }
    }

    /// The Redis that holds these buckets, unless they are the fallback for it.
    pub fn shared(&self) -> Option<&Redis> {
        match self.deciding() {
            Deciding::Here(_) => None,
            Deciding::Redis(guard) => Some(guard.store()),
        }
    }

    fn deciding(&self) -> Deciding<'_> {
        match self {
            Self::Memory(memory) => Deciding::Here(memory),
            Self::Redis(guard) => guard.stand_in().map_or(Deciding::Redis(guard), Deciding::Here),
        }
    }
}

impl Store for Buckets {
    async fn take(&self, plan: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        match self {
            Self::Memory(memory) => memory.take(plan).await,
            Self::Redis(redis) => redis.take(plan).await,
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.probe().await,
            Self::Redis(redis) => redis.probe().await,
        }
    }
}

/// Inspects the buckets that currently decide.
impl Inspect for Buckets {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        match self.deciding() {
            Deciding::Here(memory) => memory.read(keys).await,
            Deciding::Redis(redis) => redis.read(keys).await,
        }
    }

    async fn list(&self, server: &ServerId, bounds: Bounds) -> Result<Listing, InspectError> {
        match self.deciding() {
            Deciding::Here(memory) => memory.list(server, bounds).await,
            Deciding::Redis(redis) => redis.list(server, bounds).await,
        }
    }

    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        match self.deciding() {
            Deciding::Here(memory) => memory.reset(key).await,
            Deciding::Redis(redis) => redis.reset(key).await,
        }
    }
}
