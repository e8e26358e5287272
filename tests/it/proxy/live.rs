//! `GET /buckets` beside the metrics: what buckets hold, the outcome of calls, and no user's name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ask, assert_denied, assert_passed, bucket, call, resource};
use crate::support::{
    https::{Answer, get},
    link::{Flow, Link},
    proxy::Proxy,
    redis::{Server, Setup},
    time::eventually,
    upstream::Upstream,
};

/// The buckets as they are now, however fresh the last look was.
async fn looked(proxy: &Proxy) -> Answer {
    let began = Instant::now();
    let mut last = None;
    eventually("a new look", async || {
        let passed = began.elapsed();
        let answer = last.insert(get(proxy.metrics, "/buckets").await);
        Duration::from_secs_f64(answer.json()["ageSeconds"].as_f64().expect("an age")) < passed
    })
    .await;
    last.expect("it was asked")
}

/// Each limit, its user and the whole tokens that are left.
fn left(reported: &Value) -> Vec<(String, Option<String>, u32)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |bucket: &Value| {
        (text(&bucket["limit"]).expect("a limit"), text(&bucket["user"]), bucket["tokens"].as_f64().expect("a level") as u32)
    };
    reported["buckets"].as_array().expect("buckets").iter().map(row).collect()
}

fn limit(limit: &str, allowed: u32, denied: u32) -> Value {
    json!({"limit": limit, "allowed": allowed, "denied": denied})
}

#[tokio::test]
async fn buckets_and_totals_are_told_and_no_user() {
    let upstream = Upstream::start().await;
    let limits = json!({"global": bucket(9), "perUser": bucket(2), "tools": [{"name": "never", "global": bucket(1)}]});
    let proxy = Proxy::start(
        &upstream.url(),
        &resource(limits),
        &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"],
    );
    let headers = [("x-user", "alice")];
    for id in 1..=2 {
        assert_passed(&ask(&proxy, &headers, call(id, "search")).await, "search");
    }
    assert_denied(&ask(&proxy, &headers, call(3, "search")).await, 3, "perUser");
    let answer = looked(&proxy).await;
    let reported = answer.json();
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().expect("a value")));
    assert_eq!((&reported["server"], &reported["store"]), (&json!({"namespace": "default", "name": "demo"}), &json!("memory")));
    let alice = left(&reported)[1].1.clone().expect("a user's");
    assert!(alice.starts_with("hmac:") && alice.len() == "hmac:".len() + 12, "{alice}");
    assert!(!alice.contains("2bd806c97f0e"), "an id that can be guessed cannot be found by its plain hash (printf alice | sha256sum)");
    assert_eq!(left(&reported), [("global".to_owned(), None, 7), ("perUser".to_owned(), Some(alice), 0)], "{reported}");
    assert_eq!((&reported["complete"], &reported["shadow"]), (&json!(true), &json!(false)));
    let totals = &reported["totals"];
    assert_eq!((&totals["allowed"], &totals["denied"], &totals["failOpen"]), (&json!(2), &json!(1), &json!(0)), "{totals}");
    let limits = json!([limit("global", 2, 0), limit("perUser", 2, 1), limit("tools[never].global", 0, 0)]);
    assert_eq!(totals["limits"], limits, "a limit that has counted nothing is there too");
    assert!(!answer.text().contains("alice"), "{reported}");
    assert_eq!(left(&looked(&proxy).await.json()), left(&reported), "looking takes nothing");
}

/// The digests of all users of a proxy.
async fn digests(proxy: &Proxy) -> Vec<Option<String>> {
    left(&looked(proxy).await.json()).into_iter().map(|(_, user, _)| user).collect()
}

#[tokio::test]
async fn digests_are_the_same_in_all_proxies_on_one_redis_and_nowhere_else() {
    // What the store's documentation names, and not the rights to share a key.
    let looking = "+evalsha +eval +time +hmget +hset +expire +ping +scan +pttl";
    let setup = Setup::default().password("administrator");
    let setup = setup.line(&format!("user proxy on >secret ~thv:rl:* ~tollgate:* +get +set {looking}"));
    let redis = setup.line(&format!("user poor on >secret ~thv:rl:* {looking}")).start().await;
    let upstream = Upstream::start().await;
    let limits = resource(json!({"perUser": bucket(2)}));
    let start = |store: &[&str]| {
        Proxy::start(&upstream.url(), &limits, &[&["--user-header", "x-user", "--user-header-from", "loopback"], store].concat())
    };
    let (url, poor) = (format!("redis://proxy:secret@{}", redis.address()), format!("redis://poor:secret@{}", redis.address()));
    let proxies = [start(&["--redis-url", &url]), start(&["--redis-url", &url])];
    assert_passed(&ask(&proxies[0], &[("x-user", "alice")], call(1, "search")).await, "search");
    let (one, other) = tokio::join!(digests(&proxies[0]), digests(&proxies[1]));
    assert!(one.len() == 1 && one == other, "{one:?}, {other:?}");
    drop(proxies);
    assert_eq!(digests(&start(&["--redis-url", &url])).await, one, "also after a restart");
    let administrator = "tollgate:{default:demo}:digest-key";
    assert_eq!(redis.ask::<i64>(&format!("TTL {administrator}")).await, -1, "it stays");

    let alone = start(&["--redis-url", &poor]);
    let own = digests(&alone).await;
    assert!(own.len() == 1 && own != one, "reported all the same: {own:?}");
    alone.wait_for_log("its Redis user needs ~tollgate:* +get +set");
    assert_eq!(digests(&alone).await, own);
    assert_eq!(alone.log().matches("user digests are specific to this proxy").count(), 1, "{}", alone.log());

    let memory = start(&["--store", "memory"]);
    assert_passed(&ask(&memory, &[("x-user", "alice")], call(2, "search")).await, "search");
    assert!(digests(&memory).await != one && digests(&memory).await != own);
    redis.ask::<()>(&format!("SET {administrator} short")).await;
    let foreign = start(&["--redis-url", &url]);
    assert!(digests(&foreign).await != one, "what is no key is none");
    foreign.wait_for_log("tollgate:{default:demo}:digest-key does not hold a digest key");
}

#[tokio::test]
async fn in_shadow_a_limit_counts_whom_it_would_deny() {
    let upstream = Upstream::start().await;
    let proxy = super::proxy(&upstream, 1, &["--shadow"]);
    for id in 1..=3 {
        assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
    }
    let reported = looked(&proxy).await.json();
    assert_eq!((&reported["shadow"], &reported["totals"]["allowed"], &reported["totals"]["denied"]), (&json!(true), &json!(3), &json!(0)));
    assert_eq!(reported["totals"]["limits"], json!([limit("global", 1, 2)]));
}

/// However many look: a viewer costs Redis a search a second, all together no more.
#[tokio::test]
async fn redis_is_searched_once_for_all_who_look() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(5)})), &["--redis-url", &redis.url()]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let began = Instant::now();
    for _ in 0..5 {
        let answers = futures_util::future::join_all((0..20).map(|_| get(proxy.metrics, "/buckets"))).await;
        assert!(answers.iter().all(|answer| left(&answer.json()) == [("global".to_owned(), None, 4)]));
    }
    let searches = redis.info("commandstats", "cmdstat_scan").await.expect("it was searched");
    let calls: u64 = searches.split([',', '=']).nth(1).and_then(|calls| calls.parse().ok()).expect("calls=N");
    let most = 1 + began.elapsed().as_millis() / 900;
    assert!(u128::from(calls) <= most, "{calls} searches for 100 viewers in {:?}", began.elapsed());
}

// The link has to run while the proxy starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn redis_that_is_away_is_said_in_time_and_totals_are_there() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let link = Link::to(redis.address()).await;
    let url = format!("redis://{}", link.address);
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(5)})), &["--redis-url", &url, "--store-deadline", "1s"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    assert_eq!(looked(&proxy).await.status, 200);
    link.set(Flow::NoAnswers);
    assert_passed(&ask(&proxy, &[], call(2, "search")).await, "search");
    let began = Instant::now();
    let answer = looked(&proxy).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let reported = answer.json();
    assert_eq!((answer.status, &reported["error"]), (503, &json!("the store did not respond in time")));
    let totals = &reported["totals"];
    assert_eq!((&reported["buckets"], &totals["allowed"], &totals["failOpen"]), (&json!([]), &json!(2), &json!(1)), "{reported}");
    assert_eq!(totals["limits"], json!([limit("global", 1, 0)]), "nothing counted the other");
    assert!(!answer.text().contains(&link.address.to_string()), "where Redis is, is nobody's business: {reported}");
    link.set(Flow::Free);
    link.cut();
    let deadline = Instant::now() + Duration::from_secs(20);
    while looked(&proxy).await.status == 503 {
        assert!(Instant::now() < deadline, "Redis is back, and not asked");
    }
}

#[tokio::test]
async fn buckets_that_stand_in_are_the_ones_told() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let args = ["--redis-url", &redis.url(), "--on-store-error", "local"];
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(500)})), &args);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    assert_eq!(looked(&proxy).await.json()["store"], "redis");
    redis.kill();
    let deadline = Instant::now() + Duration::from_secs(60);
    let reported = loop {
        assert_passed(&ask(&proxy, &[], call(2, "search")).await, "search");
        let reported = looked(&proxy).await.json();
        if reported["store"] == "local" && reported["buckets"] != json!([]) {
            break reported;
        }
        assert!(Instant::now() < deadline, "{reported}");
    };
    assert_eq!((reported.get("error"), &reported["buckets"][0]["limit"]), (None, &json!("global")), "{reported}");
}

#[tokio::test]
async fn redis_that_forbids_to_search_is_said_with_the_rights_that_lack() {
    let rights = "~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping";
    let redis = Setup::default().password("administrator").line(&format!("user proxy on >secret {rights}")).start().await;
    let upstream = Upstream::start().await;
    let url = format!("redis://proxy:secret@{}", redis.address());
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(5)})), &["--redis-url", &url]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let answer = looked(&proxy).await;
    let error = "the store does not permit listing: the Redis user needs +scan and +pttl";
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!(error)));
}
