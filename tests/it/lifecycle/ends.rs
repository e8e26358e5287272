//! Ends: SIGTERM once, SIGTERM twice, and the reviews in flight meanwhile.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    support::{
        https::{Client, get, post},
        serve::Serve,
        time::eventually,
    },
    webhook_https::{assert_serves, client, good_review, response},
};

/// Tells the server to stop and waits until it knows.
fn terminate(server: &Serve) {
    server.signal("TERM");
    server.wait_for_log("stop signal received");
}

/// Waits until the server is no longer ready, which follows at once.
async fn wait_until_unready(server: &Serve) {
    eventually("the end of readiness", async || {
        let answer = get(server.metrics, "/readyz").await;
        answer.status == 503 && answer.text().contains("[-] not stopping\n")
    })
    .await;
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_answers_with_a_farewell() {
    let server = Serve::start(&["--drain", "60s"]);
    let client = client(&server);
    let stream = client.connect().await.expect("a handshake");
    let (mut old, connection) = conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let answer = old.send_request(post("/validate", good_review())).await.expect("an answer");
    assert_eq!(answer.headers().get("connection"), None);
    answer.into_body().collect().await.expect("a whole answer");
    terminate(&server);
    wait_until_unready(&server).await;
    assert_eq!(get(server.metrics, "/healthz").await.status, 200);
    let answer = old.send_request(post("/validate", good_review())).await.expect("old connections are still served");
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().expect("a value")));
    for _ in 0..3 {
        let answer = client.post("/validate", good_review()).await;
        assert_eq!(response(&answer)["allowed"], true, "new connections are still served");
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[tokio::test]
async fn a_draining_server_answers_http2_on_old_and_new_connections() {
    let server = Serve::start(&["--drain", "60s"]);
    let client = Client::with(server.address, &server.ca(), &[&TLS13], "h2", None);
    let stream = client.connect().await.expect("a handshake");
    let (mut old, connection) =
        conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let old_ends = tokio::spawn(connection);
    let answer = old.send_request(post("/validate", good_review())).await.expect("an answer");
    answer.into_body().collect().await.expect("a whole answer");
    terminate(&server);
    wait_until_unready(&server).await;
    for _ in 0..3 {
        assert_serves(&client).await;
    }
    let farewell = tokio::time::timeout(Duration::from_secs(30), old_ends).await.expect("the old connection is told to end");
    farewell.expect("no panic").expect("it ends by agreement");
}

/// Waits until one review is in flight.
async fn wait_for_review(server: &Serve) {
    let is_in_flight = async || get(server.metrics, "/metrics").await.text().contains("tollgate_admission_in_flight 1\n");
    eventually("a review in flight", is_in_flight).await;
}

#[tokio::test]
async fn a_review_under_way_is_finished_before_the_end() {
    let mut server = Serve::start(&[]);
    let body = good_review();
    let (first, rest) = body.split_at(body.len() / 2);
    let head =
        format!("POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut slow = client(&server).connect().await.expect("a handshake");
    slow.write_all(format!("{head}{first}").as_bytes()).await.expect("written");
    wait_for_review(&server).await;
    terminate(&server);
    // That it does not end can only be seen for a while.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.is_running(), "it did not wait: {}", server.log());
    slow.write_all(rest.as_bytes()).await.expect("the connection is still there");
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#""allowed":true"#), "{answer}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("stopped"), "{}", server.log());
}

#[tokio::test]
async fn an_idle_server_ends_at_once_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Serve::start(&[]);
        let _idle = client(&server).connect().await.expect("a handshake");
        assert_serves(&client(&server)).await;
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert!(began.elapsed() < Duration::from_secs(8), "idle connections had no grace: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_second_signal_stops_at_once_with_exit_code_2() {
    let mut server = Serve::start(&["--drain", "60s"]);
    terminate(&server);
    assert_serves(&client(&server)).await;
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(2), "{}", server.log());
    assert!(server.log().contains("second stop signal: stopping immediately"), "{}", server.log());
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_hold_up_the_end() {
    let mut server = Serve::start(&["--deadline", "60s"]);
    let mut slow = client(&server).connect().await.expect("a handshake");
    let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("written");
    wait_for_review(&server).await;
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("requests did not end in time; their connections are cut"), "{}", server.log());
}
