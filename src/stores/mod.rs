//! Where buckets are stored: implementations of the limiter's port, [`Store`](crate::limiter::Store).
//!
//! | store | buckets are | use it for |
//! |---|---|---|
//! | [`Memory`] | in this process | one proxy, tests, a fallback |
//! | [`Guard`] (feature `redis`) | in another store | handling failures of that store |
//! | [`Observed`] | in another store | metrics and traces |
//! | [`Buckets`] (feature `redis`) | in either | a front whose user chooses |
//! | [`Redis`] (feature `redis`) | in Redis or Valkey | several proxies, also alongside ToolHive's |

#[cfg(feature = "redis")]
mod buckets;
pub mod clock;
#[cfg(feature = "redis")]
pub mod guard;
pub mod memory;
pub mod observed;
#[cfg(feature = "redis")]
pub mod redis;
mod shard;

#[cfg(feature = "redis")]
pub use buckets::Buckets;
#[cfg(feature = "redis")]
pub use guard::{Guard, GuardSettings, OnStoreError};
pub use memory::Memory;
pub use observed::Observed;
#[cfg(feature = "redis")]
pub use redis::Redis;
