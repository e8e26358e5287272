//! The service killed, stopped and drained; certificates replaced; health.

use std::time::Duration;

use serde_json::json;

use super::{Behind, ask};
use crate::{
    proxy::{assert_passed, bucket, call, resource},
    support::{authz::Authz, ca::Ca, envoy::Envoy, https::get, time::eventually, upstream::Upstream},
};

#[tokio::test]
async fn killed_or_hung_envoys_own_policy_decides() {
    let mut behind = Behind::limited(5, &[]).await;
    assert_passed(&behind.ask(&[], call(1, "search")).await, "search");
    behind.authz.signal("STOP");
    assert_eq!(behind.ask(&[], call(2, "search")).await.status, 503, "failure_mode_allow: false, after Envoy's timeout");
    behind.authz.signal("CONT");
    eventually("it decides again", async || behind.ask(&[], call(3, "search")).await.status == 200).await;
    behind.authz.signal("KILL");
    behind.authz.wait();
    assert_eq!(behind.ask(&[], call(4, "search")).await.status, 503);
    let allowing = Envoy::start_with(behind.upstream.address, behind.authz.address, |config| {
        config.replace("failure_mode_allow: false", "failure_mode_allow: true")
    });
    assert_passed(&ask(allowing.address, &[], call(5, "search")).await, "search");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_call() {
    let mut behind = Behind::limited(100_000, &["--drain", "2s"]).await;
    let address = behind.envoy.address;
    assert_passed(&behind.ask(&[], call(0, "search")).await, "search");
    let calling = tokio::spawn(async move {
        for id in 0..40 {
            assert_passed(&ask(address, &[], call(id, "search")).await, "search");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    behind.authz.signal("TERM");
    eventually("it is not ready", async || get(behind.authz.metrics, "/readyz").await.status == 503).await;
    calling.await.expect("no call failed");
    assert!(behind.authz.wait().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_without_a_failed_call() {
    let (ca, upstream, folder) = (Ca::root("root"), Upstream::start().await, tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let place = |pair: &(String, String)| {
        std::fs::write(path("tls.crt"), &pair.0).expect("the folder is ours");
        std::fs::write(path("tls.key"), &pair.1).expect("the folder is ours");
    };
    place(&ca.pair());
    std::fs::write(path("ca.crt"), &ca.pem).expect("the folder is ours");
    let client = ca.client_pair("envoy", &[]);
    std::fs::write(path("client.crt"), &client.0).expect("the folder is ours");
    std::fs::write(path("client.key"), &client.1).expect("the folder is ours");
    let (cert, key, client_ca) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
    let tls = ["--store", "memory", "--tls-cert", &cert, "--tls-key", &key, "--client-ca", &client_ca, "--client-name", "envoy"];
    let users = ["--user-header", "x-user", "--user-header-from", "envoy"];
    let limits = resource(json!({"global": bucket(100_000), "perUser": bucket(100_000)}));
    let authz = Authz::start(&[&limits], &[&tls[..], &users].concat());
    let transport = format!(
        "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:\n        \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n        sni: localhost\n        \
         common_tls_context:\n          validation_context: {{trusted_ca: {{filename: {}}}}}\n          tls_certificates: \
         [{{certificate_chain: {{filename: {}}}, private_key: {{filename: {}}}}}]\n",
        path("ca.crt"),
        path("client.crt"),
        path("client.key"),
    );
    // A new connection every few requests, so that new certificates are used.
    let envoy = Envoy::start_with(upstream.address, authz.address, |config| {
        let config = config.replace("    connect_timeout: 0.25s\n", &format!("    connect_timeout: 5s\n{transport}"));
        let config = config.replace("timeout: 0.25s}", "timeout: 5s}");
        config
            .replace("explicit_http_config", "common_http_protocol_options: {max_requests_per_connection: 5}\n        explicit_http_config")
    });
    for round in 0..3 {
        for id in 0..60 {
            let answer = ask(envoy.address, &[("x-user", "alice")], call(id, "search")).await;
            assert_eq!(answer.status, 200, "round {round}: {} {} {}", answer.text(), envoy.log(), authz.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
            if id == 10 {
                place(&ca.pair());
            }
        }
    }
    assert!(authz.log().matches("certificates replaced").count() >= 2, "{}", authz.log());
}
