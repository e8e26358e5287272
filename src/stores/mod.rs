//! Where buckets are kept: the stores behind the limiter's port, [`Store`](crate::limiter::Store).
//!
//! | store | buckets live | for |
//! |---|---|---|
//! | [`Memory`] | in this process | one proxy, tests, a fallback |
//! | [`Redis`] (feature `redis`) | in Redis or Valkey | several proxies, and ToolHive's beside them |

pub mod clock;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
mod shard;

pub use memory::Memory;
#[cfg(feature = "redis")]
pub use redis::Redis;
