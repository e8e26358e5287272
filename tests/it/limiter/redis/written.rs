//! What is asked of Redis and what is written to it: each bucket once, nothing on denials, `EXPIRE` once a period; and what is done about
//! keys that hold no bucket.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use tollgate::{
    limiter::{Call, Cause, DecidedBy, Decision, Limiter, Policy, ServerId, StoreError},
    model::limits::{Limits, ToolLimits},
    stores::{Redis, redis::RedisSettings},
};

use crate::{
    limiter::conformance::{bucket, server},
    support::redis::{Brand, Server, on_both},
};

on_both! {
    #[tokio::test]:
    a_call_reads_and_writes_each_bucket_once_and_a_denial_writes_nothing,
    certain_denials_ask_nothing,
    calls_that_wait_go_out_together,
    expire_is_sent_once_a_period_and_keys_outlive_their_refill,
    a_key_that_holds_something_else_fails_its_own_calls_and_is_left_alone,
    one_bad_key_does_not_fail_those_who_share_its_script,
    fields_that_make_no_sense_are_empty_as_of_now_and_put_right,
    a_right_that_is_missing_says_whether_tokens_may_be_gone,
}

/// A limiter over a Redis of its own, so that its commands can be counted.
struct Counted {
    limiter: Limiter<Redis>,
    redis: Server,
}

const ALICE: &str = "thv:rl:{ns:mcp}:user:alice";
const SHARED: &str = "thv:rl:{ns:mcp}:shared";

impl Counted {
    async fn with(brand: Brand, limits: Limits, remember_denials: bool) -> Self {
        let redis = brand.start().await;
        let settings = RedisSettings::parse(&redis.url()).expect("a good URL").remember_denials(remember_denials);
        let limiter = Limiter::new(Redis::new(&settings).expect("good settings"), Policy::new(&ServerId::new("ns", "mcp"), &limits));
        Self { limiter, redis }
    }

    async fn decide(&self, user: &str) -> Decision {
        self.try_decide(user).await.expect("the store answers")
    }

    async fn try_decide(&self, user: &str) -> Result<Decision, StoreError> {
        self.limiter.decide(&Call::of("t").by(user)).await
    }

    /// The commands that Redis ran since it was last asked so.
    async fn commands(&self) -> BTreeMap<String, u32> {
        let info: String = self.redis.ask("INFO commandstats").await;
        self.redis.ask::<()>("CONFIG RESETSTAT").await;
        let reported = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
        let counts = reported
            .map(|(command, rest)| (command.to_owned(), rest.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number")));
        counts.filter(|(command, _)| ["evalsha", "eval", "time", "hmget", "hset", "expire"].contains(&command.as_str())).collect()
    }
}

fn counts(expected: &[(&str, u32)]) -> BTreeMap<String, u32> {
    expected.iter().map(|(command, calls)| ((*command).to_owned(), *calls)).collect()
}

fn four_buckets() -> Limits {
    let of_tool = ToolLimits { global: bucket(900, "1h"), per_user: bucket(3, "1h") };
    Limits { tools: [("t".to_owned(), of_tool)].into(), ..server(bucket(1000, "1h"), bucket(500, "1h")) }
}

async fn a_call_reads_and_writes_each_bucket_once_and_a_denial_writes_nothing(brand: Brand) {
    let counted = Counted::with(brand, four_buckets(), false).await;
    counted.decide("alice").await;
    // The first script is sent whole, and every key is new.
    assert_eq!(counted.commands().await, counts(&[("evalsha", 1), ("eval", 1), ("time", 1), ("hmget", 4), ("hset", 4), ("expire", 4)]));
    counted.decide("alice").await;
    counted.decide("alice").await;
    assert_eq!(counted.commands().await, counts(&[("evalsha", 2), ("time", 2), ("hmget", 8), ("hset", 8)]));
    for _ in 0..5 {
        assert!(!counted.decide("alice").await.is_allowed());
    }
    assert_eq!(counted.commands().await, counts(&[("evalsha", 5), ("time", 5), ("hmget", 20)]));
}

async fn certain_denials_ask_nothing(brand: Brand) {
    let counted = Counted::with(brand, four_buckets(), true).await;
    for _ in 0..3 {
        assert!(counted.decide("alice").await.is_allowed());
    }
    assert!(matches!(counted.decide("alice").await, Decision::Denied(denial) if denial.source == DecidedBy::Store));
    counted.commands().await;
    for _ in 0..100 {
        let Decision::Denied(denial) = counted.decide("alice").await else { panic!("nothing is left") };
        let reported = denial.retry_after().expect("waiting helps");
        assert!(
            denial.source == DecidedBy::Cache && reported <= Duration::from_secs(1200) && reported > Duration::from_secs(1190),
            "{denial:?}"
        );
    }
    assert_eq!(counted.commands().await, counts(&[]));
    assert!(counted.decide("bob").await.is_allowed());
}

async fn calls_that_wait_go_out_together(brand: Brand) {
    let counted = Counted::with(brand, server(bucket(1000, "1h"), bucket(5, "1h")), false).await;
    counted.decide("alice").await;
    counted.commands().await;
    let users: Vec<String> = (0..200).map(|call| format!("user-{}", call % 20)).collect();
    let decisions = join_all(users.iter().map(|user| counted.decide(user))).await;
    assert_eq!(decisions.iter().filter(|decision| decision.is_allowed()).count(), 100, "20 users of five each");
    let commands = counted.commands().await;
    let scripts = commands["evalsha"];
    // The first goes alone, and all others while they wait for it, as far as the runtime lets them.
    assert!((2..=5).contains(&scripts), "{commands:?}");
    assert!(commands["hmget"] <= 2 + (scripts - 1) * 21, "each bucket once a script: {commands:?}");
    assert!(commands["hset"] <= commands["hmget"] && commands["expire"] <= 21, "{commands:?}");
}

async fn expire_is_sent_once_a_period_and_keys_outlive_their_refill(brand: Brand) {
    let counted = Counted::with(brand, server(None, bucket(30, "1s")), false).await;
    let started = std::time::Instant::now();
    for _ in 0..50 {
        assert!(counted.decide("alice").await.is_allowed());
        let left_ms: u64 = counted.redis.ask(&format!("PTTL {ALICE}")).await;
        assert!((900..=2000).contains(&left_ms), "{left_ms} ms; it is full after a period at most");
        // Over more than two seconds of Redis's clock, which no test moves.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = started.elapsed().as_secs() as u32 + 2;
    let sent = counted.commands().await["expire"];
    assert!((2..=most).contains(&sent), "{sent} in {:?}", started.elapsed());
}

async fn a_key_that_holds_something_else_fails_its_own_calls_and_is_left_alone(brand: Brand) {
    let counted = Counted::with(brand, server(bucket(3, "1h"), bucket(3, "1h")), true).await;
    counted.redis.ask::<()>(&format!("SET {ALICE} precious")).await;
    let (broken, well) = tokio::join!(counted.try_decide("alice"), counted.decide("bob"));
    let error = broken.expect_err("no bucket");
    assert_eq!((error.cause(), error.may_have_taken()), (Cause::Bucket, false));
    let reported = error.to_string();
    assert!(reported.contains("perUser") && reported.contains("delete that key") && !reported.contains("alice"), "{reported}");
    assert!(matches!(well, Decision::Allowed { remaining: Some(2), .. }), "{well:?}");
    assert!(
        matches!(counted.decide("bob").await, Decision::Allowed { remaining: Some(1), .. }),
        "alice's call took nothing of what all share"
    );
    assert_eq!(counted.redis.ask::<String>(&format!("GET {ALICE}")).await, "precious");
}

async fn one_bad_key_does_not_fail_those_who_share_its_script(brand: Brand) {
    let counted = Counted::with(brand, server(bucket(100, "1h"), bucket(3, "1h")), true).await;
    counted.redis.ask::<()>(&format!("SADD {ALICE} precious")).await;
    let users = ["bob", "alice", "carol", "alice", "dave"];
    let decided = join_all(users.map(|user| counted.try_decide(user))).await;
    let allowed: Vec<bool> = decided.iter().map(|decided| decided.as_ref().is_ok_and(Decision::is_allowed)).collect();
    assert_eq!(allowed, [true, false, true, false, true]);
    let tokens: f64 = counted.redis.ask(&format!("HGET {SHARED} tokens")).await;
    assert!((97.0..97.1).contains(&tokens), "{tokens}");
}

async fn fields_that_make_no_sense_are_empty_as_of_now_and_put_right(brand: Brand) {
    for (fields, allowed) in [
        ("tokens garbage last_refill 1787000000000000", false),
        ("tokens nan last_refill 1787000000000000", false),
        ("tokens -7 last_refill 9000000000000000", false),
        ("tokens 2 last_refill garbage", true),
        ("tokens 2", true),
        ("tokens inf last_refill inf", true),
        ("tokens 0 last_refill 9000000000000000", false),
        ("last_refill 9000000000000000", true),
        ("other field", true),
    ] {
        let counted = Counted::with(brand, server(None, bucket(2, "1h")), false).await;
        counted.redis.ask::<()>(&format!("HSET {ALICE} {fields}")).await;
        let decision = counted.decide("alice").await;
        assert_eq!(decision.is_allowed(), allowed, "{fields}: {decision:?}");
        if let Decision::Denied(denial) = decision {
            let reported = denial.retry_after().expect("waiting helps");
            assert!(reported <= Duration::from_secs(1800), "{fields}: no longer than from empty, {reported:?}");
        }
        let (tokens, last_refill): (f64, f64) = counted.redis.ask(&format!("HMGET {ALICE} tokens last_refill")).await;
        let (s, _): (f64, f64) = counted.redis.ask("TIME").await;
        let age_s = s + 1.0 - last_refill / 1e6;
        assert!((0.0..=2.0).contains(&tokens) && (0.0..60.0).contains(&age_s), "{fields}: {tokens} at {last_refill}");
    }
}

/// The script reads, takes with `HSET` and then sets the key's end. Redis before 7.2 does not say which of these was forbidden.
async fn a_right_that_is_missing_says_whether_tokens_may_be_gone(brand: Brand) {
    let commands = "+evalsha +eval +time +hmget +hset +expire +ping";
    let redis = brand.setup().password("administrator").line(&format!("user tollgate on >secret ~thv:rl:* {commands}")).start().await;
    let settings = RedisSettings::parse(&redis.url()).expect("a good URL").username("tollgate").password("secret");
    let limits = server(bucket(1000, "1h"), None);
    for (right, taken) in [("time", 0), ("hmget", 0), ("hset", 0), ("expire", 1)] {
        redis.ask::<()>(&format!("DEL {SHARED}")).await;
        redis.ask::<()>(&format!("ACL SETUSER tollgate -{right}")).await;
        let limiter = Limiter::new(Redis::new(&settings).expect("good settings"), Policy::new(&ServerId::new("ns", "mcp"), &limits));
        let error = limiter.decide(&Call::of("t")).await.expect_err(right);
        assert_eq!(error.cause(), Cause::Auth, "{right}: {error}");
        let is_named = error.to_string().contains(&format!("'{right}'"));
        assert!(is_named || brand == Brand::Redis, "{right}: {error}");
        assert_eq!(error.may_have_taken(), taken > 0 || !is_named, "{right}: {error}");
        let kept: Option<f64> = redis.ask(&format!("HGET {SHARED} tokens")).await;
        assert_eq!(kept.map_or(0, |tokens| 1000 - tokens.round() as i64), taken, "{right}");
        redis.ask::<()>(&format!("ACL SETUSER tollgate +{right}")).await;
        assert!(limiter.decide(&Call::of("t")).await.is_ok_and(|decision| decision.is_allowed()), "{right} again");
    }
}
