//! Buckets in Redis, shared by all processes that ask it: ours and ToolHive's Go proxies at once.
//!
//! # What is stored
//!
//! A hash for each bucket that is not full, under the keys of [`key`](crate::limiter::key):
//!
//! | field | holds |
//! |---|---|
//! | `tokens` | the level at `last_refill`, a double as text |
//! | `last_refill` | microseconds since the epoch, by Redis' clock |
//! | `expires` | the time to which `EXPIRE` was last set, so that it need not be set at each call; Go ignores it |
//!
//! Keys live for two refill periods after the last `EXPIRE` and at least one after the last write, by when the bucket is full and a missing
//! key means the same.
//!
//! # How a call is decided
//!
//! ```text
//! is the denial certain?   answered here, Redis is not asked                                    (certain.rs)
//! are two under way?       wait in line; all who wait go out together when one lands            (link.rs)
//! one script               TIME once, each bucket read once, calls settled in order of arrival,
//!                          each bucket that changed written once, nothing on denials             (script.lua)
//! ```
//!
//! The script computes the same doubles in the same order as [`shape`](crate::limiter::shape). It needs Redis 6.2 or newer, or Valkey, and
//! an ACL user with `~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping` (and `+del +scan +pttl` for inspecting and resetting,
//! `~tollgate:* +get +set` for the key of users' digests; in a cluster `+cluster|slots +asking`).
//!
//! Inspecting is two more commands: a script of its own reads buckets as the other one would, and `SCAN` finds their keys, a thousand of
//! all that Redis has at a time.
//!
//! # What is promised
//!
//! - **Sent once.** A script that may have run is never sent again. It is, when Redis says that it did not run it: because it does not know
//!   the script, or because another node of the cluster should.
//! - **Exact.** Redis runs scripts one at a time, so a batch is what its calls would be one after the other, at one time.
//! - **Nobody else's data is touched.** A key that holds no hash fails the calls that need it ([`Cause::Bucket`]) and stays as it is; the
//!   log says so once.
//!   A bucket whose fields make no sense holds what can be read of its tokens, as of now.
//!
//! What is lost when Redis loses it: a bucket that is gone (restart without persistence, eviction, a failover before the replica had it) is
//! a full bucket. So set `maxmemory-policy` to `noeviction` or `volatile-ttl`, not to `allkeys-*`. What happens when Redis does not answer is
//! the [`Guard`](crate::stores::Guard)'s business.

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

/// Who waits for what.
enum Links {
    One(Arc<Link>),
    /// In a cluster, one for each server: its buckets live on one node.
    ByServer(RwLock<HashMap<Box<str>, Arc<Link>>>),
}

/// Why there is no store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] RedisSettingsError),
    /// The Redis library refuses them: mostly certificates that cannot be read.
    #[error("these settings for Redis cannot be used: {0}")]
    Library(#[source] RedisError),
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// A store that connects when it is first asked. To know at once whether Redis is there, [`probe`](Store::probe) it.
    ///
    /// # Errors
    /// When the settings cannot be used, whatever Redis says.
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

    /// Decides by asking Redis, even what is certain, and tells the time by Redis' clock.
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

    /// What each server tells of itself; in a cluster, each master. Needs the command `INFO`.
    ///
    /// # Errors
    /// When Redis does not answer, or not that.
    pub async fn facts(&self) -> Result<Vec<RedisFacts>, StoreError> {
        self.runner.query(&redis::cmd("INFO")).await.map(|answer| facts::read(&answer))
    }

    fn link(&self, plan: &Plan<'_>) -> Arc<Link> {
        let links = match &self.links {
            Links::One(link) => return Arc::clone(link),
            Links::ByServer(links) => links,
        };
        let server = plan.draws().first().map_or("", |draw| hash_tag(draw.key()));
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

/// The first bucket that is asked for more than it ever holds: no need to ask Redis.
fn too_large(plan: &Plan<'_>) -> Option<usize> {
    plan.draws().iter().position(|draw| draw.enforced() && f64::from(draw.cost().get()) > draw.shape().capacity())
}

/// What a cluster places a key by.
fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.map_or(key, |(tag, _)| tag)
}

fn unusable(plan: &Plan<'_>, by: usize) -> StoreError {
    let limit = plan.draws().get(by).map(|draw| draw.limit().to_string()).unwrap_or_default();
    StoreError::untaken(Cause::Bucket, format!("the key of a bucket of {limit} holds something else; delete that key"))
}
