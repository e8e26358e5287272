//! Buckets in Redis, shared by all processes that use it: tollgate's and ToolHive's Go proxies at once.
//!
//! # What is stored
//!
//! A hash for each bucket that is not full, under the keys of [`key`](crate::limiter::key):
//!
//! | field | holds |
//! |---|---|
//! | `tokens` | the level at `last_refill`, a double as text |
//! | `last_refill` | microseconds since the epoch, by Redis' clock |
//! | `expires` | the time to which `EXPIRE` was last set, so that it need not be set on each call; Go ignores it |
//!
//! Keys live for two refill periods after the last `EXPIRE` and at least one after the last write; by then the bucket is full, which is
//! what a missing key means.
//!
//! # How a call is decided
//!
//! ```text
//! is the denial certain?   answered here, without asking Redis                                  (certain.rs)
//! are two in flight?       queue; all queued calls are sent together when one completes         (link.rs)
//! one script               TIME once, each bucket read once, calls settled in order of arrival,
//!                          each bucket that changed written once, nothing on denials             (script.lua)
//! ```
//!
//! The script computes the same doubles in the same order as [`shape`](crate::limiter::shape). It needs Redis 6.2 or newer, or Valkey, and
//! an ACL user with `~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping` (and `+del +scan +pttl` for inspecting and resetting,
//! `~tollgate:* +get +set` for the key of users' digests; in a cluster `+cluster|slots +asking`).
//!
//! Inspecting uses two more commands: a script of its own reads buckets as the other one would, and `SCAN` finds their keys, a thousand of
//! all keys in Redis at a time.
//!
//! # Guarantees
//!
//! - **Sent once.** A script that may have run is never sent again. It is only when Redis reports that it did not run it: because it does
//!   not know the script, or because another node of the cluster owns the keys.
//! - **Exact.** Redis runs scripts one at a time, so a batch has the same effect as its calls one after the other, all at the same time.
//! - **Other data is never touched.** A key that does not hold a hash fails the calls that need it ([`Cause::Bucket`]) and stays unchanged;
//!   this is logged once. A bucket with invalid fields holds whatever of its tokens can be read, as of now.
//!
//! What happens when Redis loses data: a bucket that is gone (restart without persistence, eviction, a failover before replication) is a
//! full bucket. So set `maxmemory-policy` to `noeviction` or `volatile-ttl`, not to `allkeys-*`. The [`Guard`](crate::stores::Guard)
//! handles an unavailable Redis.

mod certain;
mod connector;
pub mod facts;
mod fault;
mod inspect;
mod link;
mod live;
mod runner;
mod script;
pub mod settings;
mod unusable;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

pub use certain::LONGEST_BELIEF;
use redis::RedisError;
pub use script::SOURCE as SCRIPT;
pub use settings::{RedisSettings, RedisSettingsError};
use thiserror::Error;

use self::{
    certain::Certain,
    connector::Connector,
    facts::RedisFacts,
    link::Link,
    live::{Target, TargetError},
    runner::Runner,
    script::Outcome,
    unusable::Unusable,
};
use crate::limiter::{Cause, DecidedBy, Micros, Plan, Store, StoreAnswer, StoreError, Verdict, Wait, settle::Shortfall};

/// A [`Store`] in Redis. Share one among the limiters of a process.
pub struct Redis {
    runner: Arc<Runner>,
    links: Links,
    certain: Option<Certain>,
    unusable: Unusable,
}

/// The queues of waiting calls.
enum Links {
    One(Arc<Link>),
    /// In a cluster, one for each server: its buckets are on one node.
    ByServer(RwLock<HashMap<Box<str>, Arc<Link>>>),
}

/// Why the store could not be created.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] RedisSettingsError),
    /// The Redis library rejects them: mostly certificates that cannot be read.
    #[error("invalid Redis settings: {0}")]
    Library(#[source] RedisError),
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// A store that connects on first use. To check right away whether Redis is reachable, [`probe`](Store::probe) it.
    ///
    /// # Errors
    /// When the settings are invalid, whether or not Redis is reachable.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisStoreError> {
        let target = Target::new(settings).map_err(|error| match error {
            TargetError::Settings(error) => RedisStoreError::Settings(error),
            TargetError::Library(error) => RedisStoreError::Library(error),
        })?;
        let is_cluster = target.is_cluster();
        let runner = Runner::new(Connector::new(target), Arc::clone(&settings.observer));
        let links = if is_cluster { Links::ByServer(RwLock::default()) } else { Links::One(Link::new(Arc::clone(&runner))) };
        Ok(Self { runner, links, certain: settings.remember_denials.then(Certain::new), unusable: Unusable::default() })
    }

    /// Decides by asking Redis, even if a denial is certain, and returns Redis' time.
    ///
    /// # Errors
    /// As [`Store::take`].
    pub async fn ask(&self, plan: &Plan<'_>) -> Result<(Verdict, Micros), StoreError> {
        let (outcome, at) = self.link(plan).take(plan).await?;
        match outcome {
            Outcome::Decided(verdict) => {
                self.unusable.decided(plan);
                Ok((verdict, at))
            }
            Outcome::Unusable(by) => {
                self.unusable.found(plan, by);
                Err(unusable(plan, by))
            }
        }
    }

    /// What each server reports about itself; in a cluster, each master. Needs the command `INFO`.
    ///
    /// # Errors
    /// When Redis does not respond, or the response is malformed.
    pub async fn facts(&self) -> Result<Vec<RedisFacts>, StoreError> {
        self.runner.query(&redis::cmd("INFO")).await.map(|answer| facts::read(&answer))
    }

    fn link(&self, plan: &Plan<'_>) -> Arc<Link> {
        let links = match &self.links {
            Links::One(link) => return Arc::clone(link),
            Links::ByServer(links) => links,
        };
        let server = plan.draws().next().map_or("", |draw| hash_tag(draw.parts().front));
        if let Some(link) = links.read().unwrap_or_else(PoisonError::into_inner).get(server) {
            return Arc::clone(link);
        }
        let mut links = links.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(server.into()).or_insert_with(|| Link::new(Arc::clone(&self.runner))))
    }
}

impl Store for Redis {
    async fn take(&self, plan: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        if let Some(by) = too_large(plan) {
            return Ok(StoreAnswer { verdict: Verdict::Denied(Shortfall { by, wait: Wait::Never }), source: DecidedBy::Cache });
        }
        let Some(certain) = &self.certain else {
            return self.ask(plan).await.map(|(verdict, _)| verdict.into());
        };
        let sent = Instant::now();
        if let Some(verdict) = certain.denial(plan, sent) {
            return Ok(StoreAnswer { verdict, source: DecidedBy::Cache });
        }
        let (verdict, _) = self.ask(plan).await?;
        if matches!(verdict, Verdict::Denied(_)) {
            certain.learn(plan, &verdict, sent, Instant::now());
        }
        Ok(verdict.into())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.runner.ping().await
    }
}

/// The first bucket that is asked for more than it can ever hold: Redis need not be asked.
fn too_large(plan: &Plan<'_>) -> Option<usize> {
    plan.draws().position(|draw| draw.enforced() && f64::from(draw.cost().get()) > draw.shape().capacity())
}

/// What determines a key's cluster node.
fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.map_or(key, |(tag, _)| tag)
}

fn unusable(plan: &Plan<'_>, by: usize) -> StoreError {
    let limit = plan.draws().nth(by).map(|draw| draw.limit().to_string()).unwrap_or_default();
    StoreError::untaken(Cause::Bucket, format!("the key of a bucket of {limit} does not hold a bucket; delete that key"))
}
