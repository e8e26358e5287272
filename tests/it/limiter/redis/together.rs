//! Our store and the Go proxies' script on the same keys at the same time: each counts what the other took, and together they never allow
//! more than the bucket. And where the Go side is wrong, what that does to both.

use std::time::{Duration, Instant};

use tollgate::{
    limiter::{Call, Decision, Limiter, Policy, ServerId},
    model::limits::{Limits, ToolLimits},
    stores::{Redis, redis::RedisSettings},
};

use super::places::{Alone, server_id};
use crate::{
    limiter::conformance::{bucket, server},
    support::{
        go_limiter::{GoDecision, GoLimiter},
        redis::{Brand, Server, on_both},
    },
};

on_both! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]:
    each_counts_what_the_other_took,
    together_they_never_allow_more_than_the_bucket,
    go_is_early_where_six_decimals_round_up_and_we_are_not,
    go_s_denials_keep_a_bucket_empty_whose_rate_rounds_to_nothing,
    go_takes_last_refill_back_with_a_clock_and_we_do_not,
    we_mend_what_go_fails_on,
    times_in_exponent_form_are_read_as_go_reads_them,
    a_go_proxy_that_has_not_been_rolled_out_yet_cuts_the_level,
}

/// Both sides in front of one MCP server.
struct Both {
    ours: Limiter<Redis>,
    go: GoLimiter,
    redis: &'static Server,
    server_id: ServerId,
}

impl Both {
    async fn with(brand: Brand, limits: Limits) -> Self {
        let (redis, server_id) = (Alone::server(brand).await, server_id());
        let settings = RedisSettings::parse(&redis.url()).expect("a good URL").remember_denials(false);
        let ours = Limiter::new(Redis::new(&settings).expect("good settings"), Policy::new(&server_id, &limits));
        let go = GoLimiter::new(redis.connect().await, &format!("{}:{}", server_id.namespace, server_id.name), limits);
        Self { ours, go, redis, server_id }
    }

    async fn ours(&self, user: &str) -> Decision {
        self.ours.decide(&Call::of("t").by(user)).await.expect("the store answers")
    }

    async fn go(&self, user: &str) -> GoDecision {
        self.go.decide("t", Some(user)).await.expect("Redis answers")
    }

    /// Writes a bucket that was last refilled so long ago, or ahead.
    async fn write(&self, tokens: &str, refilled_secs: i64) {
        let (s, us): (i64, i64) = self.redis.ask("TIME").await;
        let last_refill = (s + refilled_secs) * 1_000_000 + us;
        self.redis.ask::<()>(&format!("HSET {} tokens {tokens} last_refill {last_refill}", self.key())).await;
    }

    async fn last_refill_is_ahead(&self) -> bool {
        let last_refill: u64 = self.redis.ask(&format!("HGET {} last_refill", self.key())).await;
        let (s, _): (u64, u64) = self.redis.ask("TIME").await;
        last_refill > (s + 1) * 1_000_000
    }

    fn key(&self) -> String {
        self.server_id.global_key()
    }
}

fn wait(decision: &Decision) -> Option<Duration> {
    match decision {
        Decision::Denied(denial) => denial.retry_after(),
        Decision::Allowed { .. } => None,
    }
}

async fn each_counts_what_the_other_took(brand: Brand) {
    let per_tool = ToolLimits { global: bucket(8, "1h"), per_user: bucket(3, "1h") };
    let limits = Limits { tools: [("t".to_owned(), per_tool)].into(), ..server(bucket(9, "1h"), bucket(4, "1h")) };
    let both = Both::with(brand, limits).await;
    for user in ["alice", "bob:x"] {
        assert!(both.ours(user).await.is_allowed());
        assert_eq!(both.go(user).await, GoDecision::Allowed);
        assert!(both.ours(user).await.is_allowed());
        let denied = both.ours(user).await;
        assert!(matches!(&denied, Decision::Denied(denial) if denial.limit.to_string() == "tools[t].perUser"), "{denied:?}");
        assert!(matches!(both.go(user).await, GoDecision::Denied { by, .. } if by == both.server_id.user_tool_prefix("t") + user));
    }
    assert_eq!((both.go("carol").await, both.go("carol").await), (GoDecision::Allowed, GoDecision::Allowed));
    let denied = both.ours("carol").await;
    assert!(matches!(&denied, Decision::Denied(denial) if denial.limit.to_string() == "tools[t].global"), "{denied:?}");
}

/// A rate that six decimals can say, so that what the bucket allows is known exactly.
async fn together_they_never_allow_more_than_the_bucket(brand: Brand) {
    let (burst, per_s) = (40, 40.0);
    let both = std::sync::Arc::new(Both::with(brand, server(bucket(burst, "1s"), bucket(30, "1s"))).await);
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..12 {
        let both = std::sync::Arc::clone(&both);
        callers.spawn(async move {
            let (user, mut allowed) = (format!("user-{}", caller % 3), [0, 0]);
            while started.elapsed() < Duration::from_millis(1500) {
                if caller % 2 == 0 {
                    allowed[0] += u32::from(both.ours(&user).await.is_allowed());
                } else {
                    allowed[1] += u32::from(both.go(&user).await == GoDecision::Allowed);
                }
            }
            allowed
        });
    }
    let [ours, go] = callers.join_all().await.into_iter().fold([0, 0], |[a, b], [x, y]| [a + x, b + y]);
    let most = f64::from(burst) + per_s * started.elapsed().as_secs_f64();
    assert!(f64::from(ours + go) <= most, "{ours} of ours and {go} of Go's, {most} at most");
    assert!(ours > 0 && go > 0 && ours + go >= burst + 20, "{ours} of ours and {go} of Go's");
}

async fn go_is_early_where_six_decimals_round_up_and_we_are_not(brand: Brand) {
    let both = Both::with(brand, server(bucket(1, "168h"), None)).await;
    let six_days = -6 * 24 * 3600;
    both.write("0", six_days).await;
    let day = Duration::from_secs(24 * 3600);
    let reported = wait(&both.ours("a").await).expect("a seventh of the token is missing");
    assert!(reported <= day && reported > day - Duration::from_secs(60), "{reported:?}");
    assert_eq!(both.go("a").await, GoDecision::Allowed, "0.000002 a second instead of 0.00000165");
}

async fn go_s_denials_keep_a_bucket_empty_whose_rate_rounds_to_nothing(brand: Brand) {
    let both = Both::with(brand, server(bucket(1, "1000h"), None)).await;
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    both.write("0", -900 * 3600).await;
    let before = wait(&both.ours("a").await).expect("a tenth is missing");
    assert!(before <= hours(100), "{before:?}");
    assert!(matches!(both.go("a").await, GoDecision::Denied { retry_after, .. } if retry_after == hours(1000)));
    let after = wait(&both.ours("a").await).expect("all of it is missing");
    assert!(after > hours(999), "the 900 hours are lost to both: {after:?}");
}

async fn go_takes_last_refill_back_with_a_clock_and_we_do_not(brand: Brand) {
    let both = Both::with(brand, server(bucket(10, "1h"), None)).await;
    both.write("5", 600).await;
    assert!(both.ours("a").await.is_allowed());
    assert!(both.last_refill_is_ahead().await, "the ten minutes are not credited again");
    assert_eq!(both.go("a").await, GoDecision::Allowed);
    assert!(!both.last_refill_is_ahead().await);
}

async fn we_mend_what_go_fails_on(brand: Brand) {
    let both = Both::with(brand, server(bucket(2, "1s"), None)).await;
    both.redis.ask::<()>(&format!("HSET {} tokens 2 last_refill soon other kept", both.key())).await;
    let error = both.go.decide("t", None).await.expect_err("soon is not a time").to_string();
    assert!(error.contains("attempt to perform arithmetic on a nil value"), "{error}");
    assert!(both.ours("a").await.is_allowed());
    assert_eq!(both.go("a").await, GoDecision::Allowed);
    assert_eq!(both.redis.ask::<String>(&format!("HGET {} other", both.key())).await, "kept");
}

async fn times_in_exponent_form_are_read_as_go_reads_them(brand: Brand) {
    let both = Both::with(brand, server(bucket(2, "1h"), None)).await;
    both.redis.ask::<()>(&format!("HSET {} tokens 0 last_refill 1.5e+15", both.key())).await;
    assert!(both.ours("a").await.is_allowed());
    assert_eq!(both.go("a").await, GoDecision::Allowed);
}

/// One token, or two, that a Go proxy with other limits sees: the smaller capacity cuts for both.
async fn a_go_proxy_that_has_not_been_rolled_out_yet_cuts_the_level(brand: Brand) {
    let both = Both::with(brand, server(bucket(10, "1h"), None)).await;
    let connection = both.redis.connect().await;
    let name = format!("{}:{}", both.server_id.namespace, both.server_id.name);
    let old = GoLimiter::new(connection, &name, server(bucket(2, "1h"), None));
    assert!(matches!(both.ours("a").await, Decision::Allowed { remaining: Some(9), .. }));
    assert_eq!(old.decide("t", None).await.expect("Redis answers"), GoDecision::Allowed);
    assert!(matches!(both.ours("a").await, Decision::Allowed { remaining: Some(0), .. }));
}
