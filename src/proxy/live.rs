//! The current buckets of a running proxy: `GET /buckets` on the operations listener, which `tollgate top` shows.
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
//! The format is that of `tollgate limits ls --output json`, except for users: the listener has no authentication, so they are
//! [digests](crate::inspect::digest), with a key that all proxies on one Redis share; in memory, each process has its own. At most a
//! thousand buckets are returned, found among 200,000 keys of a Redis, those shared by all callers first; `complete` says whether that is
//! all.
//!
//! Requests are read-only: no tokens are consumed. However many clients poll, the store is queried about once a second; less often if a
//! query is slow, so that queries take no more than a tenth of the time. If the store does not respond within two seconds, or fails, the
//! response is 503 and the same object without buckets, with an `error`; the totals are this proxy's own and still included. An ACL user
//! that only decides cannot list: it also needs `+scan +pttl`, and `~tollgate:* +get +set` to share the key of the digests; without those,
//! each proxy has its own.

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
        report::{BucketsReport, Totals, Users},
    },
    limiter::{Cause, ServerId},
};

/// The bounds of a look, which keeps Redis busy for 60 ms at most.
const BOUNDS: Bounds = Bounds { most_keys: 1000, most_pages: 200 };
/// The timeout of a look.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// How long a look stays fresh. A little less than the second at which clients poll.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// A slow look stays fresh for this many times its duration.
const REST: u32 = 9;

/// A proxy's buckets, and the outcome of calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Whose limits they are.
    pub server: ServerId,
    /// Where the buckets are that decide: `memory`, `redis`, or `local` while Redis is unavailable and buckets in this process replace it.
    pub store: String,
    /// Whether limits only report what they would have denied.
    pub shadow: bool,
    /// The age of the buckets, in seconds.
    pub age_seconds: f64,
    /// Why the buckets could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The buckets that are not full.
    #[serde(flatten)]
    pub report: BucketsReport,
    /// The outcome of calls; `None` if it is not counted, as in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
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

/// Handles `GET /buckets`.
pub(super) async fn buckets(gateway: Arc<Gateway>) -> Response {
    let look = gateway.look().await;
    let policy = gateway.gate.limiter().policy();
    let (error, report) = match look.found {
        Ok(report) => (None, report),
        Err(cause) => (Some(why(cause).to_owned()), BucketsReport::default()),
    };
    let status = if error.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let live = Live {
        server: policy.server_id().clone(),
        store: look.store.to_owned(),
        shadow: gateway.gate.settings().shadow,
        age_seconds: look.at.elapsed().as_secs_f64(),
        error,
        report,
        totals: Some(gateway.decisions.totals(&policy)),
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
        // A client that disconnects does not cancel the look, so that repeated requests do not query the store more often.
        let looking = tokio::spawn(async move { last.insert(gateway.look_anew().await).clone() });
        looking.await.unwrap_or_else(|_| Look::of(Instant::now(), self.gate.buckets().name(), Err(Cause::Other)))
    }

    async fn look_anew(&self) -> Look {
        let (began, store) = (Instant::now(), self.gate.buckets().name());
        let found = match timeout(LOOK_WITHIN, self.find()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the buckets cannot be listed");
                Err(error.cause())
            }
            Err(_) => Err(Cause::Timeout),
        };
        Look::of(began, store, found)
    }
}

impl Gateway {
    async fn find(&self) -> Result<BucketsReport, InspectError> {
        let found = self.gate.limiter().list(BOUNDS).await?;
        let server = self.gate.limiter().policy().server_id().clone();
        let key = self.lookout.digests.key(self.gate.buckets(), &server).await?;
        Ok(BucketsReport::of(&found, Users::Digested(key)))
    }
}

impl Lookout {
    /// With a key for digests, used if none is shared.
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

/// Safe to show to anyone: no address, and nothing from Redis' reply.
fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Timeout => "the store did not respond in time",
        Cause::Connection => "the store cannot be reached",
        Cause::Auth => "the store does not permit listing: the Redis user needs +scan and +pttl",
        _ => "the store cannot be inspected",
    }
}
