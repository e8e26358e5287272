//! The servers of a real cluster, in one namespace or in all: found at the start, and followed one by one.

use std::{collections::BTreeSet, net::TcpListener};

use serde_json::{Value, json};

use super::{
    ask,
    bad_input::{check, checked, entry},
};
use crate::{
    proxy::{
        assert_denied, assert_passed, bucket, call,
        watch::{CLUSTER, delete, server, with_limits},
    },
    support::{authz::Authz, envoy::Envoy, https::get, time::eventually, upstream::Upstream},
};

const MEMORY: [&str; 2] = ["--store", "memory"];

fn named(namespace: &str, name: &str, limits: Value) -> Value {
    let mut object = server(namespace, limits);
    object["metadata"]["name"] = json!(name);
    object
}

fn of_tool(tool: &str) -> Value {
    json!({"tools": [{"name": tool, "global": bucket(1)}]})
}

/// The status of a call for this server.
async fn status(authz: &Authz, server: &str) -> i32 {
    let context = entry(tollgate::authz::request::SERVER, server.as_bytes());
    checked(authz.address, &check(vec![], call(1, "search"), vec![context])).await.0
}

/// The servers of a namespace that series are exported for.
async fn exported(authz: &Authz, namespace: &str) -> BTreeSet<String> {
    let (metrics, label) = (get(authz.metrics, "/metrics").await.text(), format!("namespace=\"{namespace}\",server=\""));
    let servers = metrics.lines().filter_map(|line| line.split_once(&label)?.1.split('"').next().map(str::to_owned));
    servers.collect()
}

#[tokio::test]
async fn each_object_of_a_namespace_is_followed_by_itself() {
    let (namespace, elsewhere) = (CLUSTER.namespace("asked"), CLUSTER.namespace("elsewhere"));
    let [one, two] = [("one", 1), ("two", 2)].map(|(name, calls)| named(&namespace, name, json!({"global": bucket(calls)})));
    let broken = named(&namespace, "broken", json!({"global": {"maxTokens": 0, "refillPeriod": "1m0s"}}));
    let foreign = named(&elsewhere, "foreign", json!({"global": bucket(1)}));
    for object in [&one, &two, &broken, &foreign] {
        CLUSTER.apply(object).expect_ok();
    }
    let upstream = Upstream::start().await;
    let authz = Authz::watching(CLUSTER.kubeconfig(), &namespace, &MEMORY);
    let route = |name: &str| {
        let server = format!("{namespace}/{name}");
        Envoy::start_with(upstream.address, authz.address, |config| config.replace("default/demo", &server))
    };
    let (to_one, to_two) = (route("one"), route("two"));
    let of = async |name: &str| status(&authz, &format!("{namespace}/{name}")).await;
    assert_passed(&ask(to_one.address, &[], call(1, "search")).await, "search");
    assert_denied(&ask(to_one.address, &[], call(2, "search")).await, 2, "global");
    assert_passed(&ask(to_two.address, &[], call(1, "search")).await, "search");
    // One that is broken from the start is unknown, and keeps nobody else out; one of another namespace is unknown.
    assert_eq!((of("broken").await, status(&authz, &format!("{elsewhere}/foreign")).await), (503, 503));
    assert!(authz.log().contains("TG006 spec.rateLimiting.global.maxTokens"), "{}", authz.log());

    // Changed: only this one is swapped.
    CLUSTER.apply(&with_limits(one.clone(), of_tool("costly"))).expect_ok();
    authz.wait_for_log("limits reloaded");
    assert_passed(&ask(to_one.address, &[], call(3, "costly")).await, "costly");
    assert_eq!(ask(to_one.address, &[], call(4, "costly")).await.json()["error"]["data"]["tool"], "costly");
    assert_passed(&ask(to_two.address, &[], call(2, "search")).await, "search");
    assert_denied(&ask(to_two.address, &[], call(3, "search")).await, 3, "global");

    // Broken: what was in force stays so.
    CLUSTER.apply(&with_limits(one.clone(), json!({"global": {"maxTokens": 0, "refillPeriod": "1m0s"}}))).expect_ok();
    authz.wait_for_log(&format!("MCPServer {namespace}/one"));
    assert_eq!(ask(to_one.address, &[], call(5, "costly")).await.status, 429);
    assert_passed(&ask(to_one.address, &[], call(6, "search")).await, "search");

    // Repaired, and the broken one too.
    CLUSTER.apply(&with_limits(one.clone(), of_tool("search"))).expect_ok();
    CLUSTER.apply(&with_limits(broken, json!({"global": bucket(1)}))).expect_ok();
    eventually("it is known", async || of("broken").await != 503).await;
    eventually("the limit of search is in force", async || of("one").await == 429).await;
    assert_passed(&ask(to_one.address, &[], call(7, "costly")).await, "costly");

    // Created, deleted, created again.
    CLUSTER.apply(&named(&namespace, "late", json!({"global": bucket(2)}))).expect_ok();
    eventually("the new one is known", async || of("late").await == 200).await;
    assert!(exported(&authz, &namespace).await.contains("two"));
    delete(&two);
    eventually("it is unknown", async || of("two").await == 503).await;
    assert!(!exported(&authz, &namespace).await.contains("two"));
    assert_eq!(of("late").await, 200, "the others are decided");
    CLUSTER.apply(&with_limits(two, of_tool("search"))).expect_ok();
    eventually("it is known again", async || of("two").await != 503).await;
    assert!(!authz.log().contains("panicked"), "{}", authz.log());
}

#[tokio::test]
async fn a_redis_that_says_nothing_holds_up_no_other_server() {
    let namespace = CLUSTER.namespace("silent");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    silent.set_nonblocking(true).expect("a socket");
    let of_silent = |name: &str| {
        let mut object = named(&namespace, name, json!({"global": bucket(1)}));
        object["spec"]["sessionStorage"]["address"] = json!(silent.local_addr().expect("bound").to_string());
        object
    };
    CLUSTER.apply(&of_silent("one")).expect_ok();
    let authz = Authz::watching(CLUSTER.kubeconfig(), &namespace, &["--on-store-error", "local"]);
    let other = named(&namespace, "other", json!({"global": bucket(1)}));
    CLUSTER.apply(&of_silent("two")).expect_ok();
    CLUSTER.apply(&other).expect_ok();
    let server = format!("{namespace}/other");
    eventually("it is known", async || status(&authz, &server).await != 503).await;
    assert!(silent.accept().is_err(), "it was not even asked");
    // The first call does, for as long as its deadline lets it.
    assert_eq!(status(&authz, &format!("{namespace}/one")).await, 200);
    eventually("it was asked", async || silent.accept().is_ok()).await;
}

#[tokio::test]
async fn a_whole_cluster_of_servers_comes_and_goes_in_bounded_memory() {
    const SERVERS: usize = 50;
    const MIB: u64 = 1024 * 1024;
    let namespaces = [CLUSTER.namespace("crowd"), CLUSTER.namespace("crowd")];
    let authz = Authz::watching(CLUSTER.kubeconfig(), "*", &[&MEMORY[..], &["--access-log", "none"]].concat());
    let mut after_first = 0;
    for round in 0..4 {
        let names: Vec<_> = (0..SERVERS).map(|at| format!("server-{round}-{at}")).collect();
        let items = names.iter().flat_map(|name| namespaces.iter().map(|namespace| named(namespace, name, json!({"global": bucket(1)}))));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()});
        CLUSTER.kubectl_with(&["create", "-f", "-"], &list.to_string()).expect_ok();
        for namespace in &namespaces {
            for name in &names {
                let server = format!("{namespace}/{name}");
                eventually(&server, async || status(&authz, &server).await == 200).await;
                assert_eq!(status(&authz, &server).await, 429, "{server} has its own bucket");
            }
            assert_eq!(exported(&authz, namespace).await, names.iter().cloned().collect());
        }
        for namespace in &namespaces {
            CLUSTER.kubectl(&["delete", "mcpservers", "--all", "-n", namespace, "--wait=false"]).expect_ok();
            let gone = format!("{namespace}/{}", names[SERVERS - 1]);
            eventually("the last is unknown", async || status(&authz, &gone).await == 503).await;
            eventually("no series is left", async || exported(&authz, namespace).await.is_empty()).await;
        }
        match round {
            0 => after_first = authz.memory(),
            _ => assert!(authz.memory() < after_first + 8 * MIB, "round {round}: {} bytes, {after_first} after the first", authz.memory()),
        }
    }
    assert!(authz.memory() < 100 * MIB, "{} bytes", authz.memory());
}
