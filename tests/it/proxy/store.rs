//! Buckets in Redis: shared by proxies, and the outcome of calls while Redis is unavailable.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ask, assert_denied, assert_passed, assert_refused, bucket, call, resource};
use crate::support::{
    https::get,
    link::{Flow, Link},
    proxy::Proxy,
    redis::{Server, Setup, Tls},
    serve::command,
    time::eventually,
    upstream::Upstream,
};

fn start(upstream: &Upstream, redis: &str, calls: u32, args: &[&str]) -> Proxy {
    // Long enough for a machine that is busy with other tests.
    let args: Vec<_> = ["--redis-url", redis, "--store-deadline", "1s"].iter().chain(args).copied().collect();
    Proxy::start(&upstream.url(), &resource(json!({"global": bucket(calls)})), &args)
}

#[tokio::test]
async fn two_proxies_share_their_buckets() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let proxies = [start(&upstream, &redis.url(), 5, &[]), start(&upstream, &redis.url(), 5, &[])];
    let many = (0..20).map(|id| ask(&proxies[id as usize % 2], &[], call(id, "search")));
    let answers = futures_util::future::join_all(many).await;
    let passed = answers.iter().filter(|answer| answer.json().get("result").is_some()).count();
    assert_eq!((passed, upstream.seen().len()), (5, 5), "five between them, whoever asked first");
    for proxy in &proxies {
        assert_denied(&ask(proxy, &[], call(21, "search")).await, 21, "global");
    }
    assert_eq!(redis.ask::<Vec<String>>("KEYS *").await, ["thv:rl:{default:demo}:shared"]);
}

// The link has to run while the proxy starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_redis_calls_pass_where_it_is_open() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let link = Link::to(redis.address()).await;
    let proxy = start(&upstream, &format!("redis://{}", link.address), 1, &["--on-store-error", "open"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
    link.set(Flow::NoAnswers);
    link.cut();
    let mut passed = 0;
    for id in 3..20 {
        let began = Instant::now();
        let answer = ask(&proxy, &[], call(id, "search")).await;
        assert!(began.elapsed() < Duration::from_secs(3), "call {id} waited {:?}", began.elapsed());
        // A denial that is certain needs no Redis.
        passed += u32::from(answer.json().get("result").is_some());
    }
    assert_eq!(passed as usize + 1, upstream.seen().len());
    assert_eq!(get(proxy.metrics, "/readyz").await.status, 200, "it does what it was told to");
}

#[tokio::test]
async fn without_redis_calls_are_refused_where_it_is_closed() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let proxy = start(&upstream, &redis.url(), 9, &["--on-store-error", "closed", "--reject-status", "429"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    redis.kill();
    let answer = ask(&proxy, &[], call(2, "search")).await;
    assert_refused(&answer, 503, "Rate limits cannot be checked at the moment");
    assert_eq!((&answer.json()["id"], &answer.headers["retry-after"]), (&json!(2), &"1".parse().expect("a value")));
    let other = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"}).to_string();
    assert_passed(&ask(&proxy, &[], other).await, "tools/list");
    let deadline = Instant::now() + Duration::from_secs(20);
    let unready = loop {
        let answer = get(proxy.metrics, "/readyz").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < deadline, "Redis is unavailable, and the proxy ready");
        assert_eq!(ask(&proxy, &[], call(2, "search")).await.status, 503);
    };
    assert!(unready.text().contains("[-] the store answers\n"), "{}", unready.text());
    redis.restart().await;
    eventually("Redis to be asked again", async || ask(&proxy, &[], call(4, "search")).await.status != 503).await;
    assert_eq!(get(proxy.metrics, "/readyz").await.status, 200);
    assert_eq!(proxy.log().matches("ERROR").count() + proxy.log().matches("panicked").count(), 0, "{}", proxy.log());
}

#[tokio::test]
async fn without_redis_own_buckets_decide_where_it_is_local() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let proxy = start(&upstream, &redis.url(), 2, &["--on-store-error", "local"]);
    redis.kill();
    let mut passed = 0;
    for id in 0..6 {
        passed += u32::from(ask(&proxy, &[], call(id, "search")).await.json().get("result").is_some());
    }
    assert_eq!(passed, 2, "as many as one proxy alone may");
}

#[tokio::test]
async fn a_key_that_is_no_bucket_is_logged_once_and_when_it_is_one_again() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let limits = resource(json!({"global": bucket(9), "perUser": bucket(1)}));
    let args = ["--redis-url", &redis.url(), "--store-deadline", "1s", "--user-header", "x-user", "--user-header-from", "loopback"];
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    let key = "thv:rl:{default:demo}:user:alice";
    redis.ask::<()>(&format!("SET {key} mine")).await;
    for (id, status) in [(1, 200), (2, 429), (3, 429)] {
        assert_passed(&ask(&proxy, &[("x-user", "alice")], call(id, "search")).await, "search");
        assert_eq!(ask(&proxy, &[("x-user", "bob")], call(id, "search")).await.status, status);
    }
    assert_eq!(redis.ask::<String>(&format!("GET {key}")).await, "mine", "it belongs to somebody else");
    let lines = |text: &str| proxy.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>();
    let found = lines("a key in Redis does not hold a bucket");
    assert!(found.len() == 1 && found[0].contains("WARN") && found[0].contains("limit=perUser"), "{}", proxy.log());
    redis.ask::<()>(&format!("DEL {key}")).await;
    assert_passed(&ask(&proxy, &[("x-user", "alice")], call(4, "search")).await, "search");
    assert_denied(&ask(&proxy, &[("x-user", "alice")], call(5, "search")).await, 5, "perUser");
    let again = lines("the key holds a bucket again");
    assert!(again.len() == 1 && again[0].contains("INFO") && again[0].contains("limit=perUser"), "{}", proxy.log());
    assert!(!proxy.log().contains("alice"), "{}", proxy.log());
}

#[tokio::test]
async fn redis_that_is_required_and_away_is_said_before_anything_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = format!("redis://127.0.0.1:{}", crate::support::port::free_port());
    let output = run(&folder, &resource(json!({"global": bucket(1)})), &["--redis-url", &redis, "--require-store"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("Redis is required (--require-store)"), "{said}");
}

/// A proxy that ends by itself.
fn run(folder: &TempDir, resource: &str, args: &[&str]) -> Output {
    std::fs::write(folder.path().join("r.json"), resource).expect("ours");
    let args = [&["proxy", "-f", "r.json", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"], args].concat();
    command(folder).args(args).output().expect("it runs")
}

/// A server whose resource names this Redis, and TLS for it.
fn over_tls(name: &str, redis: SocketAddr, tls: &Value) -> String {
    let mut object: Value = serde_json::from_str(&resource(json!({"global": bucket(1)}))).expect("JSON");
    object["metadata"]["name"] = json!(name);
    object["spec"]["sessionStorage"] = json!({"provider": "redis", "address": redis.to_string(), "tls": tls});
    object.to_string()
}

/// The same as ToolHive's operator writes it for its own proxies.
fn over_tls_as_middleware(name: &str, redis: SocketAddr, tls: &Value) -> String {
    let config = json!({"shared": bucket(1)});
    json!({"namespace": "default", "server_name": name, "config": config, "redis_addr": redis.to_string(), "redis_tls": tls}).to_string()
}

#[tokio::test]
async fn a_resource_that_sets_tls_is_counted_over_tls() {
    let (tls, upstream, folder) = (Tls::new(), Upstream::start().await, tempfile::tempdir().expect("a folder"));
    let redis = Setup::default().password("hunter2").tls(tls.clone()).line("tls-auth-clients no").start().await;
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("ours");
        folder.path().join(name).display().to_string()
    };
    let (ca, password) = (file("ca.crt", &tls.ca_pem), file("password", "hunter2"));
    let args = ["--redis-password-file", &password, "--require-store", "--store-deadline", "1s"];
    let with_ca = [&args[..], &["--redis-ca", &ca]].concat();
    let in_secret = json!({"caCertSecretRef": {"name": "redis-ca", "key": "ca.crt"}});
    let (insecure, in_file) = (json!({"insecureSkipVerify": true}), json!({"caCertFile": ca}));
    for (name, resource, args) in [
        ("empty", over_tls("empty", redis.address(), &json!({})), &with_ca[..]),
        ("in-secret", over_tls("in-secret", redis.address(), &in_secret), &with_ca),
        ("insecure", over_tls("insecure", redis.address(), &insecure), &args),
        ("in-file", over_tls_as_middleware("in-file", redis.address(), &in_file), &args),
        ("both-insecure", over_tls_as_middleware("both-insecure", redis.address(), &insecure), &args),
    ] {
        let proxy = Proxy::start(&upstream.url(), &resource, args);
        assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
        assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
        assert_eq!(redis.ask::<u32>(&format!("EXISTS thv:rl:{{default:{name}}}:shared")).await, 1, "{name}");
        let warned = proxy.log().contains("the certificate of Redis is not verified (insecureSkipVerify)");
        assert_eq!(warned, name.ends_with("insecure"), "{name}: {}", proxy.log());
    }

    let refused = |resource: &str, args: &[&str], says: &str| {
        let output = run(&folder, resource, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    };
    let says = "spec.sessionStorage.tls.caCertSecretRef names the Secret \"redis-ca\", which is not read here: write its CA certificate to a file and add --redis-ca FILE";
    refused(&over_tls("x", redis.address(), &in_secret), &args, says);
    let gone = json!({"caCertFile": "/nonexistent/ca.crt"});
    refused(&over_tls_as_middleware("x", redis.address(), &gone), &args, "cannot read /nonexistent/ca.crt");
    // A stranger's CA verifies nothing.
    let other = file("other.crt", &Tls::new().ca_pem);
    let args = [&args[..], &["--redis-ca", &other]].concat();
    refused(&over_tls("x", redis.address(), &insecure), &args, "Redis is required (--require-store)");
}

/// What listens there without TLS gets the beginning of a handshake, and no password.
#[tokio::test]
async fn a_resource_that_sets_tls_is_never_asked_in_clear() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().expect("a folder"));
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("ours");
    write("ca.crt", &Tls::new().ca_pem);
    write("password", "hunter2");
    let at = |name: &str| Path::new(folder.path()).join(name).display().to_string();
    let (ca, password) = (at("ca.crt"), at("password"));
    let args = ["--redis-password-file", &password, "--redis-ca", &ca];
    type Written = fn(&str, SocketAddr, &Value) -> String;
    for (written, tls, args) in [
        (over_tls as Written, json!({}), &args[..]),
        (over_tls, json!({"insecureSkipVerify": true}), &args[..2]),
        (over_tls_as_middleware, json!({}), &args),
        (over_tls_as_middleware, json!({"insecureSkipVerify": true}), &args[..2]),
    ] {
        let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _proxy = Proxy::start(&upstream.url(), &written("demo", stranger.local_addr().expect("bound"), &tls), args);
        let mut first = [0];
        stranger.accept().expect("the proxy comes at its start").0.read_exact(&mut first).expect("it begins");
        assert_eq!(first, [0x16], "a TLS handshake");
    }
}
