//! Requests that two servers could cut apart differently. The limit is used up before each, so that a call which reaches the server is a
//! bypass, however it got there.

use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, ask, assert_passed, bucket, call, raw, resource};
use crate::support::{proxy::Proxy, upstream::Upstream};

/// What is to be smuggled: a call as a whole request.
fn hidden() -> String {
    let body = call(66, "search");
    format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A POST with these header lines, and bytes after its head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lines}\r\n{rest}")
}

/// The same with a ping as its body, of this length.
fn ping(lines: &dyn Fn(usize) -> String) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    post(&lines(body.len()), &format!("{body}{}", hidden()))
}

struct Attempt {
    what: &'static str,
    bytes: String,
    /// Of the first answer; 0 where the connection ends without one.
    status: u16,
}

fn attempt(what: &'static str, status: u16, bytes: impl Into<String>) -> Attempt {
    Attempt { what, status, bytes: bytes.into() }
}

/// A ping in one chunk, with a call behind it.
fn ping_in_chunks() -> String {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    format!("{:x}\r\n{ping}\r\n0\r\n\r\n{}", ping.len(), hidden())
}

fn both_framings() -> Vec<Attempt> {
    let rest = ping_in_chunks();
    vec![
        attempt("CL.TE", 200, post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", rest.len()), &rest)),
        attempt("TE.CL", 200, post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &rest)),
        attempt("TE before CL", 200, post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &rest)),
    ]
}

fn codings() -> Vec<Attempt> {
    let rest = ping_in_chunks();
    let te = |te: &str| post(&format!("Transfer-Encoding: {te}\r\n"), &rest);
    vec![
        attempt("an unknown coding", 400, te("xchunked")),
        attempt("chunked is not the last", 400, te("chunked, identity")),
        attempt("identity", 400, te("identity")),
        attempt("a vertical tab", 400, te("\x0bchunked")),
        attempt("chunked twice", 200, te("chunked\r\nTransfer-Encoding: chunked")),
        attempt("a coding, then chunked", 200, te("x\r\nTransfer-Encoding: chunked")),
        attempt("quoted", 400, te("\"chunked\"")),
        attempt("in HTTP/1.0", 400, te("chunked").replacen("HTTP/1.1", "HTTP/1.0", 1)),
    ]
}

fn lengths() -> Vec<Attempt> {
    let plain = |name: &'static str, status, lines: fn(usize) -> String| attempt(name, status, ping(&lines));
    vec![
        plain("two lengths", 400, |n| format!("Content-Length: {n}\r\nContent-Length: 0\r\n")),
        plain("a list of lengths", 400, |n| format!("Content-Length: {n}, {n}\r\n")),
        plain("a sign", 400, |n| format!("Content-Length: +{n}\r\n")),
        plain("below zero", 400, |_| "Content-Length: -1\r\n".to_owned()),
        plain("hexadecimal", 400, |n| format!("Content-Length: {n:#x}\r\n")),
        plain("no number", 400, |_| "Content-Length: all\r\n".to_owned()),
        plain("beyond 64 bits", 400, |_| "Content-Length: 99999999999999999999\r\n".to_owned()),
        plain("too short", 400, |n| format!("Content-Length: {}\r\n", n - 1)),
        plain("none", 400, |_| String::new()),
    ]
}

fn heads() -> Vec<Attempt> {
    let plain = |name: &'static str, status, lines: fn(usize) -> String| attempt(name, status, ping(&lines));
    vec![
        plain("a space before the colon", 400, |n| format!("Content-Length : {n}\r\n")),
        plain("a tab before the colon", 400, |n| format!("Content-Length\t: {n}\r\n")),
        plain("a space in a name", 400, |n| format!("Content Length: {n}\r\n")),
        plain("a folded line", 400, |n| format!("X-A: b\r\n Content-Length: {n}\r\n")),
        plain("a folded value", 400, |n| format!("Content-Length:\r\n {n}\r\n")),
        plain("a NUL in a value", 400, |n| format!("X-A: a\0b\r\nContent-Length: {n}\r\n")),
        plain("a bare CR in a value", 400, |n| format!("X-A: a\rContent-Length: 0\r\nContent-Length: {n}\r\n")),
        plain("no colon", 400, |n| format!("Content-Length\r\nContent-Length: {n}\r\n")),
        plain("no name", 400, |n| format!(": a\r\nContent-Length: {n}\r\n")),
        attempt("a folded first line", 400, format!("POST /mcp HTTP/1.1\r\n X: a\r\nHost: localhost\r\n\r\n{}", hidden())),
        attempt("a space in the path", 400, format!("POST /mcp x HTTP/1.1\r\nHost: localhost\r\n\r\n{}", hidden())),
        attempt("HTTP/0.9", 400, format!("GET /mcp\r\n\r\n{}", hidden())),
        attempt("HTTP/2 with prior knowledge", 0, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", hidden())),
        attempt("TLS", 400, format!("\x16\x03\x01\x02\r\n\r\n{}", hidden())),
        attempt("a head without end", 431, format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(128 * 1024))),
        attempt("a thousand headers", 431, format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: 1\r\n".repeat(1000))),
    ]
}

fn chunks() -> Vec<Attempt> {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let n = ping.len();
    let sent = |rest: String| post("Transfer-Encoding: chunked\r\n", &format!("{rest}{}", hidden()));
    vec![
        attempt("a size beyond 64 bits", 400, sent(format!("fffffffffffffffff\r\n{ping}\r\n0\r\n\r\n"))),
        attempt("a size below zero", 400, sent(format!("-1\r\n{ping}\r\n0\r\n\r\n"))),
        attempt("a size with 0x", 400, sent(format!("{n:#x}\r\n{ping}\r\n0\r\n\r\n"))),
        attempt("a size that is too small", 400, sent(format!("{:x}\r\n{ping}\r\n0\r\n\r\n", n - 2))),
        attempt("no size", 400, sent(format!("\r\n{ping}\r\n0\r\n\r\n"))),
        attempt("an extension", 200, sent(format!("{n:x};a=\"b\"\r\n{ping}\r\n0\r\n\r\n"))),
        attempt("a line feed in an extension", 400, sent(format!("{n:x};a\n{ping}\r\n0\r\n\r\n"))),
        attempt(
            "trailers that look like a head",
            200,
            sent(format!("{n:x}\r\n{ping}\r\n0\r\nContent-Length: 9\r\nMcp-Session-Id: x\r\n\r\n")),
        ),
    ]
}

fn other_methods() -> Vec<Attempt> {
    let body = call(66, "search");
    let n = body.len();
    let with_body = |method: &str, lines: &str| {
        format!("{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Type: application/json\r\nContent-Length: {n}\r\n\r\n{body}")
    };
    vec![
        attempt("a body with DELETE", 204, with_body("DELETE", "Connection: close\r\n")),
        attempt("another method by header", 204, with_body("DELETE", "Connection: close\r\nX-HTTP-Method-Override: POST\r\n")),
        attempt(
            "a request as the body of DELETE",
            204,
            format!("DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}", hidden().len(), hidden()),
        ),
        attempt("PUT", 405, with_body("PUT", "Connection: close\r\n")),
        attempt("CONNECT", 405, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned() + &hidden()),
        attempt("post in lower case", 405, with_body("post", "Connection: close\r\n")),
        attempt(
            "an upgrade to HTTP/2",
            429,
            with_body("POST", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ),
        attempt("an upgrade to WebSocket", 429, with_body("POST", "Connection: Upgrade\r\nUpgrade: websocket\r\n")),
        attempt("an absolute URI", 429, with_body("POST", "Connection: close\r\n").replacen("/mcp", "http://localhost/mcp", 1)),
        attempt(
            "an absolute URI of somebody else",
            403,
            with_body("POST", "Connection: close\r\n").replacen("/mcp", "http://elsewhere/mcp", 1),
        ),
        attempt("hop-by-hop Content-Length", 429, with_body("POST", "Connection: close, content-length\r\n")),
        attempt("hop-by-hop Content-Type", 429, with_body("POST", "Connection: close, content-type, mcp-protocol-version\r\n")),
    ]
}

/// Sends it when there is no call left, and closes.
async fn try_out(attempt: Attempt, wrong: &mut String) {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"tools": [{"name": "search", "global": bucket(1)}]}));
    let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--body-timeout", "1s"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let closing = format!("{}DELETE /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", attempt.bytes);
    let response = timeout(PATIENCE, raw(&proxy, closing)).await.unwrap_or_else(|_| "no end".to_owned());
    let status = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    let calls = upstream.called().iter().filter(|called| *called == "search").count();
    if (status, calls) != (attempt.status, 1) || proxy.log().contains("panicked") {
        wrong.push_str(&format!("{}: status {status}, {calls} calls: {response:.300}\n", attempt.what));
    }
    for seen in upstream.seen() {
        let lengths = seen.headers.get_all("content-length").iter().count();
        let framed = seen.body.is_empty() || (lengths == 1 && seen.header("content-length") == seen.body.len().to_string());
        assert!(framed && !seen.headers.contains_key("transfer-encoding"), "{}: {seen:?}", attempt.what);
    }
    assert_passed(&ask(&proxy, &[], call(2, "witness")).await, "witness");
}

async fn try_all(attempts: Vec<Attempt>) {
    let mut wrong = String::new();
    for attempt in attempts {
        try_out(attempt, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn lengths_and_chunks_at_once_smuggle_nothing() {
    try_all(both_framings()).await;
}

#[tokio::test]
async fn other_codings_smuggle_nothing() {
    try_all(codings()).await;
}

/// As RFC 9112, section 6.1, demands: who cut it otherwise must not get an answer that is somebody else's.
#[tokio::test]
async fn a_request_with_a_length_and_chunks_is_the_last_of_its_connection() {
    let upstream = Upstream::start().await;
    let proxy = super::proxy(&upstream, 9, &[]);
    for attempt in both_framings() {
        let response = raw(&proxy, &attempt.bytes).await;
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{}: {response}", attempt.what);
        assert!(response.contains("\r\nconnection: close\r\n"), "{}: {response}", attempt.what);
    }
    assert_eq!(upstream.called(), ["ping"; 3], "what came behind was not read");
}

#[tokio::test]
async fn wrong_lengths_smuggle_nothing() {
    try_all(lengths()).await;
}

#[tokio::test]
async fn malformed_heads_smuggle_nothing() {
    try_all(heads()).await;
}

#[tokio::test]
async fn malformed_chunks_smuggle_nothing() {
    try_all(chunks()).await;
}

#[tokio::test]
async fn other_methods_and_upgrades_smuggle_nothing() {
    try_all(other_methods()).await;
}
