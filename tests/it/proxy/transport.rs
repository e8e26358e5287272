//! What passes, and how: bodies, headers, paths, revisions, connections; and the answer when the server does not respond.

use std::time::{Duration, Instant};

use hyper::{Method, Version};
use serde_json::json;
use tokio::net::TcpStream;

use super::{PATIENCE, ask, assert_denied, assert_passed, assert_refused, bucket, call, posted, proxy, request, resource, send};
use crate::support::{port::free_port, proxy::Proxy, upstream::Upstream};

#[tokio::test]
async fn a_post_goes_on_byte_for_byte_with_mcp_s_headers_and_without_the_hop_s() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    let body = format!("  {}\n", call(1, "search"));
    let headers = [
        ("mcp-session-id", "s-1"),
        ("mcp-protocol-version", "2025-11-25"),
        ("last-event-id", "42"),
        ("authorization", "Bearer opaque"),
        ("x-forwarded-for", "10.1.1.1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("expect", "100-continue"),
    ];
    let answer = ask(&proxy, &headers, body.clone()).await;
    assert_passed(&answer, "search");
    assert_eq!(answer.headers["mcp-session-id"], "s-1");
    let seen = upstream.last();
    assert_eq!((&seen.method, seen.path.as_str(), &seen.body[..]), (&Method::POST, "/mcp", body.as_bytes()));
    for (name, value) in &headers[..4] {
        assert_eq!(seen.header(name), *value, "{name}");
    }
    for name in ["connection", "x-hop", "te", "expect", "transfer-encoding"] {
        assert_eq!(seen.header(name), "", "{name} belongs to the hop");
    }
    assert_eq!(seen.header("content-length"), body.len().to_string());
    assert_eq!(seen.header("host"), upstream.address.to_string());
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-host")), ("127.0.0.1", "localhost"));
    assert_eq!(seen.header("x-forwarded-proto"), "http");
}

#[tokio::test]
async fn every_revision_is_limited_and_the_last_one_has_headers_that_must_agree() {
    let upstream = Upstream::start().await;
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let proxy = proxy(&upstream, 1, &[]);
        let headers = [("mcp-protocol-version", revision), ("mcp-method", "tools/call"), ("mcp-name", "search")];
        assert_passed(&ask(&proxy, &headers, call(1, "search")).await, "search");
        let denied = ask(&proxy, &headers, call(2, "search")).await;
        let (status, code) = if revision < "2026" { (200, -32029) } else { (429, 429) };
        assert_eq!((denied.status, &denied.json()["error"]["code"]), (status, &json!(code)), "{revision}: {}", denied.text());
        assert_eq!(denied.headers["retry-after"], "3600", "{revision}");
        let lying = [("mcp-protocol-version", revision), ("mcp-method", "tools/call"), ("mcp-name", "ping")];
        let answer = ask(&proxy, &lying, call(3, "search")).await;
        let code = if revision < "2026" { -32029 } else { -32020 };
        assert_eq!(answer.json()["error"]["code"], code, "{revision}: {}", answer.text());
    }
    assert_eq!(upstream.called(), ["search"; 4], "one of each revision, and nothing else");
}

#[tokio::test]
async fn only_calls_are_limited() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    for method in ["initialize", "ping", "tools/list", "prompts/get", "server/discover", "tasks/get"] {
        let body = json!({"jsonrpc": "2.0", "id": method, "method": method}).to_string();
        assert_passed(&ask(&proxy, &[], body).await, method);
    }
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).to_string();
    assert_eq!(ask(&proxy, &[], notification).await.status, 202);
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}).to_string();
    assert_eq!(ask(&proxy, &[], response).await.status, 200);
    assert_eq!(send(&proxy, request("DELETE", "/mcp", &[("mcp-session-id", "s")], "")).await.status, 204);
    assert_eq!(upstream.last().header("mcp-session-id"), "s");
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
}

#[tokio::test]
async fn batches_are_charged_whole_or_not_at_all() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 3, &[]);
    let batch = |calls: &[u32]| format!("[{}]", calls.iter().map(|id| call(*id, "search")).collect::<Vec<_>>().join(","));
    assert_eq!(ask(&proxy, &[], batch(&[1, 2])).await.status, 200);
    let denied = ask(&proxy, &[], batch(&[3, 4])).await;
    let response = denied.json();
    assert_eq!(
        (&response[0]["id"], &response[1]["id"], &response[1]["error"]["code"]),
        (&json!(3), &json!(4), &json!(-32029)),
        "{response}"
    );
    assert_passed(&ask(&proxy, &[], call(5, "search")).await, "search");
    assert_eq!(upstream.seen().len(), 2, "the denied batch took nothing and went nowhere");
    let headers = [("mcp-protocol-version", "2025-06-18")];
    assert_refused(&ask(&proxy, &headers, batch(&[6])).await, 400, "revision 2025-06-18 does not support batches");
}

#[tokio::test]
async fn queries_pass_and_other_methods_do_not() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    for (asked, got) in [("/mcp?session_id=7&a=%20b", "/mcp?session_id=7&a=%20b"), ("/", "/mcp"), ("/?a=b", "/mcp?a=b")] {
        assert_passed(
            &send(&proxy, request("POST", asked, &[("content-type", "application/json")][..0], call(1, "search"))).await,
            "search",
        );
        assert_eq!(upstream.last().path, got, "{asked}");
    }
    for method in ["PUT", "PATCH", "PROPFIND"] {
        let answer = send(&proxy, request(method, "/mcp", &[("content-type", "application/json")], call(1, "search"))).await;
        assert_refused(&answer, 405, "send POST, GET or DELETE");
        assert_eq!(answer.headers["allow"], "GET, HEAD, POST, DELETE, OPTIONS");
    }
    // A server that looked at it would run a call that nobody counted.
    assert_eq!(send(&proxy, request("DELETE", "/mcp", &[("content-type", "application/json")], call(1, "search"))).await.status, 204);
    assert_eq!((upstream.last().body.len(), upstream.last().header("content-length")), (0, ""));
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn connections_to_the_server_are_used_again() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    for id in 0..20 {
        assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
    }
    // Each thread of the proxy has its own.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(upstream.seen().len(), 20);
    assert!((1..=threads).contains(&upstream.connections()), "{} connections", upstream.connections());
}

#[tokio::test]
async fn a_server_over_http_2_without_tls_gets_http_2() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(2)}));
    let proxy = Proxy::start(&format!("h2c://{}/mcp", upstream.address), &limits, &["--store", "memory"]);
    assert_passed(&ask(&proxy, &[("connection", "keep-alive")], call(1, "search")).await, "search");
    let seen = upstream.last();
    assert_eq!((seen.version, seen.path.as_str(), seen.calls().as_str()), (Version::HTTP_2, "/mcp", "search"));
}

#[tokio::test]
async fn a_server_that_is_down_is_a_502_with_the_id() {
    let limits = resource(json!({"global": bucket(9)}));
    let proxy = Proxy::start(&format!("http://127.0.0.1:{}/mcp", free_port()), &limits, &["--store", "memory"]);
    let answer = ask(&proxy, &[], call(7, "search")).await;
    assert_refused(&answer, 502, "the MCP server cannot be reached");
    assert_eq!((&answer.json()["id"], &answer.json()["error"]["code"]), (&json!(7), &json!(-32603)));
    let answer = send(&proxy, request("GET", "/mcp", &[], "")).await;
    assert_refused(&answer, 502, "the MCP server cannot be reached");
    assert_eq!(answer.json()["error"]["code"], -32603);
}

#[tokio::test]
async fn a_server_that_breaks_is_a_502_and_a_slow_one_a_504_with_the_id() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &["--upstream-timeout", "300ms"]);
    let broken = ask(&proxy, &[], call(8, "broken")).await;
    assert_refused(&broken, 502, "the MCP server did not answer");
    assert_eq!(broken.json()["id"], 8);
    let began = Instant::now();
    let slow = ask(&proxy, &[], call(9, "slow")).await;
    assert_refused(&slow, 504, "the MCP server did not answer in time");
    assert_eq!(slow.json()["id"], 9);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    upstream.stream().await.closed().await;
    assert_eq!(upstream.called(), ["broken", "slow"], "neither was sent again");
    assert_passed(&ask(&proxy, &[], call(10, "search")).await, "search");
}

#[tokio::test]
async fn more_clients_than_the_soft_limit_of_open_files_are_served() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(9)}));
    let few = "ulimit -S -n 60 && ulimit -H -n 400";
    let proxy = Proxy::start_after(few, &upstream.url(), &limits, &["--store", "memory"]);
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(proxy.address).await.expect("the port is open"));
    }
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    proxy.wait_for_log("fewer files may be open than --max-connections needs");
    assert!(!proxy.log().contains("cannot accept connections"), "{}", proxy.log());
}

#[tokio::test]
async fn many_at_once_do_not_wait_for_a_slow_one() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 999, &[]);
    let slow = tokio::spawn(crate::support::https::send_plain(proxy.address, posted(&[], call(0, "slow"))));
    let held = upstream.stream().await;
    let all = futures_util::future::join_all((1..=64).map(|id| ask(&proxy, &[], call(id, "search"))));
    for answer in tokio::time::timeout(PATIENCE, all).await.expect("nobody waits") {
        assert_passed(&answer, "search");
    }
    assert!(!held.is_closed() && !slow.is_finished());
    slow.abort();
    held.closed().await;
}
