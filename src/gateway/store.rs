//! Where the proxy's buckets are: in this process, or in Redis behind a guard.

use crate::{
    limiter::{Answer, Plan, Store, StoreError},
    stores::{Guard, Memory, Redis},
};

/// Either of the stores.
#[derive(Debug)]
pub enum Buckets {
    /// In this process.
    Memory(Memory),
    /// In Redis.
    Redis(Guard<Redis>),
}

impl Buckets {
    /// Whether the store answers, as far as is known.
    pub(super) fn is_answering(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(guard) => guard.is_asking(),
        }
    }
}

impl Store for Buckets {
    async fn take(&self, plan: &Plan<'_>) -> Result<Answer, StoreError> {
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
