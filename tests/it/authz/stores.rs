//! Buckets in Redis: shared by services, the proxy and Go's proxies; and Redis away or hung.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use tollgate::{
    auth::{Auth, AuthMode},
    authz::{
        Authz as Service, AuthzSettings,
        follow::{Outfit, Unit},
        servers::OnUnknownServer,
    },
    gate::{GateSettings, access::AccessLog, callers::Callers, origin::Origins},
    limiter::observe::Unobserved,
    manifest::server::LimitedServer,
    mcp::DenialForm,
    metrics::Registry,
    server::ConnectionLimits,
    stores::{Buckets, Guard, GuardSettings, OnStoreError, Redis, redis::RedisSettings},
};

use super::{
    ask,
    bad_input::{check, checked},
};
use crate::{
    proxy::{assert_denied, assert_passed, assert_refused, bucket, call, resource},
    support::{
        authz::Authz,
        envoy::Envoy,
        go_limiter::{GoDecision, GoLimiter},
        https::get,
        link::{Flow, Link},
        port::free_port,
        proxy::Proxy,
        redis::Server,
        time::{StoppedClock, ends, eventually, moment},
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
    // What Envoy does by itself shows in its own counts, and would come late.
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let patient = |config: String| {
        let config = config.replace("timeout: 0.25s}", "timeout: 8s}");
        format!("admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}\n{config}", admin.port())
    };
    for (policy, status) in [("open", 200), ("closed", 503), ("local", 200)] {
        let (redis, upstream) = (Server::start().await, Upstream::start().await);
        let link = Link::to(redis.address()).await;
        let url = format!("redis://{}", link.address);
        // The default deadline of 25 ms.
        let authz = Authz::start(&[&resource(json!({"global": bucket(100)}))], &["--redis-url", &url, "--on-store-error", policy]);
        let envoy = Envoy::start_with(upstream.address, authz.address, patient);
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
        let counts = get(admin, "/stats?filter=ext_authz").await.text();
        let count = |name: &str| {
            let counts = counts.lines().filter_map(|line| line.split_once(": ").filter(|(stat, _)| stat.ends_with(name)));
            counts.map(|(_, count)| count.parse::<u32>().expect("a count")).max()
        };
        let (allowed, denied) = if status == 200 { (21, 0) } else { (1, 20) };
        let found = [".ext_authz.ok", ".ext_authz.denied", ".ext_authz.error"].map(count);
        assert_eq!(found, [Some(allowed), Some(denied), Some(0)], "{policy}: {counts}");
    }
}

const DEADLINE: Duration = Duration::from_millis(25);

/// Calls are counted in a Redis that is waited for longer than flags allow: only the deadline ends it.
pub struct Counted {
    pub redis: SocketAddr,
    pub policy: OnStoreError,
    pub deadline: Duration,
}

impl Outfit for Counted {
    type Error = String;

    async fn buckets(&self, _: &LimitedServer) -> Result<Buckets, String> {
        let settings = RedisSettings::parse(&format!("redis://{}", self.redis)).map_err(|error| error.to_string())?;
        let redis = Redis::new(&settings.response_timeout(2 * self.deadline)).map_err(|error| error.to_string())?;
        Ok(Buckets::Redis(Guard::new(redis, GuardSettings::default().deadline(self.deadline).on_store_error(self.policy))))
    }

    fn callers(&self, _: &LimitedServer) -> Result<Callers, String> {
        let auth = Auth::new(AuthMode::None, None, None).map_err(|error| error.to_string())?;
        Ok(Callers { auth, resource: None, pass_token: false, within: Some(self.deadline) })
    }
}

pub fn settings() -> AuthzSettings {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    AuthzSettings {
        listen: loopback,
        tls: None,
        metrics_listen: loopback,
        limits: ConnectionLimits::default(),
        origins: Origins::new(Ipv4Addr::UNSPECIFIED.into(), Vec::new(), Vec::new()),
        on_unknown_server: OnUnknownServer::Deny,
        max_body: 4096,
        max_buffered: 65_536,
        gate: GateSettings {
            rejection: DenialForm::default(),
            rate_limit_fields: false,
            shadow: false,
            optimizer: false,
            access_log: AccessLog::None,
        },
        needs_store: false,
        drain: Duration::ZERO,
    }
}

/// The service in this process, with limits in force but not serving yet.
pub async fn bound(settings: AuthzSettings, outfit: Counted, limits: &str) -> Service<Counted> {
    let mut service = Service::bind(settings, outfit, Arc::new(Unobserved), Registry::default()).await.expect("free ports");
    let units = LimitedServer::read_all(&[limits], "default").into_iter();
    service.in_force().read_again(units.map(|servers| Unit { label: "a".to_owned(), servers }).collect()).await;
    service
}

/// On a clock that only the test moves: the deadline of the store is all that a check waits for.
#[tokio::test]
async fn the_stores_deadline_decides_and_nothing_comes_on_top() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let redis = silent.local_addr().expect("bound");
    let limits = resource(json!({"global": bucket(1)}));
    for (policy, status) in [(OnStoreError::Open, 200), (OnStoreError::Closed, 503), (OnStoreError::Local, 200)] {
        let outfit = Counted { redis, policy, deadline: DEADLINE };
        let service = bound(settings(), outfit, &limits).await;
        let (address, metrics) = (service.address(), service.metrics_address());
        let serving = tokio::spawn(service.run(|_| pending(), pending()));
        let clock = StoppedClock::new();
        let asked = tokio::spawn(async move { checked(address, &check(vec![], call(1, "search"), vec![])).await });
        // A message is charged from its arrival to its decision.
        let is_deciding =
            |metrics: &str| metrics.lines().any(|line| line.starts_with("tollgate_authz_buffered_bytes ") && !line.ends_with(" 0"));
        eventually("the check to wait", async || is_deciding(&get(metrics, "/metrics").await.text())).await;
        for _ in 0..20 {
            moment().await;
        }
        clock.advance(DEADLINE - Duration::from_millis(1)).await;
        for _ in 0..20 {
            moment().await;
        }
        assert!(!asked.is_finished(), "{policy:?}: a millisecond before the deadline");
        clock.pass(Duration::from_millis(1)).await;
        let (found, text) = ends("the policy decides", asked).await.expect("no panic");
        assert_eq!(found, status, "{policy:?}: {text}");
        assert_eq!(text.contains("Rate limits cannot be checked at the moment"), status == 503, "{policy:?}: {text}");
        serving.abort();
        drop(clock);
        tokio::time::resume();
    }
}
