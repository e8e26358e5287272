//! Many servers in one process: chosen by the route, changed while others are decided.

use serde_json::{Value, json};

use super::{ask, send};
use crate::{
    proxy::{assert_denied, assert_passed, assert_refused, bucket, call, request, resource},
    support::{authz::Authz, envoy::Envoy, https::get, serve::command, time::eventually, upstream::Upstream},
};

fn named(name: &str, limits: Value) -> String {
    resource(limits).replace("\"demo\"", &format!("{name:?}"))
}

/// Envoy with a route for this server.
fn routed(upstream: &Upstream, authz: &Authz, server: &str) -> Envoy {
    Envoy::start_with(upstream.address, authz.address, |config| config.replace("default/demo", server))
}

#[tokio::test]
async fn a_route_names_its_server_and_limits_change_under_way() {
    let upstream = Upstream::start().await;
    let one = named("one", json!({"global": bucket(1)}));
    let authz = Authz::start(&[&one, &named("two", json!({"global": bucket(2)}))], &["--store", "memory"]);
    let [to_one, to_two] = ["default/one", "default/two"].map(|server| routed(&upstream, &authz, server));
    assert_passed(&ask(to_one.address, &[], call(1, "search")).await, "search");
    assert_denied(&ask(to_one.address, &[], call(2, "search")).await, 2, "global");
    for id in 1..3 {
        assert_passed(&ask(to_two.address, &[], call(id, "search")).await, "search");
    }
    assert_denied(&ask(to_two.address, &[], call(3, "search")).await, 3, "global");
    let metrics = get(authz.metrics, "/metrics").await.text();
    for line in [
        r#"tollgate_authz_requests_total{namespace="default",server="one",outcome="denied",status="429"} 1"#,
        r#"tollgate_authz_requests_total{namespace="default",server="two",outcome="allowed",status="200"} 2"#,
        r#"tollgate_rate_limit_calls_total{namespace="default",server="two",decision="rejected",source="store"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // Broken limits leave the old ones; good ones take effect, and the other server is not touched.
    std::fs::write(authz.file(0), named("one", json!({"global": {"maxTokens": 0, "refillPeriod": "1m"}}))).expect("the folder is ours");
    authz.wait_for_log("TG006");
    assert_eq!(ask(to_one.address, &[], call(3, "search")).await.status, 429);
    std::fs::write(authz.file(0), named("one", json!({"tools": [{"name": "search", "global": bucket(1)}]}))).expect("the folder is ours");
    authz.wait_for_log("limits reloaded");
    assert_passed(&ask(to_one.address, &[], call(4, "other")).await, "other");
    assert_eq!(ask(to_two.address, &[], call(4, "search")).await.status, 429);
    // A server that is gone is unknown, and comes back with the file.
    std::fs::remove_file(authz.file(0)).expect("the folder is ours");
    authz.wait_for_log("no longer in the configuration");
    eventually("the server is unknown", async || ask(to_one.address, &[], call(5, "other")).await.status == 503).await;
    let metrics = get(authz.metrics, "/metrics").await.text();
    assert!(!metrics.contains(r#"server="one""#), "its series are gone: {metrics}");
    assert!(
        metrics.contains(r#"tollgate_authz_requests_total{namespace="default",server="two",outcome="denied",status="429"} 2"#),
        "{metrics}"
    );
    std::fs::write(authz.file(0), one).expect("the folder is ours");
    eventually("the server is known again", async || ask(to_one.address, &[], call(6, "other")).await.status == 429).await;
}

#[tokio::test]
async fn an_unknown_server_is_refused_or_allowed_counted_and_logged_once() {
    let upstream = Upstream::start().await;
    for (policy, status) in [("deny", 503), ("allow", 200)] {
        let limits = resource(json!({"global": bucket(1)}));
        let authz = Authz::start(&[&limits], &["--store", "memory", "--on-unknown-server", policy]);
        let envoy = routed(&upstream, &authz, "default/nobody");
        for id in 1..4 {
            let answer = ask(envoy.address, &[], call(id, "search")).await;
            assert_eq!((answer.status, &answer.json()["id"]), (status, &json!(id)), "{policy}: {}", answer.text());
            if policy == "deny" {
                assert_refused(&answer, 503, "the limits of this server are not known");
            }
        }
        let session = ask(envoy.address, &[("mcp-protocol-version", "2025-11-25")], call(9, "search")).await;
        assert_eq!(session.status, 200, "a session survives it");
        assert!(get(authz.metrics, "/metrics").await.text().contains("tollgate_authz_unknown_servers_total 4"));
        assert_eq!(authz.log().matches("default/nobody").count(), 1, "{}", authz.log());
    }
}

#[tokio::test]
async fn the_only_server_needs_no_name_and_middleware_json_is_read() {
    let upstream = Upstream::start().await;
    let middleware = json!({"namespace": "default", "server_name": "demo", "config": {"shared": bucket(1)}}).to_string();
    let authz = Authz::start(&[&middleware], &["--store", "memory"]);
    let envoy = Envoy::start_with(upstream.address, authz.address, |config| {
        config.replace("context_extensions: {tollgate.dev/server: default/demo}", "context_extensions: {}")
    });
    assert_passed(&ask(envoy.address, &[], call(1, "search")).await, "search");
    assert_denied(&ask(envoy.address, &[], call(2, "search")).await, 2, "global");
    assert_eq!(send(envoy.address, request("DELETE", "/mcp", &[], "")).await.status, 204);
}

#[test]
fn a_start_that_cannot_work_says_why() {
    let refused = |resource: &str, args: &[&str]| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yaml"), resource).expect("the folder is ours");
        let listen = ["authz", "-f", "a.yaml", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
        let output = command(&folder).args(listen).args(args).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let good = resource(json!({"perUser": bucket(1)}));
    let (code, log) = refused(&good, &["--store", "memory", "--user-header", "x-user"]);
    assert!(code == Some(2) && log.contains("--user-header-from"), "{code:?} {log}");
    let (code, log) = refused(&good.replace("\"maxTokens\":1", "\"maxTokens\":0"), &["--store", "memory"]);
    assert!(code == Some(1) && log.contains("TG006"), "{code:?} {log}");
    let (code, log) = refused(&good.replace("\"demo\"", "\"a/b\""), &["--store", "memory"]);
    assert!(code == Some(2) && log.contains("has a slash"), "{code:?} {log}");
    let (code, log) = refused(&format!("{good}\n---\n{good}"), &["--store", "memory"]);
    assert!(code == Some(2) && log.contains("as well"), "{code:?} {log}");
}
