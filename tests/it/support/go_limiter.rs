//! The other writer: decides as ToolHive's Go proxies do, on the same keys, by the contract that both sides keep.
//!
//! Its faults are part of it, because a store that shares keys with it has to live with them:
//!
//! - the rate travels as tokens a second with six decimals, so slow rates are off, and below 0.0000005 nothing is ever refilled;
//! - every bucket is written at every call, also at a denial, and `last_refill` follows a clock that steps back;
//! - the wait is one token's, of the first bucket that denies, whatever its level and whatever the others say;
//! - tokens with a `last_refill` that is missing or no number are an error, and so is a key of another type;
//! - the parts of a key are not escaped.

use std::time::Duration;

use redis::{RedisResult, aio::MultiplexedConnection};
use tollgate::model::{bucket::Bucket, limits::Limits};

const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels, denied = {}, 0
for i, key in ipairs(KEYS) do
  local capacity, tokens_per_s = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local stored = redis.call('HMGET', key, 'tokens', 'last_refill')
  local level = tonumber(stored[1])
  if level then
    local elapsed_s = math.max(0, now - tonumber(stored[2])) / 1000000
    level = math.min(capacity, level + elapsed_s * tokens_per_s)
  else
    level = capacity
  end
  levels[i] = level
  if denied == 0 and level < 1 then denied = i end
end
for i, key in ipairs(KEYS) do
  local left = levels[i]
  if denied == 0 then left = left - 1 end
  redis.call('HSET', key, 'tokens', left, 'last_refill', now)
  redis.call('EXPIRE', key, ARGV[3 * i])
end
return denied
";

/// The limits of one server, as a Go proxy has them.
pub struct GoLimiter {
    connection: MultiplexedConnection,
    namespace_and_name: String,
    limits: Limits,
}

/// What a Go proxy makes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum GoDecision {
    Allowed,
    Denied {
        /// The key of the first bucket without a token.
        by: String,
        retry_after: Duration,
    },
}

impl GoLimiter {
    /// A proxy in front of the server `namespace:name`.
    pub fn new(connection: MultiplexedConnection, namespace_and_name: &str, limits: Limits) -> Self {
        Self { connection, namespace_and_name: namespace_and_name.to_owned(), limits }
    }

    /// Decides one call. A server that is asked in vain is an error, which a Go proxy takes as leave to go on.
    pub async fn decide(&self, tool: &str, user: Option<&str>) -> RedisResult<GoDecision> {
        let buckets = self.buckets(tool, user);
        if buckets.is_empty() {
            return Ok(GoDecision::Allowed);
        }
        let mut eval = redis::cmd("EVAL");
        eval.arg(SCRIPT).arg(buckets.len()).arg(buckets.iter().map(|(key, _)| key).collect::<Vec<_>>());
        for (_, bucket) in &buckets {
            eval.arg(bucket.max_tokens.get()).arg(rate_text(bucket)).arg(ttl_secs(bucket));
        }
        let denied: usize = eval.query_async(&mut self.connection.clone()).await?;
        Ok(denied.checked_sub(1).map_or(GoDecision::Allowed, |by| {
            let (key, bucket) = &buckets[by];
            GoDecision::Denied { by: key.clone(), retry_after: Duration::from_secs_f64(1.0 / tokens_per_s(bucket)) }
        }))
    }

    /// Those that count the call, in the order in which they are asked.
    fn buckets(&self, tool: &str, user: Option<&str>) -> Vec<(String, Bucket)> {
        let prefix = format!("thv:rl:{{{}}}", self.namespace_and_name);
        let of_tool = self.limits.tools.get(tool);
        let user = user.filter(|user| !user.is_empty());
        let buckets = [
            self.limits.global.map(|bucket| (format!("{prefix}:shared"), bucket)),
            of_tool.and_then(|of_tool| Some((format!("{prefix}:shared:tool:{tool}"), of_tool.global?))),
            user.and_then(|user| Some((format!("{prefix}:user:{user}"), self.limits.per_user?))),
            user.and_then(|user| Some((format!("{prefix}:user-tool:{tool}:{user}"), of_tool?.per_user?))),
        ];
        buckets.into_iter().flatten().collect()
    }
}

fn tokens_per_s(bucket: &Bucket) -> f64 {
    f64::from(bucket.max_tokens.get()) / (bucket.refill_period.as_nanos() as f64 / 1e9)
}

fn rate_text(bucket: &Bucket) -> String {
    format!("{:.6}", tokens_per_s(bucket))
}

fn ttl_secs(bucket: &Bucket) -> u64 {
    bucket.refill_period.as_nanos().saturating_mul(2).div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::support::redis::Server;

    fn bucket(max_tokens: u32, refill_period: &str) -> Option<Bucket> {
        let max_tokens = std::num::NonZeroU32::new(max_tokens).expect("a bucket holds something");
        Some(Bucket { max_tokens, refill_period: refill_period.parse().expect("a Go duration") })
    }

    async fn limiter(server: &Server, global: Option<Bucket>, per_user: Option<Bucket>) -> GoLimiter {
        GoLimiter::new(server.connect().await, "ns:mcp", Limits { global, per_user, ..Limits::default() })
    }

    fn denied(by: &str, secs: u64) -> GoDecision {
        GoDecision::Denied { by: format!("thv:rl:{{ns:mcp}}:{by}"), retry_after: Duration::from_secs(secs) }
    }

    async fn fields(server: &Server, key: &str) -> (f64, u64) {
        let fields: HashMap<String, String> = server.ask(&format!("HGETALL {key}")).await;
        (fields["tokens"].parse().expect("a number"), fields["last_refill"].parse().expect("a number"))
    }

    const SHARED: &str = "thv:rl:{ns:mcp}:shared";
    const ALICE: &str = "thv:rl:{ns:mcp}:user:alice";

    #[tokio::test]
    async fn it_takes_from_all_or_none_and_writes_at_any_rate() {
        let server = Server::start().await;
        let go = limiter(&server, bucket(3, "1h"), bucket(2, "2h")).await;
        for _ in 0..2 {
            assert_eq!(go.decide("t", Some("alice")).await.expect("an answer"), GoDecision::Allowed);
        }
        let (_, before) = fields(&server, SHARED).await;
        server.ask::<()>(&format!("EXPIRE {SHARED} 10")).await;
        assert_eq!(go.decide("t", Some("alice")).await.expect("an answer"), denied("user:alice", 3600));
        let (tokens, after) = fields(&server, SHARED).await;
        assert!((1.0..1.01).contains(&tokens) && after > before, "{tokens} at {after}, {before} before");
        assert!((7190..=7200).contains(&server.ask::<i64>(&format!("TTL {SHARED}")).await));
        assert_eq!(go.decide("t", None).await.expect("an answer"), GoDecision::Allowed);
        assert_eq!(go.decide("t", Some("alice")).await.expect("an answer"), denied("shared", 1200), "the first, not the longest");
    }

    #[tokio::test]
    async fn a_rate_below_six_decimals_never_refills() {
        let server = Server::start().await;
        let long_ago = "HSET thv:rl:{ns:mcp}:shared tokens 0 last_refill 1";
        for (period, rate, decision) in [("168h", "0.000002", GoDecision::Allowed), ("1000h", "0.000000", denied("shared", 3_600_000))] {
            assert_eq!(rate_text(&bucket(1, period).expect("a bucket")), rate);
            server.ask::<()>(long_ago).await;
            assert_eq!(limiter(&server, bucket(1, period), None).await.decide("t", None).await.expect("an answer"), decision);
        }
    }

    #[tokio::test]
    async fn a_clock_that_steps_back_takes_last_refill_along() {
        let server = Server::start().await;
        let ahead = 3_000_000_000_000_000_u64;
        server.ask::<()>(&format!("HSET {SHARED} tokens 1 last_refill {ahead}")).await;
        let go = limiter(&server, bucket(2, "1h"), None).await;
        assert_eq!(go.decide("t", None).await.expect("an answer"), GoDecision::Allowed);
        let (tokens, last_refill) = fields(&server, SHARED).await;
        assert!(tokens == 0.0 && last_refill < ahead, "{tokens} at {last_refill}");
    }

    #[tokio::test]
    async fn fields_that_make_no_sense_are_errors_but_for_missing_tokens() {
        let server = Server::start().await;
        let go = limiter(&server, None, bucket(2, "1h")).await;
        for (command, why) in [("HSET", "attempt to perform arithmetic"), ("SET", "WRONGTYPE")] {
            server.ask::<()>(&format!("DEL {ALICE}")).await;
            server.ask::<()>(&format!("{command} {ALICE} tokens{}", if command == "HSET" { " 1" } else { "" })).await;
            let error = go.decide("t", Some("alice")).await.expect_err(command).to_string();
            assert!(error.contains(why), "{command}: {error}");
        }
        server.ask::<()>(&format!("DEL {ALICE}")).await;
        server.ask::<()>(&format!("HSET {ALICE} last_refill 5 other field")).await;
        assert_eq!(go.decide("t", Some("alice")).await.expect("an answer"), GoDecision::Allowed);
        assert_eq!(fields(&server, ALICE).await.0, 1.0);
        assert_eq!(server.ask::<String>(&format!("HGET {ALICE} other")).await, "field");
    }

    #[tokio::test]
    async fn keys_are_those_of_the_contract_and_ambiguous() {
        let server = Server::start().await;
        let of_tool = tollgate::model::limits::ToolLimits { global: None, per_user: bucket(1, "1h") };
        let tools = ["a", "a:b"].map(|tool| (tool.to_owned(), of_tool)).into();
        let go = GoLimiter::new(server.connect().await, "ns:mcp", Limits { tools, ..Limits::default() });
        assert_eq!(go.decide("a", Some("b:c")).await.expect("an answer"), GoDecision::Allowed);
        assert_eq!(go.decide("a:b", Some("c")).await.expect("an answer"), denied("user-tool:a:b:c", 3600));
    }
}
