//! Foreign hosts and origins are refused; pages of allowed origins can read the answers.

use hyper::Version;
use serde_json::json;

use super::{Upstream, ask, assert_denied, assert_passed, assert_refused, bucket, call, posted, proxy, raw, request, resource, send};
use crate::support::{
    https::{get, send_plain, whole},
    port::own_address,
    proxy::Proxy,
};

/// A POST of a call under another name.
async fn called_as(proxy: &Proxy, host: &str, origin: Option<&str>) -> crate::support::https::Answer {
    let mut asked = posted(&[], call(1, "search"));
    asked.headers_mut().insert("host", host.parse().expect("a value"));
    if let Some(origin) = origin {
        asked.headers_mut().insert("origin", origin.parse().expect("a value"));
    }
    send(proxy, asked).await
}

#[tokio::test]
async fn on_loopback_a_page_of_elsewhere_reaches_nothing() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    for host in ["evil.example", "127.0.0.1.nip.io:8080", "0.0.0.0:8080"] {
        let answer = called_as(&proxy, host, None).await;
        assert_refused(&answer, 403, &format!("Host {host:?} is not allowed here; --allowed-host allows more"));
        assert_eq!(answer.json()["error"]["code"], 403);
    }
    for origin in ["http://evil.example", "null", "https://localhost.evil.example"] {
        let answer = called_as(&proxy, "localhost", Some(origin)).await;
        assert_refused(&answer, 403, &format!("Origin {origin:?} is not allowed here; --allowed-origin allows more"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    // Streams, preflights and metadata are no exception.
    for (method, path) in [("GET", "/mcp"), ("DELETE", "/mcp"), ("OPTIONS", "/mcp"), ("GET", "/.well-known/oauth-protected-resource")] {
        let answer = send(&proxy, request(method, path, &[("origin", "http://evil.example")], "")).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    let without = raw(&proxy, "GET /mcp HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(without.starts_with("HTTP/1.1 400 ") && without.contains("send Host"), "{without}");
    let twice = raw(&proxy, "GET /mcp HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(twice.starts_with("HTTP/1.1 400 ") && twice.contains("send Host once"), "{twice}");
    assert!(upstream.seen().is_empty());
    for (host, origin) in [("localhost:8080", None), ("127.0.0.1", Some("http://localhost:6274")), ("[::1]:8080", Some("http://127.0.0.1"))]
    {
        assert_passed(&called_as(&proxy, host, origin).await, "search");
    }
    assert!(!proxy.log().contains("not checked"), "{}", proxy.log());
}

#[tokio::test]
async fn buckets_and_counts_are_not_for_pages_of_elsewhere_either() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    for path in ["/buckets", "/metrics", "/readyz"] {
        let mut asked = request("GET", path, &[], "");
        asked.headers_mut().insert("host", "evil.example".parse().expect("a value"));
        assert_eq!(whole(send_plain(proxy.metrics, asked).await).await.expect("an answer").status, 403, "{path}");
        assert_eq!(get(proxy.metrics, path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn elsewhere_nothing_is_checked_unless_names_are_given() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(99)}));
    let listen = format!("{}:0", own_address());
    let open = Proxy::start_listening(&listen, &upstream.url(), &limits, &["--store", "memory"]);
    assert_passed(&called_as(&open, "any.example", Some("http://any.example")).await, "search");
    open.wait_for_log("Host and Origin are not checked: set --allowed-host and --allowed-origin to those that clients use");
    let names = ["--allowed-host", "mcp.example,10.0.0.7:8080", "--allowed-origin", "https://app.example"];
    let named = Proxy::start_listening(&listen, &upstream.url(), &limits, &[&["--store", "memory"][..], &names].concat());
    assert_passed(&called_as(&named, "mcp.example:8443", Some("https://app.example")).await, "search");
    assert_passed(&called_as(&named, "10.0.0.7:8080", None).await, "search");
    for (host, origin) in [("10.0.0.7", None), ("localhost", None), ("mcp.example", Some("https://mcp.example"))] {
        assert_eq!(called_as(&named, host, origin).await.status, 403, "{host} {origin:?}");
    }
    let log = named.log();
    assert!(!log.contains("not checked"), "{log}");
}

#[tokio::test]
async fn a_named_page_is_let_in_and_can_read_what_it_is_told() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(1)}));
    let page = ("origin", "https://app.example");
    let args = ["--store", "memory", "--allowed-origin", "https://app.example", "--max-body", "300", "--upstream-timeout", "300ms"];
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    let asks = [page, ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type, mcp-protocol-version")];
    let preflight = send(&proxy, request("OPTIONS", "/mcp", &asks, "")).await;
    assert_eq!(preflight.status, 204, "{}", preflight.text());
    assert_eq!(preflight.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(preflight.headers["access-control-allow-headers"], "content-type, mcp-protocol-version");
    assert!(preflight.headers["access-control-allow-methods"].to_str().expect("ASCII").contains("POST"));
    assert!(upstream.seen().is_empty(), "the answer is ours");
    let allowed = ask(&proxy, &[page], call(1, "search")).await;
    assert_passed(&allowed, "search");
    let denied = ask(&proxy, &[page], call(2, "search")).await;
    assert_denied(&denied, 2, "global");
    let bad = ask(&proxy, &[page], "{").await;
    assert_refused(&bad, 400, "not JSON");
    let large = ask(&proxy, &[page], " ".repeat(400)).await;
    assert_refused(&large, 413, "larger");
    let nowhere = send(&proxy, request("GET", "/admin", &[page], "")).await;
    assert_refused(&nowhere, 404, "the MCP endpoint is /mcp");
    for answer in [allowed, denied, bad, large, nowhere] {
        assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example", "{}", answer.text());
        let exposed = answer.headers["access-control-expose-headers"].to_str().expect("ASCII");
        for name in ["Retry-After", "WWW-Authenticate", "RateLimit", "Mcp-Session-Id"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert_eq!(answer.headers["vary"], "Origin");
    }
    // A server that answers browsers itself is not contradicted.
    let theirs = [page, ("x-answer", "access-control-allow-origin: https://other.example")];
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = ask(&proxy, &theirs, ping).await;
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().collect::<Vec<_>>(), ["https://other.example"]);
    assert_refused(&ask(&proxy, &[("origin", "http://localhost:3000")], call(3, "search")).await, 403, "Origin");
}

/// It is allowed by default only, so the CORS of the server behind still decides.
#[tokio::test]
async fn a_page_on_this_machine_is_let_in_as_far_as_the_server_lets_it() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    let page = ("origin", "http://localhost:3000");
    let answer = send(&proxy, request("OPTIONS", "/mcp", &[page, ("access-control-request-method", "POST")], "")).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin") && upstream.last().method == "OPTIONS");
    let allowed = ask(&proxy, &[page], call(1, "search")).await;
    assert_passed(&allowed, "search");
    assert!(!allowed.headers.contains_key("access-control-allow-origin"));
    let denied = ask(&proxy, &[page], call(2, "search")).await;
    assert_denied(&denied, 2, "global");
    assert_eq!(denied.headers["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(upstream.last().version, Version::HTTP_11);
}

#[tokio::test]
async fn what_is_not_a_host_or_an_origin_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for (flag, value, says) in [
        ("--allowed-host", "http://mcp.example", "write a name or an address such as mcp.example"),
        ("--allowed-origin", "app.example", "write scheme and host such as https://app.example"),
        ("--allowed-origin", "*", "write scheme and host such as https://app.example"),
        ("--trusted-proxy", "ingress", "write ADDRESS/PREFIX such as 10.0.0.0/8"),
        ("--pass-path", "token", "write it as in URLs, such as /token"),
    ] {
        let args = ["proxy", "-f", "none", "--upstream", "http://127.0.0.1:1", flag, value];
        let output = crate::support::serve::command(&folder).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{said}");
    }
}
