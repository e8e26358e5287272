//! Where buckets are kept: the stores behind the limiter's port, [`Store`](crate::limiter::Store).
//!
//! | store | buckets live | for |
//! |---|---|---|
//! | [`Memory`] | in this process | one proxy, tests, a fallback |

pub mod clock;
pub mod memory;
mod shard;

pub use memory::Memory;
