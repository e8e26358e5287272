//! Who decides: tollgate with either store, and its two rivals.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use redis::{Script, aio::MultiplexedConnection};
use tollgate::{
    limiter::{Call, Limiter, Observer, Store},
    stores::{
        Memory, Redis,
        redis::{RedisSettings, settings},
    },
};

use super::{
    scenario::{Outcome, Place, Scenario, TOOL},
    server::Server,
};

/// Decides calls.
pub(super) trait Party: Send + Sync + 'static {
    /// As in the report.
    fn name(&self) -> &'static str;

    /// Whether a call by a user may go on.
    fn decide(&self, user: usize) -> impl Future<Output = anyhow::Result<bool>> + Send;

    /// Scripts sent until now, and calls in them.
    fn batches(&self) -> Batches {
        Batches::default()
    }
}

/// Scripts that were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batches {
    pub(super) scripts: u64,
    /// Calls in them.
    pub(super) calls: u64,
}

impl Batches {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { scripts: self.scripts - earlier.scripts, calls: self.calls - earlier.calls }
    }
}

/// Tollgate, as a proxy would embed it.
pub(super) struct Tollgate<S> {
    limiter: Limiter<S>,
    users: Vec<String>,
    counter: Arc<Counter>,
}

/// Counts batches.
#[derive(Debug, Default)]
struct Counter {
    scripts: AtomicU64,
    calls: AtomicU64,
}

impl Observer for Counter {
    fn batch(&self, calls: usize, _took: Duration) {
        self.scripts.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(calls as u64, Ordering::Relaxed);
    }
}

impl Tollgate<Memory> {
    pub(super) fn in_memory(scenario: &Scenario) -> Self {
        let limiter = Limiter::new(Memory::default(), scenario.policy());
        Self { limiter, users: scenario.user_names(), counter: Arc::default() }
    }
}

impl Tollgate<Redis> {
    pub(super) fn in_redis(scenario: &Scenario, server: &Server) -> anyhow::Result<Self> {
        let counter = Arc::<Counter>::default();
        let settings = RedisSettings::parse(server.url())?.remember_denials(scenario.place == Place::Remembered);
        let store = Redis::new(&settings.observer(counter.clone()))?;
        Ok(Self { limiter: Limiter::new(store, scenario.policy()), users: scenario.user_names(), counter })
    }
}

impl<S: Store + 'static> Party for Tollgate<S> {
    fn name(&self) -> &'static str {
        "tollgate"
    }

    async fn decide(&self, user: usize) -> anyhow::Result<bool> {
        let user = self.users.get(user).context("a user")?;
        Ok(self.limiter.decide(&Call::of(TOOL).by(user)).await?.is_allowed())
    }

    fn batches(&self) -> Batches {
        Batches { scripts: self.counter.scripts.load(Ordering::Relaxed), calls: self.counter.calls.load(Ordering::Relaxed) }
    }
}

/// One `EVALSHA` a call, on one connection that all callers share.
pub(super) struct OneByOne {
    connection: MultiplexedConnection,
    sha: String,
    limits: Vec<OneLimit>,
    users: Vec<String>,
}

/// What is sent of a limit.
struct OneLimit {
    key: String,
    user_follows: bool,
    /// Made once, which is as fast as it gets.
    terms: [String; 3],
}

impl OneByOne {
    pub(super) async fn connect(scenario: &Scenario, server: &Server) -> anyhow::Result<Self> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings::CONNECT_TIMEOUT))
            .set_response_timeout(Some(settings::RESPONSE_TIMEOUT));
        let mut connection = server.client()?.get_multiplexed_async_connection_with_config(&config).await?;
        let sha = Script::new(include_str!("rival.lua")).prepare_invoke().load_async(&mut connection).await?;
        let limits = std::iter::zip(scenario.key_parts(), scenario.rates()).map(|((key, user_follows), rate)| {
            let period_secs = u64::from(rate.refill_hours) * 3600;
            let tokens_per_second = f64::from(rate.max_tokens) / period_secs as f64;
            let terms = [rate.max_tokens.to_string(), tokens_per_second.to_string(), (2 * period_secs).to_string()];
            OneLimit { key, user_follows, terms }
        });
        Ok(Self { connection, sha, limits: limits.collect(), users: scenario.user_names() })
    }
}

impl Party for OneByOne {
    fn name(&self) -> &'static str {
        "EVALSHA"
    }

    async fn decide(&self, user: usize) -> anyhow::Result<bool> {
        let user = self.users.get(user).context("a user")?;
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha).arg(self.limits.len());
        for limit in &self.limits {
            if limit.user_follows {
                command.arg([limit.key.as_str(), user].concat());
            } else {
                command.arg(&limit.key);
            }
        }
        for term in self.limits.iter().flat_map(|limit| &limit.terms) {
            command.arg(term);
        }
        let (allowed, _denied_by, _wait_ms): (u8, u64, u64) = command.query_async(&mut self.connection.clone()).await?;
        Ok(allowed == 1)
    }
}

/// A governor for each limit, keyed by the user (or by nothing).
pub(super) struct Governor {
    limiters: Vec<(DefaultKeyedRateLimiter<String>, bool)>,
    users: Vec<String>,
    no_user: String,
}

impl Governor {
    pub(super) fn new(scenario: &Scenario) -> anyhow::Result<Self> {
        let hourly = |count: u32| count.try_into().map(Quota::per_hour);
        // As fast as a quota can be: a nanosecond for each call.
        let per_nanosecond = Quota::per_second(1_000_000_000.try_into()?);
        let last = scenario.buckets - 1;
        let limiters = scenario.key_parts().into_iter().enumerate().map(|(index, (_, by_user))| {
            let is_scarce = scenario.outcome == Outcome::Deny && index == last;
            Ok((RateLimiter::keyed(if is_scarce { hourly(1)? } else { per_nanosecond }), by_user))
        });
        Ok(Self { limiters: limiters.collect::<anyhow::Result<_>>()?, users: scenario.user_names(), no_user: String::new() })
    }
}

impl Party for Governor {
    fn name(&self) -> &'static str {
        "governor"
    }

    async fn decide(&self, user: usize) -> anyhow::Result<bool> {
        let Some(user) = self.users.get(user) else { bail!("no such user") };
        Ok(self.limiters.iter().all(|(limiter, by_user)| limiter.check_key(if *by_user { user } else { &self.no_user }).is_ok()))
    }
}
