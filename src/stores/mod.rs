//! Where buckets are kept: the stores behind the limiter's port, [`Store`](crate::limiter::Store).
//!
//! | store | buckets live | for |
//! |---|---|---|
//! | [`Memory`] | in this process | one proxy, tests, a fallback |
//! | [`Guard`] (feature `redis`) | in another store | what happens when that store does not answer |
//! | [`Redis`] (feature `redis`) | in Redis or Valkey | several proxies, and ToolHive's beside them |

pub mod clock;
#[cfg(feature = "redis")]
pub mod guard;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
mod shard;

#[cfg(feature = "redis")]
pub use guard::{Guard, GuardSettings, OnStoreError};
pub use memory::Memory;
#[cfg(feature = "redis")]
pub use redis::Redis;
