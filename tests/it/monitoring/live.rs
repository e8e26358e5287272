//! A real Prometheus scrapes the webhook, two proxies, an authz behind Envoy and an audit under load: every panel shows something, no alert fires
//! until something is broken, and each alert fires when what it is for is broken.
//!
//! The rules are those that are shipped, with rates over 10 s and after 1 s instead of minutes; promtool's unit tests have the real times.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::AbortHandle,
};

use super::{names, panels, rules};
use crate::{
    apiserver::installed::install_oidc_configs,
    auth::{
        issuer::Issuer,
        signer::{AUDIENCE, Signer},
    },
    proxy::{bucket, call, posted, request, resource},
    support::{
        apiserver::{Cluster, Judging, Names, crds},
        authz::Authz,
        ca::Ca,
        envoy::Envoy,
        https::{self, Client, send_plain, whole},
        link::{Flow, Link},
        process::Process,
        prometheus::Prometheus,
        proxy::Proxy,
        redis::Server,
        serve::{Serve, address_after, command},
        time::{eventually, moment},
        upstream::Upstream,
    },
    webhook_https::{self, denied_review, good_review, object, review},
};

const DAY: i64 = 24 * 60 * 60;

/// Needs webhook configurations that the server writes to.
const ELSEWHERE: [&str; 1] = ["TollgateCaBundleMismatch"];

/// The shipped rules, faster.
fn quick_rules() -> String {
    let lines = rules().replace("[5m]", "[10s]").replace("[15m]", "[10s]");
    lines
        .lines()
        .map(|line| if line.trim_start().starts_with("for: ") { "        for: 1s\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

/// A query as Grafana sends it with everything selected.
fn as_sent(query: &str) -> String {
    query.replace("$__rate_interval", "10s").replace("$namespace", ".*").replace("$server", ".*")
}

/// The resource of a server: nothing but the costly tool is likely to be denied, and callers without a user skip a limit.
fn limits(server: &str) -> String {
    let limits = json!({"global": bucket(1_000_000), "perUser": bucket(9), "tools": [{"name": "costly", "global": bucket(1)}]});
    resource(limits).replace("\"demo\"", &format!("\"{server}\""))
}

/// Calls of tools, over and over, until it is aborted.
fn calls(proxy: SocketAddr, tools: &'static [&'static str]) -> AbortHandle {
    let rounds = async move {
        for id in 0.. {
            for tool in tools {
                // Without a token, or with a bad one.
                let headers = [("authorization", "Bearer garbage")];
                let headers = if *tool == "nobody" { &headers[..] } else { &[] };
                let _ = whole(send_plain(proxy, posted(headers, call(id, tool))).await).await;
            }
            moment().await;
        }
    };
    tokio::spawn(rounds).abort_handle()
}

/// Reviews of every kind, over and over, until it is aborted.
fn reviews(address: SocketAddr, ca: String) -> AbortHandle {
    let rounds = async move {
        let client = Client::new(address, &ca);
        let shared = review(object(json!({"shared": webhook_https::bucket()}))).to_string();
        loop {
            for (path, body) in [
                ("/validate", good_review()),
                ("/validate", denied_review()),
                ("/mutate", shared.clone()),
                ("/mutate?timeout=soon", String::new()),
            ] {
                client.post(path, body).await;
            }
            moment().await;
        }
    };
    tokio::spawn(rounds).abort_handle()
}

/// A review whose second half comes later, or never.
async fn halting(client: &Client, query: &str, rest_after: Option<std::time::Duration>) -> String {
    let (body, mut stream) = (good_review(), client.connect().await.expect("a handshake"));
    let head = format!(
        "POST /validate{query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(100);
    stream.write_all(format!("{head}{first}").as_bytes()).await.expect("written");
    if let Some(after) = rest_after {
        // The caller is slow: that is what is tested.
        tokio::time::sleep(after).await;
        stream.write_all(rest.as_bytes()).await.expect("written");
    }
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said).await;
    said
}

/// A server object of the cluster.
fn server(name: &str, limits: &Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": name, "namespace": "default"},
        "spec": {"image": "example.com/mcp:1", "sessionStorage": {"provider": "redis", "address": "redis:6379"}, "rateLimiting": limits},
    })
}

/// A `tollgate audit --watch` that writes conditions, and where its metrics are.
fn audit(cluster: &Cluster, folder: &TempDir) -> (Process, SocketAddr) {
    let args = ["audit", "--watch", "--write-conditions", "--metrics-listen", "127.0.0.1:0", "--kubeconfig"];
    let mut process = Process::start(command(folder).args(args).arg(cluster.kubeconfig()));
    let greeting = process.line();
    let Some(address) = address_after(&greeting, "http://") else { process.give_up("tollgate audit --watch") };
    process.ignore_stdout();
    (process, address)
}

/// A server with a certificate that is valid for so long.
fn serve_until(ca: &Ca, until: i64) -> Serve {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = ca.pair_valid(-2 * DAY, until);
    fs::write(folder.path().join("tls.crt"), cert).expect("written");
    fs::write(folder.path().join("tls.key"), key).expect("written");
    Serve::start_in(folder, &["--tls-cert", "tls.crt", "--tls-key", "tls.key"])
}

/// What has fired so far.
struct Watcher {
    prometheus: Prometheus,
    fired: BTreeSet<String>,
}

impl Watcher {
    /// Waits for these alerts; every other one that fires has to have fired before.
    async fn fires(&mut self, names: &[&str]) {
        eventually(&format!("{names:?} to fire"), async || {
            let firing = self.prometheus.firing().await;
            names.iter().all(|name| firing.contains(*name))
        })
        .await;
        self.fired.extend(names.iter().map(|name| (*name).to_owned()));
        let firing = self.prometheus.firing().await;
        let stray: Vec<_> = firing.difference(&self.fired).collect();
        assert!(stray.is_empty(), "{stray:?} fire with {names:?}");
    }

    async fn ends(&self, name: &str) {
        eventually(&format!("{name} to end"), async || !self.prometheus.firing().await.contains(name)).await;
    }

    /// Removes the queries that give a number.
    async fn answer(&self, unanswered: &mut Vec<(String, String)>) {
        let mut left = Vec::new();
        for (title, query) in unanswered.drain(..) {
            if self.prometheus.values(&as_sent(&query)).await.is_empty() {
                left.push((title, query));
            }
        }
        *unanswered = left;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make proof"]
async fn proof_every_panel_shows_something_and_every_fault_fires_its_alert() {
    let prometheus = Prometheus::start(&quick_rules()).await;
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    install_oidc_configs(&cluster);
    let deprecated = server("deprecated", &json!({"shared": bucket(1)}));
    cluster.apply(&deprecated).expect_ok();
    let folder = tempfile::tempdir().expect("a folder");
    let (_audit, audit_metrics) = audit(&cluster, &folder);
    prometheus.scrape_honoring("tollgate-system", "audit", audit_metrics);

    let webhook = Serve::start(&[]);
    prometheus.scrape("tollgate-system", "webhook", webhook.metrics);
    let client = Client::new(webhook.address, &webhook.ca());
    let reviewing = reviews(webhook.address, webhook.ca());

    let (redis, upstream, issuer) = (Server::start().await, Upstream::start().await, Issuer::start(&[&Signer::es256("e")]).await);
    let link = Link::to(upstream.address).await;
    let to_redis = ["--redis-url", &redis.url(), "--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE, "--auth", "optional"];
    let github = Proxy::start(&upstream.url(), &limits("github"), &[&to_redis[..], &["--on-store-error", "open"]].concat());
    let behind_link = format!("http://{}/mcp", link.address);
    let fetch = Proxy::start(&behind_link, &limits("fetch"), &[&to_redis[..], &["--on-store-error", "closed"]].concat());
    for (pod, proxy) in [("github-1", &github), ("fetch-1", &fetch)] {
        prometheus.scrape("default", pod, proxy.metrics);
    }
    let authz = Authz::start(&[&limits("demo")], &to_redis);
    let envoy = Envoy::start(upstream.address, authz.address);
    prometheus.scrape_honoring("tollgate-system", "authz", authz.metrics);
    let _stream = (send_plain(github.address, request("GET", "/mcp", &[], "")).await, upstream.stream().await);
    const MIX: &[&str] = &["search", "search", "costly", "search", "nobody"];
    let mut calling = [github.address, fetch.address, envoy.address].map(|address| calls(address, MIX));
    for (file, server) in [(github.file(), "github"), (authz.file(0), "demo")] {
        fs::write(file, limits(server).replace("1000000", "2000000")).expect("ours");
    }
    github.wait_for_log("limits reloaded");
    authz.wait_for_log("limits reloaded");

    // Under load, everything shows something but the errors that there are not, and no alert fires.
    let mut watcher = Watcher { prometheus, fired: BTreeSet::new() };
    let mut unanswered: Vec<(String, String)> =
        panels().into_iter().flat_map(|(title, queries)| queries.into_iter().map(move |query| (title.clone(), query))).collect();
    assert!(unanswered.len() >= 30, "{unanswered:?}");
    let mut left = String::new();
    let answered = std::panic::AssertUnwindSafe(eventually("a number from every panel's queries", async || {
        watcher.answer(&mut unanswered).await;
        left = format!("{unanswered:?}");
        unanswered.iter().all(|(title, _)| title == "Store errors")
    }));
    let answered = futures_util::FutureExt::catch_unwind(answered).await;
    assert!(answered.is_ok(), "these say nothing: {left}");
    eventually("no alert to fire", async || watcher.prometheus.firing().await.is_empty()).await;

    redis.kill();
    watcher.fires(&["TollgateStoreDown", "TollgateFailingOpen"]).await;
    eventually("the errors of the store", async || {
        watcher.answer(&mut unanswered).await;
        unanswered.is_empty()
    })
    .await;
    redis.restart().await;
    watcher.ends("TollgateStoreDown").await;
    watcher.ends("TollgateFailingOpen").await;

    calling[0].abort();
    calling[0] = calls(github.address, &["costly"]);
    watcher.fires(&["TollgateDenialsHigh"]).await;
    link.set(Flow::Refused);
    link.cut();
    watcher.fires(&["TollgateUpstreamFailing"]).await;
    fs::write(github.file(), limits("github").replace("1000000", "0")).expect("ours");
    watcher.fires(&["TollgateLimitsNotFollowed"]).await;
    calling.iter().for_each(AbortHandle::abort);
    drop(fetch);
    watcher.fires(&["TollgateProxyDown"]).await;
    drop((envoy, authz));
    watcher.fires(&["TollgateAuthzDown"]).await;

    cluster.apply(&server("wrong", &json!({"global": bucket(0)}))).expect_ok();
    watcher.fires(&["TollgateLimitsInvalid"]).await;
    let condition = json!({"type": "RateLimitConfigValid", "status": "False", "reason": "Other", "message": "another controller's"});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let to = ["patch", "mcpserver", "deprecated", "--subresource=status", "--type=merge", "--field-manager=operator", "-p", &patch];
    cluster.kubectl(&to).expect_ok();
    watcher.fires(&["TollgateConditionConflict"]).await;

    let ca = Ca::root("root");
    let (soon, expired) = (serve_until(&ca, DAY), serve_until(&ca, -DAY));
    watcher.prometheus.scrape("tollgate-system", "soon", soon.metrics);
    watcher.fires(&["TollgateCertificateExpiresSoon"]).await;
    watcher.prometheus.scrape("tollgate-system", "expired", expired.metrics);
    watcher.fires(&["TollgateCertificateInvalid"]).await;
    reviewing.abort();
    let failing = async {
        loop {
            let said = halting(&client, "?timeout=10ms", None).await;
            assert!(said.starts_with("HTTP/1.1 504 "), "{said}");
            moment().await;
        }
    };
    tokio::select! { () = failing => {}, () = watcher.fires(&["TollgateAdmissionFailing"]) => {} }
    let slow = async {
        loop {
            let said = halting(&client, "", Some(std::time::Duration::from_millis(1500))).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        }
    };
    tokio::select! { () = slow => {}, () = watcher.fires(&["TollgateAdmissionSlow"]) => {} }
    drop((webhook, soon, expired));
    watcher.fires(&["TollgateDown"]).await;
    let unfired: Vec<_> = names().into_iter().filter(|name| !watcher.fired.contains(name)).collect();
    assert_eq!(unfired, ELSEWHERE, "each alert fired");
    assert_eq!(https::get(github.metrics, "/readyz").await.status, 200, "{}", github.log());
}
