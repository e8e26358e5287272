//! The limiter: decides whether a `tools/call` may go on, exactly, and when it may if not now.
//!
//! # The model
//!
//! Each limit is a token bucket of `maxTokens`, refilled over `refillPeriod`; a call takes one token from every bucket that counts it, from
//! all or from none. With `maxTokens: 10` and `refillPeriod: 1m`:
//!
//! | | |
//! |---|---|
//! | at once | 10 calls, after a minute without any |
//! | then | one every 6 s, not 10 at the turn of a minute |
//! | in any window of `t` | at most 10 + `t` / 6 s calls, wherever the window begins; 20 in the worst minute |
//! | the eleventh call at once | denied, with a wait of 6 s; the level falls below nothing and a denial costs nothing |
//! | a call 2.4 s later | denied, with a wait of 3.6 s: 0.4 tokens are there |
//!
//! A call is counted by up to four buckets, asked in this order:
//!
//! | limit | counts | key (see [`key`]) |
//! |---|---|---|
//! | `global` | all calls of the server | `..:shared` |
//! | `tools[T].global` | all calls of tool T | `..:shared:tool:T` |
//! | `perUser` | the calls of each user | `..:user:U` |
//! | `tools[T].perUser` | each user's calls of T | `..:user-tool:T:U` |
//!
//! Without a verified user the last two are left out, and the plan says so ([`Plan::skips_users`]).
//!
//! # An example
//!
//! ```
//! use tollgate::model::{bucket::Bucket, limits::Limits};
//! use tollgate::limiter::{Call, Decision, Limiter, Policy, ServerId};
//! use tollgate::stores::Memory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Limits::new().per_user(Bucket::per_hour(2));
//! let limiter = Limiter::new(Memory::default(), Policy::new(&ServerId::new("default", "search"), &limits));
//!
//! let call = Call::of("web_search").by("alice");
//! assert!(limiter.decide(&call).await?.is_allowed());
//! assert!(limiter.decide(&call).await?.is_allowed());
//! let Decision::Denied(denial) = limiter.decide(&call).await? else { panic!("the third call of two") };
//! assert_eq!(denial.limit.to_string(), "perUser");
//! assert_eq!(denial.retry_after_secs(), Some(1800));
//! assert!(limiter.decide(&Call::of("web_search").by("bob")).await?.is_allowed());
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Never too many.** In no window do the calls that a bucket allowed cost more than `maxTokens` + window / `refillPeriod` x `maxTokens`.
//!   The rate is that of the manifest to the precision of a double: one call a week is one call a week. (A double's price: each call may
//!   gain up to [`EPSILON`](shape::EPSILON), a billionth of a token.)
//! - **Never in vain.** A caller who waits for exactly the stated wait is allowed, if nobody else called meanwhile; one microsecond less is
//!   not enough. With several buckets it is the longest of their waits, and its bucket is the one that is named.
//! - **All or none.** A call that one bucket denies takes nothing from the others.
//! - **Denials are free**: they change nothing, so an abuser cannot prolong a wait, and stores need not write.
//! - **Clocks may be wrong.** A clock that steps back by up to two periods credits no interval twice; the bucket stands still until the clock
//!   has caught up. After a greater step its level stays and refilling begins anew ([`Shape::repair`](shape::Shape::repair)).
//! - **Strangers share nothing**: distinct users, tools and servers have distinct keys, whatever characters they are made of.
//!
//! # Costs, batches, shadow, reload
//!
//! A call may cost more than one token ([`Call::costing`]), and a batch takes for all of its calls at once or for none
//! ([`Limiter::decide_batch`]). What costs more than a bucket holds is denied with [`Wait::Never`]: waiting does not help.
//!
//! Limits in shadow ([`Policy::shadow`], all of them or some) take tokens and tell who would have been denied, and deny nobody.
//!
//! [`Limiter::reload`] changes limits under way. Levels stay: a bucket that grows keeps its tokens and refills to more, one that shrinks is
//! cut. `shared` and `global` are one limit, so renaming it changes nothing.
//!
//! # When the store is away
//!
//! A limiter says so with an error ([`StoreError`]), which tells whether tokens may be gone, and never asks twice for one call. To go on
//! without a store that hangs, put it behind a `stores::Guard` (feature `redis`): each call waits 100 ms at most, after five failures nobody
//! waits at all, and meanwhile calls are allowed, refused, or decided by buckets in this process, as you choose.
//!
//! | Redis | calls | afterwards |
//! |---|---|---|
//! | hangs | wait for the deadline, then not at all | decided by it again within a second of its return |
//! | restarts empty, or forgets a bucket | are decided | the bucket is full: at most `maxTokens` too many |
//! | fails over | as if it hung; behind Sentinels its successor is found within a second or two | what the replica had not received yet is forgotten |
//! | refuses writes (memory full, read-only) | are not decided by it; nothing is taken | |
//! | holds something else under a bucket's key | of that bucket are not decided, all others are | reset that bucket |
//!
//! # Denials that are certain
//!
//! What a store in Redis said of a drained bucket bounds what it can hold, whatever others do: they only take. So for up to a second further
//! calls on it are denied here ([`DecidedBy::Cache`]), and an abuser costs Redis nothing. Such a denial names the bucket that is known to
//! be drained; another one of the call's, which nobody asked about, may turn out to take longer.
//!
//! # How state grows
//!
//! A bucket that is full needs no state. So a store holds at most the buckets touched within twice their `refillPeriod`: for `perUser` the
//! users seen in that time, times one more for each tool with a `perUser` of its own. 10 000 users a day with `refillPeriod: 24h` and two such
//! tools: up to 60 000 keys.
//!
//! # Files
//!
//! | file | what lives there |
//! |---|---|
//! | [`time`] | microseconds since the epoch |
//! | [`shape`] | one bucket's arithmetic |
//! | [`mod@settle`] | one decision over several buckets |
//! | [`key`] | the keys of buckets |
//! | [`policy`] | a server's limits, ready to be asked |
//! | [`plan`] | which buckets a call draws on |
//! | [`decision`] | the answer |
//! | [`store`] | the port behind which the buckets are; see [`stores`](crate::stores) |
//! | [`service`] | policy and store together |
//! | [`observe`] | the port for metrics |

pub mod decision;
pub mod key;
pub mod observe;
pub mod plan;
pub mod policy;
#[cfg(test)]
mod properties;
pub mod service;
pub mod settle;
pub mod shape;
pub mod store;
pub mod time;

pub use decision::{Decision, Denial};
pub use key::ServerId;
pub use observe::Observer;
pub use plan::{Call, Plan};
pub use policy::{Limit, Policy, Scope};
pub use service::Limiter;
pub use settle::Verdict;
pub use shape::Wait;
pub use store::{Cause, DecidedBy, Store, StoreAnswer, StoreError};
pub use time::Micros;
