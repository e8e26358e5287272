//! The limiter: decides whether a `tools/call` is allowed, exactly, and if not, how long to wait.
//!
//! # The model
//!
//! Each limit is a token bucket of `maxTokens`, refilled over `refillPeriod`; a call takes one token from every bucket that counts it, from
//! all or from none. With `maxTokens: 10` and `refillPeriod: 1m`:
//!
//! | | |
//! |---|---|
//! | at once | 10 calls, after a minute without any |
//! | then | one every 6 s, not 10 at the start of each minute |
//! | in any window of `t` | at most 10 + `t` / 6 s calls, wherever the window begins; 20 in the worst minute |
//! | the eleventh call at once | denied, with a wait of 6 s; the level never becomes negative and a denial costs nothing |
//! | a call 2.4 s later | denied, with a wait of 3.6 s: the bucket holds 0.4 tokens |
//!
//! A call is counted by up to four buckets, checked in this order:
//!
//! | limit | counts | key (see [`key`]) |
//! |---|---|---|
//! | `global` | all calls of the server | `..:shared` |
//! | `tools[T].global` | all calls of tool T | `..:shared:tool:T` |
//! | `perUser` | the calls of each user | `..:user:U` |
//! | `tools[T].perUser` | each user's calls of T | `..:user-tool:T:U` |
//!
//! Without a verified user the last two do not apply, and the plan reports that ([`Plan::skips_users`]).
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
//! # Guarantees
//!
//! - **Never too many.** In no window do the calls allowed by a bucket cost more than `maxTokens` + window / `refillPeriod` x `maxTokens`.
//!   The rate is that of the manifest to the precision of a double: one call a week is one call a week. (Because of rounding, each call may
//!   gain up to [`EPSILON`](shape::EPSILON), a billionth of a token.)
//! - **Waits are exact.** A caller that waits for exactly the reported wait is allowed, if there were no other calls meanwhile; one
//!   microsecond less is not enough. With several buckets it is the longest of their waits, and the bucket with that wait is the one that
//!   is named.
//! - **All or none.** A call that one bucket denies takes nothing from the others.
//! - **Denials are free**: they change nothing, so an abuser cannot prolong a wait, and stores need not write.
//! - **Clocks may be wrong.** If a clock steps back by up to two periods, no interval is credited twice; the bucket does not refill until
//!   the clock has caught up. After a greater step its level stays and refilling starts anew ([`Shape::repair`](shape::Shape::repair)).
//! - **No sharing by accident**: distinct users, tools and servers have distinct keys, whatever characters their names contain.
//!
//! # Costs, batches, shadow, reload
//!
//! A call may cost more than one token ([`Call::costing`]), and a batch takes tokens for all of its calls at once or for none
//! ([`Call::batch`]). A cost above a bucket's capacity is denied with [`Wait::Never`]: waiting does not help.
//!
//! Shadow limits ([`Policy::shadow`], all of them or some) take tokens and report which calls they would have denied, without denying any.
//!
//! [`Limiter::reload`] changes limits at runtime. Levels are retained: a bucket that grows keeps its tokens and refills to the new
//! capacity, one that shrinks is cut. `shared` and `global` are one limit, so renaming it has no effect.
//!
//! # When the store is unavailable
//!
//! The limiter returns an error ([`StoreError`]), which says whether tokens may have been taken, and never sends a call twice. To keep
//! working without the store, put it behind a `stores::Guard` (feature `redis`): each call waits 100 ms at most, after five failures no
//! call waits at all, and meanwhile calls are allowed, rejected, or decided by buckets in this process, as configured.
//!
//! | Redis | calls | afterwards |
//! |---|---|---|
//! | hangs | wait for the deadline, then not at all | decided by it again within a second of its recovery |
//! | restarts empty, or loses a bucket | are decided | the bucket is full: at most `maxTokens` too many |
//! | fails over | as if it hung; behind Sentinels the new master is found within a second or two | writes that were not replicated yet are lost |
//! | rejects writes (memory full, read-only) | are not decided by it; nothing is taken | |
//! | holds something else under a bucket's key | that draw on that bucket are not decided, all others are | reset that bucket |
//!
//! # Certain denials
//!
//! What Redis reported about a drained bucket bounds what it can hold, whatever other clients do: they only take tokens. So for up to a
//! second, further calls on it are denied locally ([`DecidedBy::Cache`]), and an abuser causes no load on Redis. Such a denial names the
//! bucket that is known to be drained; another bucket of the call, which was not asked, may have a longer wait.
//!
//! # How state grows
//!
//! A full bucket needs no state. So a store holds at most the buckets used within twice their `refillPeriod`: for `perUser`, the users
//! active in that time, times one plus the number of tools with their own `perUser`. 10 000 users a day with `refillPeriod: 24h` and two
//! such tools: up to 60 000 keys.
//!
//! # Files
//!
//! | file | contents |
//! |---|---|
//! | [`time`] | microseconds since the epoch |
//! | [`shape`] | one bucket's arithmetic |
//! | [`mod@settle`] | one decision over several buckets |
//! | [`key`] | the keys of buckets |
//! | [`policy`] | a server's limits, prepared for decisions |
//! | [`plan`] | which buckets a call draws on |
//! | [`decision`] | the result |
//! | [`store`] | the port to the buckets; see [`stores`](crate::stores) |
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
