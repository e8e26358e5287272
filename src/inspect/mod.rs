//! Inspecting buckets: what a store holds, in terms of a policy, without taking anything.
//!
//! | file | contents |
//! |---|---|
//! | [`port`] | the port for inspecting and resetting buckets |
//! | [`name`] | what a bucket counts, converted to and from its key |
//! | [`state`] | the state of buckets, in terms of a policy |
//! | [`report`] | the same as JSON, for `tollgate limits`, `GET /buckets` and `tollgate top` |
//! | [`digest`] | digests of users, for readers who may not see their identities |

pub mod digest;
pub mod name;
pub mod port;
pub mod report;
pub mod state;

pub use digest::DigestKey;
pub use name::{BucketName, User};
pub use port::{Bounds, Inspect, InspectError};
pub use state::{BucketLevel, BucketState, BucketStates, BucketStatus};
