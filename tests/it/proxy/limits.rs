//! Whose calls are counted where: users, tools, and everyone.

use hyper::header::HeaderValue;
use serde_json::json;

use super::{OURS, ask, assert_denied, assert_passed, assert_refused, bucket, call, posted, request, resource, sample, send};
use crate::{
    support::{
        ca::Ca,
        https::{Client, get, post},
        port::own_address,
        proxy::Proxy,
        serve::command,
        upstream::Upstream,
    },
    tls::alert,
};

#[tokio::test]
async fn users_and_tools_have_buckets_of_their_own() {
    let upstream = Upstream::start().await;
    let limits = json!({
        "global": bucket(7), "perUser": bucket(3),
        "tools": [{"name": "costly", "global": bucket(2), "perUser": bucket(1)}],
    });
    let proxy = Proxy::start(
        &upstream.url(),
        &resource(limits),
        &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"],
    );
    let ask = async |user, id, tool| ask(&proxy, &[("x-user", user)], call(id, tool)).await;
    assert_passed(&ask("alice", 1, "costly").await, "costly");
    let denied = ask("alice", 2, "costly").await;
    assert_denied(&denied, 2, "perUser");
    assert_eq!(denied.json()["error"]["data"]["tool"], "costly");
    assert_passed(&ask("alice", 3, "search").await, "search");
    assert_passed(&ask("alice", 4, "search").await, "search");
    let denied = ask("alice", 5, "search").await;
    assert_denied(&denied, 5, "perUser");
    assert_eq!(denied.json()["error"]["data"].get("tool"), None, "all of alice's calls, of whatever tool");
    // What alice has done takes nothing from bob but what everyone shares.
    assert_passed(&ask("bob", 6, "costly").await, "costly");
    assert_denied(&ask("carol", 7, "costly").await, 7, "global");
    for (user, id) in [("bob", 8), ("bob", 9), ("carol", 10)] {
        assert_passed(&ask(user, id, "search").await, "search");
    }
    assert_denied(&ask("dave", 11, "search").await, 11, "global");
    assert_eq!(upstream.seen().len(), 7, "no more than everyone together may");
    let log = proxy.log();
    assert!(["alice", "bob", "carol", "dave"].iter().all(|user| !log.contains(user)), "{log}");
}

#[tokio::test]
async fn users_are_told_apart_whatever_they_are_called() {
    let upstream = Upstream::start().await;
    let limits = json!({"perUser": bucket(1), "tools": [{"name": "a", "perUser": bucket(1)}, {"name": "a:b", "perUser": bucket(1)}]});
    let proxy = Proxy::start(
        &upstream.url(),
        &resource(limits),
        &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"],
    );
    for user in ["a", "a:b", "b:a", "{a}", "a b", "a%3Ab", "A", "ä", "tool:a", &"long".repeat(1000)] {
        assert_passed(&ask(&proxy, &[("x-user", user)], call(1, "a")).await, "a");
        assert_denied(&ask(&proxy, &[("x-user", user)], call(2, "a:b")).await, 2, "perUser");
    }
}

#[tokio::test]
async fn who_comes_from_elsewhere_cannot_say_who_it_is() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(2), "perUser": bucket(1)}));
    let listen = format!("{}:0", own_address());
    let proxy = Proxy::start_listening(
        &listen,
        &upstream.url(),
        &limits,
        &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"],
    );
    for id in 1..=2 {
        assert_passed(&ask(&proxy, &[("x-user", "alice")], call(id, "search")).await, "search");
        assert_eq!(upstream.last().header("x-user"), "", "the server must not believe it either");
    }
    assert_denied(&ask(&proxy, &[("x-user", "bob")], call(3, "search")).await, 3, "global");
    send(&proxy, request("OPTIONS", "/mcp", &[("x-user", "alice")], "")).await;
    assert_eq!((upstream.last().method.as_str(), upstream.last().header("x-user")), ("OPTIONS", ""));
}

#[tokio::test]
async fn who_has_a_certificate_may_say_who_it_is_from_elsewhere() {
    let (upstream, ca, folder) = (Upstream::start().await, Ca::root("root"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = ca.pair();
    let files = [("tls.crt", &cert), ("tls.key", &key), ("ca.crt", &ca.pem)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    });
    let limits = resource(json!({"global": bucket(9), "perUser": bucket(1)}));
    let tls = ["--tls-cert", &files[0], "--tls-key", &files[1], "--client-ca", &files[2], "--client-name", "gateway,intern,mesh.example"];
    let args = [&["--store", "memory", "--user-header", "X-User", "--user-header-from", "gateway,mesh.example"][..], &tls].concat();
    let proxy = Proxy::start_listening(&format!("{}:0", own_address()), &upstream.url(), &limits, &args);
    let client = |name: &str, dns_names: &[&str]| {
        let pair = ca.client_pair(name, dns_names);
        Client::with(proxy.address, &ca.pem, rustls::ALL_VERSIONS, "http/1.1", Some((&pair.0, &pair.1)))
    };
    let ask = async |client: &Client, user: &str, id| {
        let mut asked = post("/mcp", call(id, "search"));
        asked.headers_mut().insert("x-user", user.parse().expect("a value"));
        client.send(asked).await.expect("an answer")
    };
    let gateway = client("gateway", &[]);
    assert_passed(&ask(&gateway, "alice", 1).await, "search");
    assert_eq!(upstream.last().header("x-user"), "alice", "the server behind is told as well");
    assert_denied(&ask(&gateway, "alice", 2).await, 2, "perUser");
    assert_passed(&ask(&gateway, "bob", 3).await, "search");
    assert_passed(&ask(&client("other", &["mesh.example"]), "carol", 4).await, "search");
    assert_denied(&ask(&client("other", &["mesh.example"]), "carol", 5).await, 5, "perUser");
    // A certificate of the same CA, which the proxy lets in: its owner is a caller without a name, not the boss.
    for id in 6..=7 {
        assert_passed(&ask(&client("intern", &[]), "boss", id).await, "search");
        assert_eq!(upstream.last().header("x-user"), "");
    }
    let refused = alert(&client("stranger", &[])).await;
    assert!(refused.contains("AccessDenied"), "another name, no connection: {refused}");
}

#[tokio::test]
async fn a_header_that_names_several_users_or_none_that_can_be_read_is_refused() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"perUser": bucket(1)}));
    let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"]);
    let twice = ask(&proxy, &[("x-user", "alice"), ("X-User", "bob")], call(1, "search")).await;
    assert_refused(&twice, 400, "the request carries more than one credential");
    let mut unreadable = posted(&[], call(2, "search"));
    unreadable.headers_mut().insert("x-user", HeaderValue::from_bytes(b"\xff").expect("a value"));
    assert_refused(&send(&proxy, unreadable).await, 400, "the header that names the user is not valid UTF-8");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn who_is_not_named_has_only_what_everyone_shares() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(2), "perUser": bucket(1)}));
    let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory"]);
    for id in 1..=2 {
        assert_passed(&ask(&proxy, &[("x-user", "alice")], call(id, "search")).await, "search");
    }
    assert_denied(&ask(&proxy, &[("x-user", "bob")], call(3, "search")).await, 3, "global");
    let metrics = get(proxy.metrics, "/metrics").await.text();
    let series = format!("tollgate_proxy_requests_total{{{OURS},outcome=\"denied\",status=\"429\"}}");
    assert_eq!(sample(&metrics, &series), Some(1.0), "{metrics}");
}

#[tokio::test]
async fn a_plain_http_client_gets_429_and_a_session_up_to_2025_11_25_gets_200() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(1)})), &["--store", "memory"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    for (version, status) in [(None, 429), (Some("2024-11-05"), 200), (Some("2025-06-18"), 200), (Some("2025-11-25"), 200)] {
        let headers: Vec<_> = version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
        let denied = ask(&proxy, &headers, call(2, "search")).await;
        let response = denied.json();
        assert_eq!(
            (denied.status, &response["id"], &response["error"]["code"]),
            (status, &json!(2), &json!(-32029)),
            "{version:?}: {response}"
        );
        let wait: u64 = denied.headers["retry-after"].to_str().expect("ASCII").parse().expect("whole seconds");
        assert!((3590..=3600).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_call_through_the_optimizer_counts_as_what_it_calls() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"tools": [{"name": "search", "global": bucket(1)}]}));
    let vmcp = json!({"tool_name": "search", "parameters": {}});
    let fastmcp = json!({"name": "search", "arguments": {"q": "rust"}});
    for arguments in [vmcp, fastmcp] {
        let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--optimizer"]);
        let inner = |id: u32| {
            let params = json!({"name": "call_tool", "arguments": arguments});
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
        };
        assert_passed(&ask(&proxy, &[], inner(1)).await, "call_tool");
        let denied = ask(&proxy, &[], inner(2)).await;
        assert_denied(&denied, 2, "global");
        assert_eq!(denied.json()["error"]["data"]["tool"], "search");
    }
}

#[tokio::test]
async fn a_user_header_needs_trusted_peers() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("r.json"), resource(json!({"perUser": bucket(1)}))).expect("the folder is ours");
    let refused = |args: &[&str]| {
        let base = ["proxy", "-f", "r.json", "--upstream", "http://127.0.0.1:1", "--store", "memory", "--listen", "127.0.0.1:0"];
        let output = command(&folder).args(base).args(args).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = refused(&["--user-header", "x-user"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--user-header x-user needs --user-header-from") && said.contains("add loopback to trust everything"), "{said}");
    let (code, said) = refused(&["--user-header", "x-user", "--user-header-from", "gateway"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("client certificates are not enabled: add --client-ca"), "{said}");
    let (code, said) = refused(&["--user-header-from", "loopback"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--user-header <HEADER>"), "{said}");
}

#[tokio::test]
async fn connection_takes_away_nothing_that_says_who_is_calling() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(9), "perUser": bucket(1)}));
    let args = ["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"];
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    let mut sent = vec![("x-user", "alice"), ("authorization", "Bearer x"), ("mcp-session-id", "s"), ("cookie", "a=b"), ("x-hop", "1")];
    let names = "close, X-User, Authorization, Mcp-Session-Id, Cookie, Content-Type, Content-Length, Host, X-Forwarded-For, x-hop";
    sent.push(("connection", names));
    assert_passed(&ask(&proxy, &sent, call(1, "search")).await, "search");
    let seen = upstream.last();
    for (name, value) in &sent[..4] {
        assert_eq!(seen.header(name), *value, "{name}");
    }
    assert_eq!((seen.header("content-type"), seen.header("x-forwarded-for")), ("application/json", "127.0.0.1"));
    assert_eq!((seen.header("host"), seen.header("x-hop")), (upstream.address.to_string().as_str(), ""));
    assert_denied(&ask(&proxy, &sent, call(2, "search")).await, 2, "perUser");
}

#[tokio::test]
async fn another_spelling_of_the_user_header_goes_nowhere() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(9), "perUser": bucket(1)}));
    let args = ["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"];
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    assert_passed(&ask(&proxy, &[("x-user", "alice"), ("x_user", "boss")], call(1, "search")).await, "search");
    assert_eq!((upstream.last().header("x-user"), upstream.last().header("x_user")), ("alice", ""));
}
