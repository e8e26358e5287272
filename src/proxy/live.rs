//! The buckets of a running proxy as they stand: `GET /buckets` on the operations listener, which `tollgate top` shows.
//!
//! ```json
//! {
//!   "server": {"namespace": "default", "name": "search"},
//!   "store": "redis",
//!   "shadow": false,
//!   "ageSeconds": 0.412,
//!   "buckets": [{"limit": "perUser", "user": "hmac:6a8851c590dd", "tokens": 0.5, "maxTokens": 10, "waitSeconds": 3.0,
//!                "fullInSeconds": 57.0, "ttlSeconds": 93.0}],
//!   "strangers": [],
//!   "complete": true,
//!   "totals": {"upSeconds": 3600.5, "allowed": 120, "denied": 7, "undecided": 0, "failOpen": 0,
//!              "limits": [{"limit": "perUser", "allowed": 120, "denied": 7}]}
//! }
//! ```
//!
//! Buckets are told as `tollgate limits ls --output json` tells them, but for users: that listener has no sign-in, so they are
//! [digests](crate::inspect::digest), with a key that all proxies on one Redis share; in memory, each process has its own. At most a thousand are told, found among 200,000 keys of a Redis, those that all callers share first;
//! `complete` says whether they are all.
//!
//! Looking takes nothing, and however many look, the store is asked by one of them, about once a second; less often where a look takes
//! long, so that looks take no more than a tenth of the time. When the store does not tell within two seconds, or not at all, the answer is
//! 503 and the same object without buckets, with an `error`; the totals are this proxy's own and there all the same. The user of an ACL
//! that only decides cannot look: it needs `+scan +pttl` as well, and `~tollgate:* +get +set` to share the key of the digests; without
//! those, each proxy has its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::timeout};

use super::{Gateway, digests::Digests};
use crate::{
    inspect::{
        Bounds, DigestKey, InspectError,
        report::{BucketsReport, Users},
    },
    limiter::{Cause, ServerId},
};

/// How far a look goes. Redis is at it for 60 ms at most.
const BOUNDS: Bounds = Bounds { most_keys: 1000, most_pages: 200 };
/// Until the store has told.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// For how long a look is good. A little less than the second at which viewers come back.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// A look that took long is good for so many times as long.
const REST: u32 = 9;

/// A proxy's buckets, and what became of calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Whose limits they are.
    pub server: ServerId,
    /// Where the buckets are that decide: `memory`, `redis`, or `local` while Redis is away and buckets in this process stand in.
    pub store: String,
    /// Whether limits only tell what they would have denied.
    pub shadow: bool,
    /// Since the buckets were looked at, in seconds.
    pub age_seconds: f64,
    /// Why no buckets are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The buckets that are not full.
    #[serde(flatten)]
    pub told: BucketsReport,
    /// What became of calls; `None` where nobody counts them, as in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

/// What became of the calls of one proxy since it began. A batch is one call; calls that no limit counts are not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Since it began, in seconds.
    pub up_seconds: f64,
    /// Calls allowed.
    pub allowed: u64,
    /// Calls denied.
    pub denied: u64,
    /// Calls refused without a decision, because the store did not make one.
    pub undecided: u64,
    /// Of those allowed, the ones that nothing counted, because the store did not answer.
    pub fail_open: u64,
    /// By limit, all that there are.
    pub limits: Vec<LimitTotals>,
}

/// What one limit did with the calls that it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitTotals {
    /// As a path in a manifest: `tools[search].perUser`.
    pub limit: String,
    /// Calls that drew on it.
    pub allowed: u64,
    /// Calls that it denied; in shadow, that it would have denied.
    pub denied: u64,
}

/// The last look, and how users are named.
#[derive(Debug)]
pub(super) struct Lookout {
    last: Arc<Mutex<Option<Look>>>,
    digests: Digests,
}

#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    fresh_for: Duration,
    store: &'static str,
    found: Result<BucketsReport, Cause>,
}

/// Answers `GET /buckets`.
pub(super) async fn buckets(gateway: Arc<Gateway>) -> Response {
    let look = gateway.look().await;
    let policy = gateway.limiter.policy();
    let (error, told) = match look.found {
        Ok(told) => (None, told),
        Err(cause) => (Some(why(cause).to_owned()), BucketsReport::default()),
    };
    let status = if error.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let live = Live {
        server: policy.server_id().clone(),
        store: look.store.to_owned(),
        shadow: gateway.shadow,
        age_seconds: look.at.elapsed().as_secs_f64(),
        error,
        told,
        totals: Some(gateway.tally.totals(&policy)),
    };
    match serde_json::to_string(&live) {
        Ok(text) => {
            (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], text + "\n").into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Gateway {
    /// The last look while it is fresh, else a new one.
    async fn look(self: &Arc<Self>) -> Look {
        let mut last = Arc::clone(&self.lookout.last).lock_owned().await;
        if let Some(look) = last.as_ref().filter(|look| look.at.elapsed() < look.fresh_for) {
            return look.clone();
        }
        let gateway = Arc::clone(self);
        // A viewer who leaves does not end the look, so that coming again and again asks the store no more often.
        let looking = tokio::spawn(async move { last.insert(gateway.look_anew().await).clone() });
        looking.await.unwrap_or_else(|_| Look::of(Instant::now(), self.limiter.store().store().name(), Err(Cause::Other)))
    }

    async fn look_anew(&self) -> Look {
        let (began, store) = (Instant::now(), self.limiter.store().store().name());
        let found = match timeout(LOOK_WITHIN, self.find()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the buckets cannot be told");
                Err(error.cause())
            }
            Err(_) => Err(Cause::Timeout),
        };
        Look::of(began, store, found)
    }
}

impl Gateway {
    async fn find(&self) -> Result<BucketsReport, InspectError> {
        let found = self.limiter.list(BOUNDS).await?;
        let server = self.limiter.policy().server_id().clone();
        let key = self.lookout.digests.key(self.limiter.store().store(), &server).await?;
        Ok(BucketsReport::of(&found, Users::Digested(key)))
    }
}

impl Lookout {
    /// With a key for digests that is used where none is shared.
    pub(super) fn new(own: DigestKey) -> Self {
        Self { last: Arc::default(), digests: Digests::new(own) }
    }
}

impl Look {
    fn of(began: Instant, store: &'static str, found: Result<BucketsReport, Cause>) -> Self {
        let at = Instant::now();
        let rest = (at - began) * if found.is_ok() { REST } else { 1 };
        Self { at, fresh_for: FRESH_FOR.max(rest), store, found }
    }
}

/// For anybody: no address, and nothing of what Redis said.
fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Timeout => "the store did not tell in time",
        Cause::Connection => "the store cannot be reached",
        Cause::Auth => "the store does not let this proxy look: its user needs +scan and +pttl",
        _ => "the store cannot be inspected",
    }
}
