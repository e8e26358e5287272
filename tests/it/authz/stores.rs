//! Buckets in Redis: shared by services, the proxy and Go's proxies; and Redis away or hung.

use futures_util::future::join_all;
use serde_json::json;

use super::ask;
use crate::{
    proxy::{assert_denied, assert_passed, assert_refused, bucket, call, resource},
    support::{
        authz::Authz,
        envoy::Envoy,
        go_limiter::{GoDecision, GoLimiter},
        link::{Flow, Link},
        proxy::Proxy,
        redis::Server,
        upstream::Upstream,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callers_through_two_envoys_get_exactly_the_capacity() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let limits = resource(json!({"global": bucket(20)}));
    let args = ["--redis-url", &redis.url(), "--store-deadline", "5s"];
    let services = [(); 2].map(|()| Authz::start(&[&limits], &args));
    let patient = |config: String| config.replace("timeout: 0.25s}", "timeout: 8s}");
    let envoys = services.each_ref().map(|authz| Envoy::start_with(upstream.address, authz.address, patient));
    let answers = join_all((0..50).map(|id| ask(envoys[id as usize % 2].address, &[], call(id, "search")))).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((passed, upstream.seen().len()), (20, 20), "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
    // The proxy and a Go proxy draw on the same bucket.
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    assert_denied(&ask(proxy.address, &[], call(51, "search")).await, 51, "global");
    let limits = tollgate::model::limits::Limits::new().global(tollgate::model::bucket::Bucket::per_hour(20));
    let go = GoLimiter::new(redis.connect().await, "default:demo", limits);
    assert!(matches!(go.decide("search", None).await.expect("Redis answers"), GoDecision::Denied { .. }));
    assert_eq!(redis.ask::<Vec<String>>("KEYS *").await, ["thv:rl:{default:demo}:shared"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_hung_or_away_the_policy_decides_and_not_envoys_timeout() {
    for (policy, status) in [("open", 200), ("closed", 503), ("local", 200)] {
        let (redis, upstream) = (Server::start().await, Upstream::start().await);
        let link = Link::to(redis.address()).await;
        let url = format!("redis://{}", link.address);
        // The default deadline of 25 ms.
        let authz = Authz::start(&[&resource(json!({"global": bucket(100)}))], &["--redis-url", &url, "--on-store-error", policy]);
        let envoy = Envoy::start(upstream.address, authz.address);
        for flow in [Flow::NoAnswers, Flow::Refused] {
            link.set(flow);
            if flow == Flow::Refused {
                link.cut();
                redis.kill();
            }
            for id in 0..10 {
                let answer = ask(envoy.address, &[], call(id, "search")).await;
                assert_eq!(answer.status, status, "{policy}: {}", answer.text());
                match status {
                    200 => assert_passed(&answer, "search"),
                    // Envoy's own 503 has no body.
                    _ => assert_refused(&answer, 503, "Rate limits cannot be checked at the moment"),
                }
            }
        }
        // Lists need no store.
        let listed = ask(envoy.address, &[], r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
        assert_eq!(listed.status, 200, "{policy}");
    }
}
