//! What a client sees through Envoy is what it sees at the proxy, byte for byte.

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::json;

use super::{Behind, send};
use crate::{
    mcp::bodies,
    proxy::{assert_passed, bucket, call, posted, request, resource},
    support::{authz::Authz, envoy::Envoy, https::Answer, proxy::Proxy, upstream::Upstream},
};

/// Fields that Envoy writes on everything.
const ENVOYS: [&str; 5] = ["connection", "content-length", "date", "server", "x-envoy-upstream-service-time"];

/// An answer without what a moment later is different.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let fields = answer.headers.iter().filter(|(name, _)| !ENVOYS.contains(&name.as_str()));
    let mut fields: Vec<_> = fields.map(|(name, value)| (name.to_string(), without_times(value.to_str().expect("ASCII")))).collect();
    // Several fields of a name are one, joined.
    fields.sort();
    fields.dedup_by(|next, first| {
        next.0 == first.0 && {
            first.1 = format!("{}, {}", first.1, next.1);
            true
        }
    });
    (answer.status, fields, without_times(&answer.text()))
}

/// Every number of three or more digits may be a wait.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    for mark in [r#""retryAfterSeconds":"#, "Try again in ", ";t="] {
        if let Some((before, after)) = text.split_once(mark) {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            out = format!("{before}{mark}N{rest}");
            return out;
        }
    }
    out.push_str(text);
    out
}

/// Both, with the same limits and flags.
struct Both {
    behind: Behind,
    proxy: Proxy,
    /// The proxy's own.
    _upstream: Upstream,
}

impl Both {
    async fn start(resource: &str, args: &[&str]) -> Self {
        let upstream = Upstream::start().await;
        let args = [&["--store", "memory"], args].concat();
        let proxy = Proxy::start(&upstream.url(), resource, &args);
        let server = Upstream::start().await;
        let authz = Authz::start(&[resource], &args);
        let envoy = Envoy::start(server.address, authz.address);
        Self { behind: Behind { upstream: server, authz, envoy }, proxy, _upstream: upstream }
    }

    /// Sends the same to both, and gives back what both said.
    async fn ask(&self, what: &str, request: impl Fn() -> Request<Full<Bytes>>) -> Answer {
        let (at_proxy, at_envoy) = (send(self.proxy.address, request()).await, send(self.behind.envoy.address, request()).await);
        assert_eq!(comparable(&at_envoy), comparable(&at_proxy), "{what}: {}", self.behind.authz.log());
        at_envoy
    }
}

#[tokio::test]
async fn denials_are_the_proxys_in_every_mode_and_revision() {
    let limits = resource(json!({"global": bucket(100), "tools": [{"name": "search", "global": bucket(1)}]}));
    for mode in ["auto", "429", "200", "tool-result"] {
        for revision in [None, Some("2025-06-18"), Some("2025-11-25"), Some("2026-07-28")] {
            let both = Both::start(&limits, &["--reject-status", mode, "--rate-limit-fields"]).await;
            let headers: Vec<_> = revision.map(|revision| ("mcp-protocol-version", revision)).into_iter().collect();
            let headers = [&headers[..], &[("mcp-method", "tools/call"), ("mcp-name", "search")]].concat();
            let ask = |id: &'static str| {
                let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"search"}}}}"#);
                let headers = headers.clone();
                move || posted(&headers, body.clone())
            };
            let what = format!("{mode} {revision:?}");
            let passed = both.ask(&what, ask("1")).await;
            assert_passed(&passed, "search");
            assert!(passed.headers.contains_key("ratelimit-policy"), "{what}: {:?}", passed.headers);
            for id in ["9007199254740993", "1.0", "\"a\\u0041\"", "null"] {
                let denied = both.ask(&what, ask(id)).await;
                let is_200 = matches!(mode, "200" | "tool-result") || (mode == "auto" && revision.is_some_and(|it| it < "2026"));
                assert_eq!(denied.status, if is_200 { 200 } else { 429 }, "{what}");
                assert!(denied.text().contains(&format!("\"id\":{id},")), "{what}: {}", denied.text());
            }
            assert_eq!(both.behind.upstream.called(), ["search"], "{what}");
        }
    }
}

#[tokio::test]
async fn every_body_that_the_proxy_refuses_is_refused_through_envoy() {
    let both = Both::start(&resource(json!({"global": bucket(100_000)})), &[]).await;
    for (body, _) in bodies::all() {
        let what = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
        both.ask(&what, || posted(&[], body.clone())).await;
        let session = [("mcp-protocol-version", "2025-11-25")];
        both.ask(&what, || posted(&session, body.clone())).await;
    }
    let (through_envoy, at_proxy) = (both.behind.upstream.called(), both._upstream.called());
    assert!(through_envoy.len() > 20, "some pass");
    assert_eq!(through_envoy, at_proxy);
}

#[tokio::test]
async fn other_requests_are_answered_alike() {
    let limits = resource(json!({"global": bucket(100)}));
    let flags = ["--allowed-host", "localhost", "--allowed-origin", "https://app.example"];
    let both = Both::start(&limits, &flags).await;
    let session = |headers: &[(&str, &str)]| posted(headers, call(1, "search"));
    assert_eq!(both.ask("another origin", || session(&[("origin", "https://evil.example")])).await.status, 403);
    let opened = both.ask("an allowed origin", || session(&[("origin", "https://app.example")])).await;
    assert_eq!(opened.headers["access-control-allow-origin"], "https://app.example");
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "mcp-session-id"),
    ];
    assert_eq!(both.ask("a preflight", || request("OPTIONS", "/mcp", &preflight, "")).await.status, 204);
    assert_eq!(both.ask("a method", || request("PUT", "/mcp", &[], "{}")).await.status, 405);
    assert_eq!(both.ask("another type", || request("PATCH", "/mcp", &[], "")).await.status, 405);
    assert_eq!(both.ask("the end of a session", || request("DELETE", "/mcp", &[], "")).await.status, 204);
    assert_eq!(both.ask("a type", || request("POST", "/mcp", &[("content-encoding", "gzip")], call(1, "search"))).await.status, 415);
}

#[tokio::test]
async fn a_foreign_host_is_refused_alike_where_flags_say_so() {
    let both = Both::start(&resource(json!({"global": bucket(100)})), &["--allowed-host", "mcp.example"]).await;
    assert_eq!(both.ask("a foreign host", || posted(&[], call(1, "search"))).await.status, 403);
    assert!(both.behind.upstream.seen().is_empty());
}

#[tokio::test]
async fn callers_are_told_alike_to_sign_in() {
    let limits = resource(json!({"perUser": bucket(1)}));
    let issuer = ["--oidc-issuer", "http://127.0.0.1:1", "--oidc-audience", "a", "--resource-url", "http://localhost/mcp"];
    let both = Both::start(&limits, &issuer).await;
    let missing = both.ask("no token", || posted(&[], call(1, "search"))).await;
    assert_eq!(missing.status, 401);
    assert!(missing.headers["www-authenticate"].to_str().expect("ASCII").contains("resource_metadata="), "{:?}", missing.headers);
    assert_eq!(both.ask("a bad token", || posted(&[("authorization", "Bearer a.b.c")], call(1, "search"))).await.status, 401);
    assert_eq!(both.ask("a stream", || request("GET", "/mcp", &[], "")).await.status, 401, "the limiter lets it pass; sign-in does not");
    let metadata = both.ask("metadata", || request("GET", "/.well-known/oauth-protected-resource/mcp", &[], "")).await;
    assert_eq!((metadata.status, &metadata.json()["resource"]), (200, &json!("http://localhost/mcp")));
    assert!(both.behind.upstream.seen().is_empty());
}

#[tokio::test]
async fn users_are_independent_and_named_by_envoy_alone() {
    let limits = resource(json!({"perUser": bucket(1)}));
    let both = Both::start(&limits, &["--user-header", "x-user", "--user-header-from", "loopback"]).await;
    for user in ["alice", "bob"] {
        let headers = [("x-user", user)];
        assert_passed(&both.ask(user, || posted(&headers, call(1, "search"))).await, "search");
        assert_eq!(both.ask(user, || posted(&headers, call(2, "search"))).await.status, 429);
        assert_eq!(both.behind.upstream.last().header("x-user"), user);
    }
    assert_eq!(both.ask("twice", || posted(&[("x-user", "a"), ("x-user", "b")], call(1, "search"))).await.status, 400);
    // As in the example, where Envoy removes the client's own.
    let upstream = Upstream::start().await;
    let strict = Envoy::start_with(upstream.address, both.behind.authz.address, |config| config.replace("x-nothing", "x-user"));
    for id in 0..3 {
        assert_passed(&super::ask(strict.address, &[("x-user", "alice")], call(id, "search")).await, "search");
        assert_eq!(upstream.last().header("x-user"), "", "nobody is known, and no limit is for everyone");
    }
}

#[tokio::test]
async fn streams_are_not_buffered() {
    use http_body_util::BodyExt;
    let behind = Behind::limited(5, &[]).await;
    let mut response = crate::support::https::send_plain(behind.envoy.address, posted(&[], call(1, "stream"))).await;
    let stream = behind.upstream.stream().await;
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        stream.send(event.clone());
        let frame = tokio::time::timeout(crate::proxy::PATIENCE, response.body_mut().frame()).await.expect("before the stream ends");
        assert_eq!(frame.expect("a frame").expect("unbroken").into_data().expect("data"), event);
    }
}
