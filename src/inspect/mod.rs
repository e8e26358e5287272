//! Buckets seen from outside: what a store holds, in terms of a policy, without taking anything.
//!
//! | file | what lives there |
//! |---|---|
//! | [`port`] | the port for looking into a store, and for resets |
//! | [`name`] | what a bucket counts, and back from its key to that |
//! | [`state`] | what is left in buckets, in terms of a policy |
//! | [`report`] | the same as JSON, for `tollgate limits`, `GET /buckets` and `tollgate top` |
//! | [`digest`] | users, for those who may not see who they are |

pub mod digest;
pub mod name;
pub mod port;
pub mod report;
pub mod state;

pub use digest::DigestKey;
pub use name::{BucketName, User};
pub use port::{Bounds, Inspect, InspectError};
pub use state::{BucketLevel, BucketState, BucketStates, BucketStatus};
