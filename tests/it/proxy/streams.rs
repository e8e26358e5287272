//! Streams: they pass as they come, in both transports, and end on both sides when either ends.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, ask, assert_denied, assert_passed, bucket, call, posted, proxy, request, resource};
use crate::support::{https::send_plain, proxy::Proxy, upstream::Upstream};

/// The next bytes of an answer; `None` at its end.
async fn next(response: &mut Response<Incoming>) -> Option<String> {
    let frame = timeout(PATIENCE, response.body_mut().frame()).await.expect("something comes")?;
    let data = frame.expect("the answer goes on").into_data().expect("data");
    Some(String::from_utf8(data.to_vec()).expect("UTF-8"))
}

#[tokio::test]
async fn events_of_a_get_pass_one_by_one_and_it_resumes() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", "s-1"), ("last-event-id", "41")];
    let mut response = send_plain(proxy.address, request("GET", "/mcp", &headers, "")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().expect("a value")));
    let stream = upstream.stream().await;
    let seen = upstream.last();
    assert_eq!((seen.header("mcp-session-id"), seen.header("last-event-id")), ("s-1", "41"));
    for id in 42..62 {
        let event = format!("id: {id}\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}}\n\n");
        let sent = Instant::now();
        stream.send(event.clone());
        assert_eq!(next(&mut response).await, Some(event));
        assert!(sent.elapsed() < Duration::from_millis(500), "{:?} until the event came", sent.elapsed());
    }
    drop(stream);
    assert_eq!(next(&mut response).await, None, "the server ended it");
}

#[tokio::test]
async fn a_call_may_be_answered_by_a_stream() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    let mut response = send_plain(proxy.address, posted(&[], call(1, "stream"))).await;
    let stream = upstream.stream().await;
    for event in ["event: message\nda", "ta: 1\n\n", ": still here\n\n"] {
        stream.send(event);
        assert_eq!(next(&mut response).await.as_deref(), Some(event), "as it came, whole event or not");
    }
    assert_denied(&ask(&proxy, &[], call(2, "stream")).await, 2, "global");
    stream.send("data: 2\n\n");
    assert_eq!(next(&mut response).await.as_deref(), Some("data: 2\n\n"), "the denial ended no stream");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_at_the_server() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    let get = request("GET", "/mcp", &[("accept", "text/event-stream")], "");
    for asked in [get, posted(&[], call(1, "stream"))] {
        let mut response = send_plain(proxy.address, asked).await;
        let stream = upstream.stream().await;
        stream.send("data: 1\n\n");
        assert_eq!(next(&mut response).await.as_deref(), Some("data: 1\n\n"));
        drop(response);
        stream.closed().await;
    }
    let waiting = tokio::spawn(send_plain(proxy.address, posted(&[], call(2, "slow"))));
    let slow = upstream.stream().await;
    waiting.abort();
    slow.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_nobody_else() {
    let upstream = Upstream::start().await;
    // Over HTTP/2, all answers come over one connection.
    for scheme in ["http", "h2c"] {
        let limits = resource(json!({"global": bucket(9)}));
        let proxy = Proxy::start(&format!("{scheme}://{}/mcp", upstream.address), &limits, &["--store", "memory"]);
        let response = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
        let stream = upstream.stream().await;
        for _ in 0..64 {
            stream.send(vec![b'x'; 1024 * 1024]);
        }
        for id in 1..=9 {
            assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(response);
        stream.closed().await;
    }
}

#[tokio::test]
async fn the_older_pair_of_endpoints_passes_and_its_calls_are_limited() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(1)}));
    let proxy = Proxy::start(&format!("http://{}/sse", upstream.address), &limits, &["--store", "memory"]);
    assert_eq!(super::send(&proxy, request("POST", "/messages/?session_id=7", &[], call(0, "search"))).await.status, 404);
    let mut events = send_plain(proxy.address, request("GET", "/sse", &[("accept", "text/event-stream")], "")).await;
    let stream = upstream.stream().await;
    assert_eq!(upstream.last().path, "/sse");
    let endpoint = "event: endpoint\ndata: /messages/?session_id=7\n\n";
    stream.send(endpoint);
    assert_eq!(next(&mut events).await.as_deref(), Some(endpoint), "a path on the proxy too");
    let send = async |id, tool| {
        let asked = request("POST", "/messages/?session_id=7", &[], call(id, tool));
        super::send(&proxy, asked).await
    };
    assert_passed(&send(1, "search").await, "search");
    assert_eq!(upstream.last().path, "/messages/?session_id=7");
    stream.send("event: message\ndata: {}\n\n");
    assert_eq!(next(&mut events).await.as_deref(), Some("event: message\ndata: {}\n\n"));
    assert_denied(&send(2, "search").await, 2, "global");
}
