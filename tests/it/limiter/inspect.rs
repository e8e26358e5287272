//! Inspecting and resetting buckets: one suite for every store, and what only Redis can hold.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tollgate::{
    inspect::{Bounds, BucketLevel, BucketName, BucketState, BucketStates, BucketStatus, DigestKey, Inspect, User},
    limiter::{Call, Cause, DecidedBy, Decision, Limiter, Policy, ServerId, Wait},
    model::limits::{Limits, ToolLimits},
    stores::{Guard, GuardSettings, Redis},
};

use super::{
    conformance::{self, Bench, bucket, policy, server},
    memory::InMemory,
    redis::{Alone, At, Clustered, OfRedis, OfValkey, at},
};
use crate::support::{
    redis::{Brand, Cluster, on_both},
    time::eventually,
};

const HOUR: Duration = Duration::from_secs(3600);

fn store_at(url: &str) -> Arc<Redis> {
    Arc::new(Redis::new(&at(url)).expect("good settings"))
}

/// Stamps every case for a bench.
macro_rules! inspection {
    ($name:ident, $bench:ty: $($case:ident),+ $(,)?) => {
        mod $name {
            $(#[tokio::test]
            async fn $case() {
                super::$case::<$bench>().await;
            })+
        }
    };
    ($($name:ident: $bench:ty,)+) => {
        $(inspection!($name, $bench:
            what_is_left_is_told,
            the_wait_is_that_of_a_denial,
            looking_changes_nothing,
            a_server_s_buckets_are_listed_and_no_other_s,
            a_listing_is_bounded,
            what_all_share_is_listed_before_users,
            full_buckets_are_not_listed,
            a_reset_bucket_is_full_at_once,
            what_no_limit_counts_is_told_too,
        );)+
    };
}

inspection! {
    in_memory: super::InMemory,
    in_redis: super::At<super::Alone, super::OfRedis>,
    in_valkey: super::At<super::Alone, super::OfValkey>,
    in_a_cluster_of_redis: super::At<super::Clustered, super::OfRedis>,
    in_a_cluster_of_valkey: super::At<super::Clustered, super::OfValkey>,
}

on_both! {
    #[tokio::test]:
    what_is_no_bucket_is_told_and_can_be_reset,
    what_makes_no_sense_is_shown_as_it_is_decided,
    keys_that_others_write_are_told_apart,
    an_acl_user_needs_no_more_than_is_documented,
    a_guard_lets_look_past_it,
    in_a_cluster_the_node_of_the_server_is_searched,
}

/// A limit of each kind: 100 and 10 an hour for the server, 50 and 5 for the tool.
fn limits() -> Limits {
    let search = ToolLimits { global: bucket(50, "1h"), per_user: bucket(5, "1h") };
    Limits { tools: [("search".to_owned(), search)].into(), ..server(bucket(100, "1h"), bucket(10, "1h")) }
}

fn policy_of<B: Bench>(bench: &B, limits: &Limits) -> Policy {
    Policy::new(&bench.server_id(), limits)
}

fn name(tool: Option<&str>, user: Option<&str>) -> BucketName {
    BucketName { tool: tool.map(str::to_owned), user: user.map(User::new) }
}

/// A limiter that has allowed some calls.
async fn limiter<S: tollgate::limiter::Store>(store: S, policy: Policy, calls: &[Call<'_>]) -> Limiter<S> {
    let limiter = Limiter::new(store, policy);
    for call in calls {
        assert!(limiter.decide(call).await.expect("the store answers").is_allowed(), "{call:?}");
    }
    limiter
}

async fn list<S: Inspect>(limiter: &Limiter<S>) -> BucketStates {
    limiter.list(Bounds::default()).await.expect("the store tells")
}

fn level(bucket: &BucketState) -> &BucketLevel {
    match &bucket.status {
        BucketStatus::Level(level) => level,
        other => panic!("{}: {other:?}", bucket.key),
    }
}

/// Each limit and its whole tokens.
fn levels(buckets: &[BucketState]) -> Vec<(String, u32, u32)> {
    buckets.iter().map(level).map(|level| (level.limit.to_string(), level.whole_tokens(), level.max_tokens)).collect()
}

async fn what_is_left_is_told<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let call = Call::of("search").by("alice");
    let limiter =
        limiter(bench.store(), policy_of(&bench, &limits()), &[call, call, Call::of("search").by("bob"), Call::of("other")]).await;
    let buckets = limiter.inspect(&call).await.expect("the store tells");
    let left = [("global", 96, 100), ("tools[search].global", 47, 50), ("perUser", 8, 10), ("tools[search].perUser", 3, 5)];
    assert_eq!(levels(&buckets), left.map(|(limit, left, all)| (limit.to_owned(), left, all)));
    for level in buckets.iter().map(level) {
        assert!(level.enforced && level.wait == Wait::After(Duration::ZERO), "{level:?}");
        let full_in = HOUR.mul_f64((f64::from(level.max_tokens) - level.tokens) / f64::from(level.max_tokens));
        assert!(level.full_in.abs_diff(full_in) < Duration::from_millis(1), "{level:?}, expected {full_in:?}");
        assert!(level.ttl.is_some_and(|ttl| ttl + Duration::from_millis(1) >= level.full_in && ttl <= 2 * HOUR), "{level:?}");
    }
    assert_eq!(buckets[3].key, bench.server_id().key_prefix() + "user-tool:search:alice");
    let foreign_keys = limiter.inspect(&Call::of("search").by("carol")).await.expect("the store tells");
    assert_eq!(levels(&foreign_keys[2..]), [("perUser".to_owned(), 10, 10), ("tools[search].perUser".to_owned(), 5, 5)]);
}

async fn the_wait_is_that_of_a_denial<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let call = Call::of("t");
    let limiter = limiter(bench.store(), policy_of(&bench, &server(bucket(2, "1h"), None)), &[call, call]).await;
    let Ok(Decision::Denied(denial)) = limiter.decide(&call).await else { panic!("both are taken") };
    let reported = denial.retry_after().expect("waiting helps");
    let Wait::After(seen) = level(&limiter.inspect(&call).await.expect("the store tells")[0]).wait else { panic!("waiting helps") };
    assert!(seen <= reported && reported <= seen + B::LAG, "a denial said {reported:?}, the bucket {seen:?}");
}

async fn looking_changes_nothing<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let call = Call::of("search").by("alice");
    let limiter = limiter(bench.store(), policy_of(&bench, &limits()), &[call]).await;
    let ttl = async || level(&limiter.inspect(&call).await.expect("a report")[3]).ttl.expect("it is kept");
    let before = ttl().await;
    bench.pass(Duration::from_millis(20)).await;
    for _ in 0..20 {
        list(&limiter).await;
    }
    assert!(ttl().await <= before - Duration::from_millis(19), "looking prolongs no life");
    for left in (0..4).rev() {
        assert!(matches!(limiter.decide(&call).await, Ok(Decision::Allowed { remaining, .. }) if remaining == Some(left)));
    }
}

async fn a_server_s_buckets_are_listed_and_no_other_s<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let long = "x".repeat(300);
    let by = |user| Call::of("search").by(user);
    let calls = [by("alice"), by("%61:b"), by(&long)];
    // In a pattern, each of these names would stand for the next as well.
    let names = ["*", "?", "[x]", "\\x", "x", "xy"].map(|end| bench.server_id().name + end);
    for name in &names {
        limiter(bench.store(), Policy::new(&ServerId::new("ns", name), &limits()), &calls).await;
    }
    for name in &names {
        let limiter = Limiter::new(bench.store(), Policy::new(&ServerId::new("ns", name), &limits()));
        let found = list(&limiter).await;
        let expected: Vec<BucketName> = [None, Some("search")]
            .into_iter()
            .flat_map(|tool| [None, Some("%61:b"), Some("alice"), Some(long.as_str())].map(|user| self::name(tool, user)))
            .collect();
        assert_eq!(found.buckets.iter().map(|bucket| bucket.name.clone()).collect::<Vec<_>>(), expected, "{name}");
        assert!(found.complete && found.foreign_keys.is_empty(), "{name}: {found:?}");
    }
}

async fn a_listing_is_bounded<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let users: Vec<String> = (0..150).map(|user| format!("user-{user}")).collect();
    let calls: Vec<Call<'_>> = users.iter().map(|user| Call::of("t").by(user)).collect();
    let limiter = limiter(bench.store(), policy_of(&bench, &server(None, bucket(2, "1h"))), &calls).await;
    for (bounds, count, complete) in [
        (Bounds { most_keys: 10, ..Bounds::default() }, 10, false),
        (Bounds { most_keys: 149, ..Bounds::default() }, 149, false),
        (Bounds { most_keys: 150, ..Bounds::default() }, 150, true),
        (Bounds { most_keys: usize::MAX, most_pages: usize::MAX }, 150, true),
        (Bounds { most_pages: 0, ..Bounds::default() }, 0, false),
    ] {
        let found = limiter.list(bounds).await.expect("the store tells");
        assert_eq!((found.buckets.len(), found.complete), (count, complete), "{bounds:?}");
    }
}

/// Who looks for what denies everybody finds it, however many users there are.
async fn what_all_share_is_listed_before_users<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let users: Vec<String> = (0..150).map(|user| format!("user-{user}")).collect();
    let calls: Vec<Call<'_>> = users.iter().map(|user| Call::of("search").by(user)).collect();
    let tool = ToolLimits { global: bucket(200, "1h"), per_user: None };
    let limits = Limits { tools: [("search".to_owned(), tool)].into(), ..server(bucket(500, "1h"), bucket(2, "1h")) };
    let limiter = limiter(bench.store(), policy_of(&bench, &limits), &calls).await;
    for (most_keys, shared) in [(1, 1), (2, 2), (12, 2)] {
        let found = limiter.list(Bounds { most_keys, ..Bounds::default() }).await.expect("the store tells");
        assert_eq!((found.buckets.len(), found.complete), (most_keys, false));
        assert_eq!(found.buckets.iter().filter(|bucket| bucket.name.user.is_none()).count(), shared, "{found:?}");
    }
    let found = limiter.list(Bounds { most_pages: 0, ..Bounds::default() }).await.expect("the store tells");
    assert_eq!(levels(&found.buckets), [("global".to_owned(), 350, 500), ("tools[search].global".to_owned(), 50, 200)]);
}

async fn full_buckets_are_not_listed<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let limiter =
        limiter(bench.store(), policy_of(&bench, &server(bucket(1, "1h"), bucket(1, "50ms"))), &[Call::of("t").by("alice")]).await;
    bench.pass(Duration::from_millis(60)).await;
    assert_eq!(levels(&list(&limiter).await.buckets), [("global".to_owned(), 0, 1)]);
}

async fn a_reset_bucket_is_full_at_once<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let call = Call::of("search").by("alice");
    let limiter = limiter(bench.store(), policy_of(&bench, &limits()), &[call; 5]).await;
    // Twice, so that the second may come from what is certain.
    for _ in 0..2 {
        assert!(matches!(limiter.decide(&call).await, Ok(Decision::Denied(denial)) if denial.limit.to_string() == "tools[search].perUser"));
    }
    let drained = name(Some("search"), Some("alice"));
    assert!(limiter.reset(&drained).await.expect("it is done"));
    assert!(!limiter.reset(&drained).await.expect("it is done"), "there is nothing left to forget");
    assert!(matches!(limiter.decide(&call).await, Ok(Decision::Allowed { remaining: Some(4), .. })));
    assert_eq!(levels(&list(&limiter).await.buckets)[1], ("perUser".to_owned(), 4, 10), "the others stay as they were");
}

async fn what_no_limit_counts_is_told_too<B: Bench<Store: Inspect>>() {
    let bench = B::start().await;
    let limiter = limiter(bench.store(), policy_of(&bench, &limits()), &[Call::of("search").by("alice")]).await;
    limiter.reload(policy_of(&bench, &server(bucket(200, "1h"), None)));
    let found = list(&limiter).await;
    assert_eq!(levels(&found.buckets[..1]), [("global".to_owned(), 99, 200)]);
    for bucket in &found.buckets[1..] {
        assert!(matches!(bucket.status, BucketStatus::Unlimited { tokens, ttl: Some(_) } if tokens >= 4.0), "{bucket:?}");
    }
    assert_eq!(found.buckets.len(), 4);
    assert!(limiter.reset(&name(None, Some("alice"))).await.expect("it is done"));
    assert_eq!(list(&limiter).await.buckets.len(), 3);
}

async fn what_is_no_bucket_is_told_and_can_be_reset(brand: Brand) {
    let server = brand.start().await;
    let limiter = limiter(store_at(&server.url()), policy(&limits()), &[]).await;
    server.ask::<()>("SET thv:rl:{ns:mcp}:user:alice 1").await;
    let error = limiter.decide(&Call::of("t").by("alice")).await.expect_err("nobody can draw on a string");
    assert_eq!(error.cause(), Cause::Bucket);
    assert_eq!(list(&limiter).await.buckets[0].status, BucketStatus::Unusable);
    assert!(limiter.reset(&name(None, Some("alice"))).await.expect("it is done"));
    assert!(limiter.decide(&Call::of("t").by("alice")).await.expect("it is a bucket again").is_allowed());
}

async fn what_makes_no_sense_is_shown_as_it_is_decided(brand: Brand) {
    let server = brand.start().await;
    let limiter = limiter(store_at(&server.url()), policy(&conformance::server(None, bucket(5, "1h"))), &[]).await;
    for (fields, level) in [
        ("tokens many last_refill 1", 0),
        ("tokens -3 last_refill 1e15", 5),
        ("tokens 3", 3),
        ("tokens 3 last_refill nan", 3),
        ("tokens inf last_refill 99999999999999999", 5),
        ("last_refill 1", 5),
    ] {
        server.ask::<()>("DEL thv:rl:{ns:mcp}:user:alice").await;
        server.ask::<()>(&format!("HSET thv:rl:{{ns:mcp}}:user:alice {fields}")).await;
        let call = Call::of("t").by("alice");
        let seen = levels(&limiter.inspect(&call).await.expect("the store tells"));
        assert_eq!(seen, [("perUser".to_owned(), level, 5)], "{fields}");
        let decided = match limiter.decide(&call).await.expect("the store answers") {
            Decision::Allowed { remaining, .. } => remaining.map_or(0, |left| left + 1),
            Decision::Denied(_) => 0,
        };
        assert_eq!(decided, level, "{fields}");
        limiter.reset(&name(None, Some("alice"))).await.expect("it is done");
    }
}

async fn keys_that_others_write_are_told_apart(brand: Brand) {
    let server = brand.start().await;
    let limiter = limiter(store_at(&server.url()), policy(&limits()), &[]).await;
    for key in ["thv:rl:{ns:mcp}:user:%61", "thv:rl:{ns:mcp}:later", "thv:rl:{ns:mcp}:user:bob", "thv:session:1"] {
        server.ask::<()>(&format!("HSET {key} tokens 1 last_refill 1787000000000000")).await;
    }
    server.ask::<()>("EXPIRE thv:rl:{ns:mcp}:user:bob 3000000000").await;
    let found = list(&limiter).await;
    assert_eq!(found.foreign_keys, ["thv:rl:{ns:mcp}:later", "thv:rl:{ns:mcp}:user:%61"]);
    let refused = store_at(&server.url()).reset("thv:session:1").await.expect_err("it is not ours");
    assert!(refused.to_string().contains("begin with thv:rl:"), "{refused}");
    assert_eq!(server.ask::<u32>("EXISTS thv:session:1").await, 1);
}

/// The rights that the store's documentation names are enough, and what lacks is named.
async fn an_acl_user_needs_no_more_than_is_documented(brand: Brand) {
    let deciding = "~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping";
    let setup = brand.setup().password("administrator");
    let setup = setup.line(&format!("user inspector on >secret {deciding} +del +scan +pttl ~tollgate:* +get +set"));
    let server = setup.line(&format!("user proxy on >secret {deciding}")).start().await;
    let store = |user| store_at(&format!("redis://{user}:secret@{}", server.address()));
    let call = Call::of("search").by("alice");

    let inspector = limiter(store("inspector"), policy(&limits()), &[call]).await;
    assert_eq!(list(&inspector).await.buckets.len(), 4);
    assert_eq!(levels(&inspector.inspect(&call).await.expect("it may")).len(), 4);
    assert!(inspector.reset(&name(None, Some("alice"))).await.expect("it may"));
    let (first, second) = ([1, 2].map(|byte| DigestKey::new([byte; 32]))).into();
    let server_id = inspector.policy().server_id().clone();
    for proposed in [first, second] {
        assert_eq!(inspector.store().digest_key(&server_id, &proposed).await.expect("it may"), first, "who came first decides");
    }

    let proxy = limiter(store("proxy"), policy(&limits()), &[call]).await;
    let refused = proxy.list(Bounds::default()).await.expect_err("it may not");
    assert_eq!(refused.cause(), Cause::Auth);
    assert!(refused.to_string().contains("pttl"), "{refused}");
    let refused = proxy.reset(&name(None, None)).await.expect_err("it may not");
    assert!(refused.to_string().contains("del"), "{refused}");
    assert_eq!(proxy.store().digest_key(&server_id, &second).await.expect_err("it may not").cause(), Cause::Auth);
    assert!(proxy.decide(&call).await.expect("it may still decide").is_allowed());
}

/// Whoever looks wants to know about the store, also while calls are decided without it.
async fn a_guard_lets_look_past_it(brand: Brand) {
    let server = brand.start().await;
    let settings = GuardSettings::default().most_failures(NonZeroU32::MIN).probe_every(HOUR);
    let guarded = limiter(Guard::new(store_at(&server.url()), settings), policy(&limits()), &[Call::of("search").by("alice")]).await;
    server.kill();
    assert!(matches!(guarded.decide(&Call::of("t")).await, Ok(Decision::Allowed { source: DecidedBy::FailOpen, .. })));
    assert_eq!(guarded.list(Bounds::default()).await.expect_err("it is gone").cause(), Cause::Connection);
    server.restart().await;
    limiter(store_at(&server.url()), policy(&limits()), &[Call::of("search").by("alice")]).await;
    assert!(!guarded.store().is_asking());
    // There is a pause before the next try to connect.
    eventually("a connection", async || guarded.list(Bounds::default()).await.is_ok()).await;
    assert_eq!(list(&guarded).await.buckets.len(), 4);
    assert!(guarded.reset(&name(None, Some("alice"))).await.expect("it is done"));
}

async fn in_a_cluster_the_node_of_the_server_is_searched(brand: Brand) {
    let cluster = Cluster::start_of(brand).await;
    let store = store_at(&cluster.url());
    let call = Call::of("search").by("alice");
    let mut limiters = Vec::new();
    for server in 0..6 {
        let policy = Policy::new(&ServerId::new("ns", format!("mcp-{server}")), &limits());
        limiters.push(limiter(Arc::clone(&store), policy, &[call]).await);
    }
    for limiter in &limiters {
        assert_eq!(list(limiter).await.buckets.len(), 4);
    }
    cluster.move_slot_of("thv:rl:{ns:mcp-0}:shared").await;
    let found = list(&limiters[0]).await;
    assert_eq!((found.buckets.len(), found.complete), (4, true), "where its slot is now");
    assert!(limiters[0].reset(&name(None, Some("alice"))).await.expect("it is done"));
    assert_eq!(list(&limiters[0]).await.buckets.len(), 3);
    assert_eq!(list(&limiters[1]).await.buckets.len(), 4);
}
