//! The limits of an object in a real cluster: found at the start, followed while the proxy runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::LazyLock,
    time::Duration,
};

use hyper::{Response, body::Incoming};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, ask, assert_denied, assert_passed, bucket, call, request, sample, until_limits_current};
use crate::{
    apiserver::installed::install_oidc_configs,
    auth::{
        issuer::Issuer,
        signer::{AUDIENCE, Signer},
    },
    support::{
        apiserver::{Cluster, Judging, Names, crds, names},
        ca::Ca,
        https::{get, send_plain},
        link::{Flow, Link},
        port::free_port,
        proxy::Proxy,
        redis::Setup,
        serve::{command, wait_until},
        upstream::Upstream,
    },
};

/// A cluster that refuses no limits, with sign-in configs.
pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    install_oidc_configs(&cluster);
    wait_until("sign-in configs are served", || cluster.kubectl(&["get", "mcpoidcconfigs", "-A"]).ok);
    cluster
});

const MEMORY: &[&str] = &["--store", "memory"];

pub fn server(namespace: &str, limits: Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {"image": "example.com/mcp:1", "sessionStorage": {"provider": "redis", "address": "127.0.0.1:1"}, "rateLimiting": limits},
    })
}

/// A namespace with a server of these limits.
fn serving(limits: Value) -> (String, Value) {
    let namespace = CLUSTER.namespace("proxied");
    let object = server(&namespace, limits);
    CLUSTER.apply(&object).expect_ok();
    (namespace, object)
}

pub fn with_limits(mut object: Value, limits: Value) -> Value {
    object["spec"]["rateLimiting"] = limits;
    object
}

pub fn delete(object: &Value) {
    let (kind, name, namespace) = names(object);
    CLUSTER.kubectl(&["delete", &kind, &name, "-n", &namespace]).expect_ok();
}

fn watching(upstream: &Upstream, namespace: &str) -> Proxy {
    Proxy::watching(CLUSTER.kubeconfig(), &format!("{namespace}/demo"), &upstream.url(), MEMORY)
}

/// That a proxy does not start, and why.
#[track_caller]
fn assert_not_started(kubeconfig: &Path, args: &[&str], code: i32, texts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = not_started(&folder, kubeconfig, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for text in texts {
        assert!(stderr.contains(text), "{text:?} is not in: {stderr}");
    }
}

fn not_started(folder: &TempDir, kubeconfig: &Path, args: &[&str]) -> Output {
    not_started_with(folder, kubeconfig, &[MEMORY, args].concat())
}

/// The same, counting wherever it would.
fn not_started_with(folder: &TempDir, kubeconfig: &Path, args: &[&str]) -> Output {
    let addresses = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1/mcp"];
    let mut command = command(folder);
    command.arg("proxy").args(addresses).args(args).env("KUBECONFIG", kubeconfig);
    command.output().expect("the binary starts")
}

/// The administrator's kubeconfig, with another address.
fn by_way_of(address: impl std::fmt::Display, folder: &TempDir) -> PathBuf {
    let text = fs::read_to_string(CLUSTER.kubeconfig()).expect("written");
    let (before, rest) = text.split_once("https://").expect("an address");
    let (_, after) = rest.split_once('"').expect("quoted");
    let path = folder.path().join("kubeconfig");
    fs::write(&path, format!("{before}https://{address}\"{after}")).expect("the folder is ours");
    path
}

async fn next(response: &mut Response<Incoming>) -> String {
    let frame = tokio::time::timeout(PATIENCE, http_body_util::BodyExt::frame(response.body_mut())).await.expect("in time");
    let data = frame.expect("it goes on").expect("it goes on").into_data().expect("data");
    String::from_utf8(data.to_vec()).expect("UTF-8")
}

fn count(proxy: &Proxy, text: &str) -> usize {
    proxy.log().matches(text).count()
}

#[tokio::test]
async fn a_change_in_the_cluster_comes_into_force_and_neither_streams_nor_buckets_are_lost() {
    let upstream = Upstream::start().await;
    let (namespace, object) = serving(json!({"global": bucket(3)}));
    let proxy = watching(&upstream, &namespace);
    let mut client = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
    let stream = upstream.stream().await;
    for id in 1..=2 {
        assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
    }
    let limits = json!({"global": bucket(3), "tools": [{"name": "costly", "global": bucket(1)}]});
    CLUSTER.apply(&with_limits(object.clone(), limits)).expect_ok();
    proxy.wait_for_log("limits reloaded");
    assert_passed(&ask(&proxy, &[], call(3, "costly")).await, "costly");
    assert_denied(&ask(&proxy, &[], call(4, "search")).await, 4, "global");
    stream.send("data: still here\n\n");
    assert_eq!(next(&mut client).await, "data: still here\n\n");

    CLUSTER.apply(&with_limits(object, json!({"tools": [{"name": "costly", "global": bucket(1)}]}))).expect_ok();
    wait_until("the server's limit is gone", || count(&proxy, "limits reloaded") == 2);
    let denied = ask(&proxy, &[], call(5, "costly")).await;
    assert_denied(&denied, 5, "global");
    assert_eq!(denied.json()["error"]["data"]["tool"], "costly", "its bucket is as it was");
    assert_passed(&ask(&proxy, &[], call(6, "search")).await, "search");
    assert!(!stream.is_closed());
}

#[tokio::test]
async fn limits_that_cannot_work_leave_the_old_ones_in_force_and_are_told_once() {
    let upstream = Upstream::start().await;
    let (namespace, object) = serving(json!({"global": bucket(1)}));
    let proxy = watching(&upstream, &namespace);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    CLUSTER.apply(&with_limits(object.clone(), json!({"global": {"maxTokens": 0, "refillPeriod": "1m0s"}}))).expect_ok();
    proxy.wait_for_log("keeping the current limits");
    until_limits_current(&proxy, false).await;
    assert!(proxy.log().contains("TG006 spec.rateLimiting.global.maxTokens"), "{}", proxy.log());
    CLUSTER.kubectl(&["annotate", "mcpservers", "demo", "-n", &namespace, "touched=yes"]).expect_ok();
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");

    let mut moved = with_limits(object.clone(), json!({"global": bucket(50)}));
    moved["spec"]["sessionStorage"]["address"] = json!("127.0.0.1:2");
    CLUSTER.apply(&moved).expect_ok();
    proxy.wait_for_log("a change of server, Redis or authentication needs a restart");
    CLUSTER.apply(&with_limits(object, json!({"tools": [{"name": "costly", "global": bucket(1)}]}))).expect_ok();
    proxy.wait_for_log("limits reloaded");
    assert_eq!(count(&proxy, "keeping the current limits"), 2, "{}", proxy.log());
    until_limits_current(&proxy, true).await;
    let metrics = get(proxy.metrics, "/metrics").await.text();
    for (result, count) in [("refused", 2.0), ("used", 1.0)] {
        let series = format!("tollgate_proxy_reloads_total{{namespace=\"{namespace}\",server=\"demo\",result=\"{result}\"}}");
        assert_eq!(sample(&metrics, &series), Some(count), "{series}: {metrics}");
    }
}

#[tokio::test]
async fn a_deleted_object_stays_in_force_until_it_is_there_again() {
    let upstream = Upstream::start().await;
    let (namespace, object) = serving(json!({"global": bucket(1)}));
    let proxy = watching(&upstream, &namespace);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    delete(&object);
    proxy.wait_for_log("deleted in the cluster; keeping its last state");
    until_limits_current(&proxy, false).await;
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
    CLUSTER.apply(&with_limits(object, json!({"tools": [{"name": "costly", "global": bucket(1)}]}))).expect_ok();
    proxy.wait_for_log("limits reloaded");
    until_limits_current(&proxy, true).await;
    assert_passed(&ask(&proxy, &[], call(3, "search")).await, "search");
}

// The link has to run while the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cluster_that_is_away_is_caught_up_with() {
    let upstream = Upstream::start().await;
    let (namespace, object) = serving(json!({"global": bucket(1)}));
    let text = fs::read_to_string(CLUSTER.kubeconfig()).expect("written");
    let address = text.split("https://").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok()).expect("an address");
    let link = Link::to(address).await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::watching(&by_way_of(link.address, &folder), &format!("{namespace}/demo"), &upstream.url(), MEMORY);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");

    // A watch that merely breaks is nothing to tell.
    link.cut();
    CLUSTER.apply(&with_limits(object.clone(), json!({"global": bucket(1), "tools": [{"name": "a", "global": bucket(1)}]}))).expect_ok();
    proxy.wait_for_log("limits reloaded");
    assert_eq!(count(&proxy, "cannot read the object"), 0, "{}", proxy.log());

    link.set(Flow::Refused);
    link.cut();
    proxy.wait_for_log("cannot read the object in the cluster");
    CLUSTER.apply(&with_limits(object, json!({"tools": [{"name": "a", "global": bucket(1)}]}))).expect_ok();
    until_limits_current(&proxy, false).await;
    // Long enough for a second try that fails.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
    link.set(Flow::Free);
    wait_until("it catches up", || count(&proxy, "limits reloaded") == 2);
    until_limits_current(&proxy, true).await;
    assert_passed(&ask(&proxy, &[], call(3, "search")).await, "search");
    assert_eq!((count(&proxy, "cannot read the object"), count(&proxy, "seen in the cluster again")), (1, 1), "{}", proxy.log());
    let tries = ["ERROR", " kube_client::client: ", "kube_runtime"].map(|of| count(&proxy, of));
    assert_eq!(tries, [0, 0, 0], "{}", proxy.log());
}

#[test]
fn what_cannot_be_begun_with_is_told() {
    let (namespace, object) = serving(json!({"global": {"maxTokens": 0, "refillPeriod": "1m0s"}}));
    let named = format!("{namespace}/demo");
    let admin = CLUSTER.kubeconfig();
    let says = format!("error: MCPServer {named}: the limits cannot work:\n  TG006 spec.rateLimiting.global.maxTokens: ");
    assert_not_started(admin, &["--watch", &named], 1, &[&says]);
    let says = format!("the cluster has no MCPServer or VirtualMCPServer {namespace}/other; kubectl get mcpservers");
    assert_not_started(admin, &["--watch", &format!("{namespace}/other")], 2, &[&says]);
    let says = format!("the cluster has no VirtualMCPServer {named}");
    assert_not_started(admin, &["--watch", &format!("virtualmcpserver/{named}")], 2, &[&says]);
    CLUSTER.apply(&with_limits(object, Value::Null)).expect_ok();
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = by_way_of(format!("127.0.0.1:{}", free_port()), &folder);
    assert_not_started(&nobody, &["--watch", &named], 2, &["cannot ask what of toolhive.stacklok.dev is served", "refused"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = by_way_of(silent.local_addr().expect("bound"), &folder);
    assert_not_started(&nobody, &["--watch", &named], 2, &["the cluster has not answered within 10s"]);
    assert_not_started(admin, &["--watch", &named, "--context", "gone"], 2, &["gone"]);
}

#[test]
fn either_a_file_or_an_object_is_named_and_in_full() {
    let nowhere = Path::new("/dev/null");
    let refused = |args: &[&str], texts: &[&str]| assert_not_started(nowhere, args, 2, texts);
    refused(&[], &["required", "--file <FILE>|--watch <[KIND/]NAMESPACE/NAME>"]);
    refused(&["-f", "a.yaml", "--watch", "a/b"], &["--file <FILE>", "cannot be used with", "--watch"]);
    refused(&["--watch", "a/b", "--name", "b"], &["--watch", "cannot be used with", "--name"]);
    refused(&["--watch", "a/b", "--namespace", "a"], &["--watch", "cannot be used with", "--namespace"]);
    refused(&["-f", "a.yaml", "--kubeconfig", "k"], &["--kubeconfig <FILE>", "cannot be used with", "--file <FILE>"]);
    refused(
        &["-f", "a.yaml", "--redis-password-for", "a:1"],
        &["--redis-password-for <HOST:PORT>", "cannot be used with", "--file <FILE>"],
    );
    refused(&["-f", "a.yaml", "--allow-object-token-path"], &["--allow-object-token-path", "cannot be used with", "--file <FILE>"]);
    for bad in ["redis", "redis://redis:6379", ":6379", "redis:0", "redis:x"] {
        refused(&["--watch", "a/b", "--redis-password-for", bad], &["write HOST:PORT, as in sessionStorage.address"]);
    }
    refused(&["--watch", "github"], &["whose namespace? Write NAMESPACE/NAME, such as default/github"]);
    refused(&["--watch", "a/b/c/d"], &["too many parts"]);
    refused(&["--watch", "Pod/a/b"], &["\"Pod\" is not a kind with limits: use MCPServer or VirtualMCPServer"]);
    for bad in ["a/", "/b", "a/b?c", "a/B", "MCPServer/a/.."] {
        refused(&["--watch", bad], &["is not an object name: use lower case letters and digits, with - and . between them"]);
    }
}

#[tokio::test]
async fn of_two_kinds_with_one_name_one_is_chosen() {
    let upstream = Upstream::start().await;
    let (namespace, object) = serving(json!({"global": bucket(1)}));
    let mut other = with_limits(object, json!({"global": bucket(2)}));
    other["kind"] = json!("VirtualMCPServer");
    other["spec"]["image"] = Value::Null;
    CLUSTER.apply(&other).expect_ok();
    let named = format!("{namespace}/demo");
    let choice = format!("choose with --watch MCPServer/{named} or --watch VirtualMCPServer/{named}");
    assert_not_started(CLUSTER.kubeconfig(), &["--watch", &named], 2, &[&format!("there are two servers {named}: {choice}")]);
    for (kind, calls) in [("MCPServer", 1), ("virtualmcpservers", 2)] {
        let proxy = Proxy::watching(CLUSTER.kubeconfig(), &format!("{kind}/{named}"), &upstream.url(), MEMORY);
        for id in 1..=calls {
            assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
        }
        assert_denied(&ask(&proxy, &[], call(9, "search")).await, 9, "global");
    }
}

// The issuer has to run while the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn callers_sign_in_as_the_object_says_by_another() {
    let upstream = Upstream::start().await;
    let key = Signer::es256("key");
    let issuer = Issuer::start(&[&key]).await;
    let namespace = CLUSTER.namespace("signed-in");
    let mut object = server(&namespace, json!({"perUser": bucket(1)}));
    object["spec"]["oidcConfigRef"] = json!({"name": "corp", "audience": AUDIENCE});
    CLUSTER.apply(&object).expect_ok();
    let named = format!("{namespace}/demo");
    let says = "spec.oidcConfigRef.name names the MCPOIDCConfig \"corp\", which is not there";
    assert_not_started(CLUSTER.kubeconfig(), &["--watch", &named], 2, &["add --oidc-issuer URL, or disable authentication", says]);
    let mut config = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig",
        "metadata": {"name": "corp", "namespace": namespace},
        "spec": {"type": "inline", "inline": {"audience": "unused"}},
    });
    CLUSTER.apply(&config).expect_ok();
    assert_not_started(CLUSTER.kubeconfig(), &["--watch", &named], 2, &[&format!("MCPOIDCConfig {namespace}/corp says no issuer")]);
    config["spec"]["inline"] = json!({"issuer": issuer.url, "insecureAllowHTTP": true});
    CLUSTER.apply(&config).expect_ok();

    let proxy = Proxy::watching(CLUSTER.kubeconfig(), &named, &upstream.url(), MEMORY);
    assert_eq!(ask(&proxy, &[], call(1, "search")).await.status, 401);
    for (id, user) in [(2, "alice"), (4, "bob")] {
        let token = format!("Bearer {}", issuer.token(&key, user));
        assert_passed(&ask(&proxy, &[("authorization", &token)], call(id, "search")).await, "search");
        assert_denied(&ask(&proxy, &[("authorization", &token)], call(id + 1, "search")).await, id + 1, "perUser");
    }
    // Other limits need no other sign-in; another sign-in needs a restart.
    CLUSTER.apply(&with_limits(object, json!({"perUser": bucket(1), "tools": [{"name": "a", "global": bucket(1)}]}))).expect_ok();
    proxy.wait_for_log("limits reloaded");
    delete(&config);
    proxy.wait_for_log("deleted in the cluster; keeping its last state");
    until_limits_current(&proxy, false).await;
    config["spec"]["inline"]["issuer"] = json!("https://elsewhere.example");
    CLUSTER.apply(&config).expect_ok();
    proxy.wait_for_log("a change of server, Redis or authentication needs a restart");
    assert_eq!(ask(&proxy, &[], call(6, "search")).await.status, 401);
}

/// A person who may write the object does not run the proxy, so the object sends neither its files nor its service account token anywhere.
#[test]
fn a_watched_object_chooses_neither_a_file_nor_a_receiver_of_the_service_account_token() {
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let namespace = CLUSTER.namespace("chosen");
    let mut object = server(&namespace, json!({"perUser": bucket(1)}));
    object["spec"]["oidcConfigRef"] = json!({"name": "corp", "audience": AUDIENCE});
    CLUSTER.apply(&object).expect_ok();
    let named = format!("{namespace}/demo");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, Ca::root("issuer").pem).expect("the folder is ours");
    let ca = ca.display().to_string();
    let config_of = |spec: &Value| {
        let config = json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig",
            "metadata": {"name": "corp", "namespace": namespace}, "spec": spec,
        });
        CLUSTER.apply(&config).expect_ok();
    };
    let says_of = |spec: Value, args: &[&str], says: &str| {
        config_of(&spec);
        assert_not_started(CLUSTER.kubeconfig(), &[&["--watch", &named, "--oidc-ca", &ca], args].concat(), 2, &[says]);
    };
    let inline = |path: &str| json!({"type": "inline", "inline": {"issuer": "https://evil.example", "jwksAuthTokenPath": path}});
    let allow = ["--allow-object-token-path"];
    let says = "spec.inline.jwksAuthTokenPath names a file to send to the issuer as a token";
    says_of(inline("/etc/passwd"), &[], says);
    says_of(inline(token), &[], says);
    says_of(inline("/etc/passwd"), &allow, "spec.inline.jwksAuthTokenPath is \"/etc/passwd\": in a watched object it may only be");
    let says = "is not the cluster's own API server, which alone may receive the service account token";
    says_of(inline(token), &allow, says);
    for evil in [json!({"issuer": "https://evil.example", "useClusterAuth": true}), json!({"jwksUrl": "https://evil.example/keys"})] {
        says_of(json!({"type": "kubernetesServiceAccount", "kubernetesServiceAccount": evil}), &[], says);
    }
    let mut named_issuer = inline(token);
    named_issuer["inline"]["issuer"] = json!("https://kubernetes.default.svc");
    named_issuer["inline"]["jwksUrl"] = json!("https://evil.example/keys");
    says_of(named_issuer.clone(), &allow, says);

    // The API server itself may receive it. No pod runs this, so there is no token to read.
    named_issuer["inline"].as_object_mut().expect("a map").remove("jwksUrl");
    config_of(&named_issuer);
    let args = [MEMORY, &allow, &["--oidc-ca", &ca]].concat();
    let proxy = Proxy::watching(CLUSTER.kubeconfig(), &named, "http://127.0.0.1:1/mcp", &args);
    proxy.wait_for_log(&format!("cannot read {token}"));
}

/// The same for Redis: its password goes only to addresses that the operator lists.
#[tokio::test]
async fn a_watched_object_does_not_choose_the_receiver_of_the_redis_password() {
    let redis = Setup::default().password("hunter2").start().await;
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    stranger.set_nonblocking(true).expect("it can");
    let upstream = Upstream::start().await;
    let named = |address: std::net::SocketAddr, tls: Value| {
        let namespace = CLUSTER.namespace("stored");
        let mut object = server(&namespace, json!({"global": bucket(1)}));
        object["spec"]["sessionStorage"]["address"] = json!(address.to_string());
        object["spec"]["sessionStorage"]["tls"] = tls;
        CLUSTER.apply(&object).expect_ok();
        format!("{namespace}/demo")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "hunter2\n").expect("the folder is ours");
    let password = ["--redis-password-file", password.to_str().expect("UTF-8")];
    let own = redis.address().to_string();

    let address = stranger.local_addr().expect("bound");
    let to_stranger = named(address, Value::Null);
    for args in [&[][..], &["--redis-password-for", &own], &["--redis-password-for", "127.0.0.1:1,localhost:6379"]] {
        let args = [&["--watch", &to_stranger], &password[..], args].concat();
        let output = not_started_with(&folder, CLUSTER.kubeconfig(), &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let says =
            format!("names Redis at \"{address}\", which may not receive the password: to allow it, add --redis-password-for {address}");
        assert!(stderr.contains(&says) && !stderr.contains("hunter2"), "{stderr}");
    }
    let own_insecure = named(redis.address(), json!({"insecureSkipVerify": true}));
    let args = [&["--watch", &own_insecure], &password[..], &["--redis-password-for", &own]].concat();
    let output = not_started_with(&folder, CLUSTER.kubeconfig(), &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("insecureSkipVerify") && stderr.contains("add --redis-ca FILE"), "{stderr}");
    assert!(stranger.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it was not connected to");

    let to_own = named(redis.address(), Value::Null);
    for args in [["--redis-password-for", &own], ["--redis-url", &redis.url()]] {
        let proxy = Proxy::watching(CLUSTER.kubeconfig(), &to_own, &upstream.url(), &[&password[..], &args, &["--require-store"]].concat());
        let answer = ask(&proxy, &[], call(1, "search")).await;
        assert!([200, 429].contains(&answer.status), "{answer:?}");
    }
    // Without a password, the address is the object's choice.
    Proxy::watching(CLUSTER.kubeconfig(), &to_stranger, &upstream.url(), &[]);
}

/// Whether the account of the manifests may do something.
fn may(namespace: &str, verb: &str, what: &str) -> bool {
    let account = "--as=system:serviceaccount:tollgate-system:tollgate";
    CLUSTER.kubectl(&["auth", "can-i", verb, what, "-n", namespace, account]).ok
}

fn bind(namespace: &str, role: &str) {
    let role = format!("--{role}");
    CLUSTER.kubectl(&["create", "rolebinding", "proxy", "-n", namespace, &role, "--serviceaccount=tollgate-system:tollgate"]).expect_ok();
}

#[tokio::test]
async fn the_permissions_of_the_manifests_are_enough_and_a_role_by_name_too() {
    let upstream = Upstream::start().await;
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/proxy/rbac.yaml");
    CLUSTER.kubectl_with(&["apply", "-f", "-"], &fs::read_to_string(rbac).expect("shipped")).expect_ok();
    let (namespace, object) = serving(json!({"global": bucket(1)}));
    let (named, account) = (format!("{namespace}/demo"), CLUSTER.tollgate_kubeconfig.as_path());
    let says =
        ["cannot read virtualmcpservers: ", "forbidden", "grant list and watch on virtualmcpservers (manifests/components/proxy does)"];
    assert_not_started(account, &["--watch", &named], 2, &says);

    bind(&namespace, "clusterrole=tollgate-proxy");
    wait_until("the role counts", || may(&namespace, "list", "mcpservers"));
    for what in ["secrets", "configmaps", "mcpexternalauthconfigs"] {
        assert!(!may(&namespace, "list", what) && !may(&namespace, "get", what), "may read {what}");
    }
    assert!(!may("default", "list", "mcpservers") && !may(&namespace, "update", "mcpservers"), "may do too much");
    follows(&upstream, account, &named, &object).await;

    // As the manifest tells to write by oneself.
    let (namespace, mut object) = serving(json!({"global": bucket(1)}));
    object["spec"]["oidcConfigRef"] = json!({"name": "corp", "audience": AUDIENCE});
    CLUSTER.apply(&object).expect_ok();
    let config = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig",
        "metadata": {"name": "corp", "namespace": namespace},
        "spec": {"type": "inline", "inline": {"issuer": "https://issuer.example"}},
    });
    CLUSTER.apply(&config).expect_ok();
    let named = format!("MCPServer/{namespace}/demo");
    let rule = |resource: &str, name: &str| json!({"apiGroups": ["toolhive.stacklok.dev"], "resources": [resource], "resourceNames": [name], "verbs": ["list", "watch"]});
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "proxy", "namespace": namespace},
        "rules": [rule("mcpservers", "demo")],
    });
    CLUSTER.kubectl_with(&["apply", "-f", "-"], &role.to_string()).expect_ok();
    bind(&namespace, "role=proxy");
    wait_until("the role counts", || may(&namespace, "list", "mcpservers/demo"));
    let says = ["add --oidc-issuer URL", "cannot read mcpoidcconfigs: ", "grant list and watch on mcpoidcconfigs"];
    assert_not_started(account, &["--watch", &named], 2, &says);
    let by_flag = Proxy::watching(account, &named, &upstream.url(), &[MEMORY, &["--auth", "none"]].concat());
    by_flag.wait_for_log("cannot read mcpoidcconfigs");
    role["rules"] = json!([rule("mcpservers", "demo"), rule("mcpoidcconfigs", "corp")]);
    CLUSTER.kubectl_with(&["apply", "-f", "-"], &role.to_string()).expect_ok();
    wait_until("the role counts", || may(&namespace, "list", "mcpoidcconfigs/corp"));
    follows(&upstream, account, &named, &object).await;
}

/// That a proxy with these permissions starts and follows.
async fn follows(upstream: &Upstream, account: &Path, named: &str, object: &Value) {
    let proxy = Proxy::watching(account, named, &upstream.url(), MEMORY);
    CLUSTER.apply(&with_limits(object.clone(), json!({"tools": [{"name": "costly", "global": bucket(1)}]}))).expect_ok();
    proxy.wait_for_log("limits reloaded");
    assert!(!proxy.log().contains("forbidden"), "{}", proxy.log());
}
