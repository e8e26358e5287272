//! Prometheus metrics of the limiter: ToolHive's metrics with the same names and labels, so that its dashboards keep working, and more.
//!
//! # ToolHive's metrics
//!
//! All have `namespace` and `server`. Other processes may export them too; sum over them.
//!
//! | metric | labels | counts |
//! |---|---|---|
//! | `toolhive_rate_limit_decisions_total` | `decision`: `allowed`, `rejected`; `scope`: `shared`, `per_user`; `operation_type`: `server`, `tool`; `source` | **buckets**, not calls: each bucket of an allowed call, the one that denied of a rejected call |
//! | `toolhive_rate_limit_redis_errors_total` | `error_type`: `timeout`, `connection`, `auth`, `other` | calls that the store failed, as reported by its guard; none while the guard does not ask |
//! | `toolhive_rate_limit_fail_open_total` | | calls allowed because the store is unavailable |
//! | `toolhive_rate_limit_check_latency_seconds` | | time that a call waited for its decision, including failed ones; without those that `cache` decided |
//!
//! `source` is specific to tollgate: `store` (asked for this call), `cache` (a denial that was certain from an earlier response), `local`
//! (buckets in this process, while the store is unavailable), `fail_open` (no one: ToolHive does not count these), and `shadow` for buckets
//! that are not enforced, whose `rejected` are calls that were allowed all the same.
//!
//! # tollgate's metrics
//!
//! | metric | labels | |
//! |---|---|---|
//! | `tollgate_rate_limit_calls_total` | `namespace`, `server`, `decision`, `source` | calls decided; a batch counts as one. Calls that no limit counts are not included |
//! | `tollgate_rate_limit_allowed_total` | `namespace`, `server`, `limit`, `source` | calls that a limit counted and allowed; not those of `fail_open`, which no limit counts |
//! | `tollgate_rate_limit_denials_total` | `namespace`, `server`, `limit`, `source` | which limit rejected, as a path in the manifest: `tools[search].perUser`; in shadow, would have |
//! | `tollgate_rate_limit_undecided_total` | `namespace`, `server`, `error_type`: ToolHive's, and `bucket` | calls without a decision: the store failed and calls are rejected then, or a key does not hold a bucket |
//! | `tollgate_rate_limit_users_skipped_total` | `namespace`, `server` | calls without a verified user, to which per-user limits did not apply |
//! | `tollgate_rate_limit_batch_size` | | histogram: calls decided by one script in Redis |
//! | `tollgate_rate_limit_script_latency_seconds` | | histogram: from sending a script to its response |
//! | `tollgate_rate_limit_store_up` | | 1, or 0 while calls are decided without the store |
//!
//! The share of calls that are denied is `tollgate_rate_limit_calls_total{decision="rejected"}` over all of them; it cannot be derived from
//! ToolHive's counter. The share that a shadow limit would deny is its `tollgate_rate_limit_denials_total{source="shadow"}` over the same.
//!
//! [`Observer::retain`] removes the series of servers that are not decided for any more.
//!
//! Label values are keywords, servers, and limits as named in manifests. No label contains a user, a key, or a tool without a limit.
//!
//! # An example
//!
//! ```
//! use std::sync::Arc;
//! use tollgate::model::{bucket::Bucket, limits::Limits};
//! use tollgate::limiter::{Call, Limiter, Policy, ServerId};
//! use tollgate::metrics::{Metrics, Registry, encode};
//! use tollgate::stores::{Memory, Observed};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Limits::new().global(Bucket::per_hour(1));
//! let mut registry = Registry::default();
//! let store = Observed::new(Memory::default(), Arc::new(Metrics::register(&mut registry)));
//! let limiter = Limiter::new(store, Policy::new(&ServerId::new("default", "search"), &limits));
//! for _ in 0..3 {
//!     limiter.decide(&Call::of("web_search")).await?;
//! }
//! let mut text = String::new();
//! encode(&mut text, &registry)?;
//! let rejected = r#"denials_total{namespace="default",server="search",limit="global",source="store"} 2"#;
//! assert!(text.contains(rejected), "{text}");
//! # Ok(())
//! # }
//! ```

mod families;
mod grown;
mod labels;
pub(crate) mod per_server;
mod server;

use std::time::{Duration, Instant};

pub use prometheus_client::{encoding::text::encode, registry::Registry};

use self::{families::Families, grown::Grown, server::Server};
use crate::{
    inspect::report::{LimitTotals, Totals},
    limiter::{DecidedBy, Observer, Plan, Policy, ServerId, StoreAnswer, StoreError},
};

/// Counts observed events. One for all servers of a process: pass the same one to [`Observed`](crate::stores::Observed), to the guard and
/// to the store in Redis.
#[derive(Debug)]
pub struct Metrics {
    began: Instant,
    families: Families,
    servers: Grown<ServerId, Server>,
}

impl Metrics {
    /// Registers the metrics; the registry should not have a prefix of its own.
    pub fn register(registry: &mut Registry) -> Self {
        Self { began: Instant::now(), families: Families::register(registry), servers: Grown::default() }
    }

    /// The outcome of the calls that one server's limits counted, with all limits of its policy.
    pub fn totals(&self, policy: &Policy) -> Totals {
        let server = self.servers.get(policy.server_id());
        let limits = policy.limits().into_iter().map(|limit| {
            let (allowed, denied) = server.as_ref().map_or((0, 0), |server| server.outcomes(&limit));
            LimitTotals { allowed, denied, limit: limit.to_string() }
        });
        let limits = limits.collect();
        let totals = server.map(|server| server.totals(&self.families)).unwrap_or_default();
        Totals { up_seconds: self.began.elapsed().as_secs_f64(), limits, ..totals }
    }

    fn of(&self, server: &ServerId, count: impl FnOnce(&Server)) {
        self.servers.count(server, || Server::new(server, &self.families), count);
    }
}

impl Observer for Metrics {
    fn decided(&self, plan: &Plan<'_>, answer: &StoreAnswer, took: Duration) {
        self.of(plan.server(), |server| {
            server.decided(plan, answer, &self.families);
            if answer.source != DecidedBy::Cache {
                server.check_latency.observe(took.as_secs_f64());
            }
            if plan.skips_users() {
                server.users_skipped.inc();
            }
        });
    }

    fn undecided(&self, plan: &Plan<'_>, error: &StoreError, took: Duration) {
        self.of(plan.server(), |server| {
            server.undecided(error.cause(), &self.families);
            server.check_latency.observe(took.as_secs_f64());
        });
    }

    fn uncounted(&self, plan: &Plan<'_>) {
        if plan.skips_users() {
            self.of(plan.server(), |server| {
                server.users_skipped.inc();
            });
        }
    }

    fn failed(&self, plan: &Plan<'_>, error: &StoreError) {
        self.of(plan.server(), |server| server.failed(error.cause(), &self.families));
    }

    fn batch(&self, calls: usize, took: Duration) {
        self.families.batch_size.observe(calls as f64);
        self.families.script_latency.observe(took.as_secs_f64());
    }

    fn retain(&self, is_served: &dyn Fn(&ServerId) -> bool) {
        self.servers.retain(is_served);
        self.families.retain(is_served);
    }

    fn store_is(&self, answering: bool) {
        self.families.store_up.set(i64::from(answering));
    }
}
