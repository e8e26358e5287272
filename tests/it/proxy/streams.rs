//! Streams: they pass as they come, in both transports, and end on both sides when either ends.

use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{PATIENCE, ask, assert_denied, assert_passed, bucket, call, posted, proxy, request, resource};
use crate::support::{https::send_plain, proxy::Proxy, time::moment, upstream::Upstream};

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
        stream.send(event.clone());
        assert_eq!(next(&mut response).await, Some(event), "before the next one is sent");
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
            moment().await;
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
    let denied = send(2, "search").await;
    assert_eq!((denied.status, denied.text().as_str()), (202, ""), "nobody reads an answer here");
    let response = message(&next(&mut events).await.expect("an event"));
    assert_eq!((&response["id"], &response["error"]["data"]["limitType"]), (&json!(2), &json!("global")), "{response}");
    let elsewhere = super::send(&proxy, request("POST", "/messages/?session_id=8", &[], call(3, "search"))).await;
    assert_denied(&elsewhere, 3, "global");
    drop(stream);
    assert_eq!(next(&mut events).await, None, "the server ended it, and nothing of the other session came");
    assert_denied(&send(4, "search").await, 4, "global");
}

/// The message of an event of the proxy's own.
fn message(event: &str) -> Value {
    let data = event.strip_prefix("event: message\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("a whole event");
    serde_json::from_str(data).expect("JSON")
}

#[tokio::test]
async fn the_older_pair_s_clients_read_every_refusal_on_their_stream() {
    let limits = resource(json!({"tools": [{"name": "search", "global": bucket(1)}]}));
    for mode in ["auto", "200", "429", "tool-result"] {
        let upstream = Upstream::start().await;
        let args = ["--store", "memory", "--reject-status", mode, "--max-body", "300", "--upstream-timeout", "300ms"];
        let proxy = Proxy::start(&format!("http://{}/sse", upstream.address), &limits, &args);
        let mut events = send_plain(proxy.address, request("GET", "/sse", &[("accept", "text/event-stream")], "")).await;
        let stream = upstream.stream().await;
        stream.send("event: endpoint\r\ndata: /messages?s=1\r\n\r\n");
        next(&mut events).await.expect("the endpoint");
        let post = async |version: Option<&str>, body: String| {
            let headers: Vec<_> = version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
            super::send(&proxy, request("POST", "/messages?s=1", &headers, body)).await
        };
        assert_passed(&post(None, call(0, "search")).await, "search");
        let large = format!(r#"{{"method":"tools/call","params":{{"name":"{}"}},"jsonrpc":"2.0","id":7}}"#, "x".repeat(400));
        let nameless = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call"}).to_string();
        for version in [None, Some("2025-11-25")] {
            for (body, text) in [
                (call(7, "search"), "Rate limit exceeded"),
                (call(7, "broken"), "the MCP server did not answer"),
                (call(7, "slow"), "the MCP server did not answer in time"),
                (nameless.clone(), "params.name is missing"),
                (large.clone(), "the body is larger than 300 bytes"),
            ] {
                let answer = post(version, body).await;
                assert_eq!((answer.status, answer.text().as_str()), (202, ""), "{mode} {version:?} {text}");
                let response = message(&next(&mut events).await.expect("an event"));
                assert_eq!(response["id"], 7, "{response}");
                assert!(response.to_string().contains(text), "{mode}: {response} does not say {text:?}");
            }
            let notification = json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "search"}}).to_string();
            assert_eq!(post(version, notification).await.status, 429, "nobody awaits an answer");
            assert_eq!(post(version, "{".to_owned()).await.status, 400, "without an id, no event");
        }
    }
}

#[tokio::test]
async fn no_other_user_s_refusals_come_into_a_stream() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"perUser": bucket(1)}));
    let args = ["--store", "memory", "--user-header", "x-user", "--user-header-from", "loopback"];
    let proxy = Proxy::start(&format!("http://{}/sse", upstream.address), &limits, &args);
    let mut events = send_plain(proxy.address, request("GET", "/sse", &[("x-user", "alice")], "")).await;
    let stream = upstream.stream().await;
    stream.send("event: endpoint\ndata: /messages?s=1\n\n");
    next(&mut events).await.expect("the endpoint");
    for (user, status) in [("bob", 429), ("alice", 202)] {
        for (id, status) in [(1, 200), (2, status)] {
            let asked = request("POST", "/messages?s=1", &[("x-user", user)], call(id, "search"));
            assert_eq!(super::send(&proxy, asked).await.status, status, "{user}");
        }
    }
    assert_eq!(message(&next(&mut events).await.expect("an event"))["id"], 2);
    drop(stream);
    assert_eq!(next(&mut events).await, None);
}
