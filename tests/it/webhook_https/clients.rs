//! Clients that are silent, slow, rude, many or lost, each on a connection of its own.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::{Request, body::Bytes, client::conn};
use hyper_util::rt::TokioIo;
use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tollgate::server::{ConnectionLimits, Listener, Phase};

use super::{assert_serves, client, good_review, sample};
use crate::support::{
    https::{Client, get, post},
    serve::Serve,
    time::eventually,
};

/// The head of a review's request over HTTP/1.1; the body follows by hand.
fn head(length: usize) -> String {
    format!("POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
}

/// Reads until the other side ends the connection, however it does so.
async fn read_to_the_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes));
    // A connection that is cut ends without the TLS word for it: that is an error here, and what the test waits for.
    let _ = end.await.expect("the server ends the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn in_flight(server: &Serve) -> f64 {
    sample(&get(server.metrics, "/metrics").await.text(), "tollgate_admission_in_flight").expect("the gauge is there")
}

/// Waits until so many calls are being answered.
async fn wait_for_in_flight(server: &Serve, wanted: f64) {
    eventually(&format!("{wanted} in flight"), async || in_flight(server).await == wanted).await;
}

#[tokio::test]
async fn a_client_that_never_speaks_is_cut_after_the_handshake_deadline() {
    let server = Serve::start(&["-v"]);
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.expect("the port is open");
    assert_serves(&client(&server)).await;
    assert_eq!(read_to_the_end(&mut stream).await, "");
    assert!(began.elapsed() >= Duration::from_secs(4), "cut after {:?}", began.elapsed());
    server.wait_for_log("no TLS handshake in time");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn a_client_that_stops_inside_a_head_is_cut() {
    let server = Serve::start(&["-v"]);
    let mut stream = client(&server).connect().await.expect("a handshake");
    let began = Instant::now();
    stream.write_all(b"POST /validate HTTP/1.1\r\nhost: loc").await.expect("written");
    assert_serves(&client(&server)).await;
    assert_eq!(read_to_the_end(&mut stream).await, "");
    assert!(began.elapsed() >= Duration::from_secs(8), "cut after {:?}", began.elapsed());
    server.wait_for_log("no whole request head in time");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = Serve::start(&[]);
    let mut stream = client(&server).connect().await.expect("a handshake");
    let endless = format!("POST /validate HTTP/1.1\r\nhost: localhost\r\nx-long: {}", "x".repeat(256 * 1024));
    let _ = stream.write_all(endless.as_bytes()).await;
    let answer = read_to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let server = Serve::start(&["-v"]);
    let mut stream = TcpStream::connect(server.address).await.expect("the port is open");
    stream.write_all(head(0).as_bytes()).await.expect("written");
    let answer = read_to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\nThis port speaks HTTPS: use https:// in the URL.\n"), "{answer:?}");
    server.wait_for_log("it spoke plain HTTP to the TLS port");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn bytes_that_are_no_handshake_end_that_connection_only() {
    let server = Serve::start(&["-v"]);
    let mut stream = TcpStream::connect(server.address).await.expect("the port is open");
    stream.write_all(b"\x00\x01\x02\x03 not TLS at all").await.expect("written");
    read_to_the_end(&mut stream).await;
    server.wait_for_log("TLS handshake failed");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn a_client_that_resets_in_the_middle_of_a_body_leaves_nothing_behind() {
    let server = Serve::start(&["--max-in-flight", "1"]);
    let client = client(&server);
    for _ in 0..3 {
        let mut stream = client.connect().await.expect("a handshake");
        stream.write_all(head(10_000).as_bytes()).await.expect("written");
        stream.write_all(b"{\"apiVersion\":").await.expect("written");
        wait_for_in_flight(&server, 1.0).await;
        stream.get_ref().0.set_zero_linger().expect("a reset instead of an end");
        drop(stream);
        wait_for_in_flight(&server, 0.0).await;
        assert_serves(&client).await;
    }
}

#[tokio::test]
async fn two_hundred_connections_at_once_are_all_answered() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let mut senders = Vec::new();
    while senders.len() < 200 {
        // Handshakes a few at a time: this is about connections that are there together, and a handshake has a deadline.
        let handshakes: JoinSet<_> = (0..10).map(|_| session(client.clone())).collect();
        senders.extend(handshakes.join_all().await);
    }
    let reviews: JoinSet<_> = senders
        .into_iter()
        .map(|mut sender| async move {
            for _ in 0..2 {
                let answer = sender.send_request(post("/validate", good_review())).await.expect("an answer");
                assert_eq!(answer.status(), 200);
                http_body_util::BodyExt::collect(answer.into_body()).await.expect("a whole answer");
            }
        })
        .collect();
    assert_eq!(reviews.join_all().await.len(), 200);
    let metrics = get(server.metrics, "/metrics").await.text();
    let series = r#"tollgate_admission_requests_total{hook="validate",operation="CREATE",kind="MCPServer",verdict="allowed"}"#;
    assert_eq!(sample(&metrics, series), Some(400.0), "{metrics}");
}

/// An HTTP/1.1 connection to send several requests on.
async fn session(client: Client) -> conn::http1::SendRequest<Full<Bytes>> {
    let stream = client.connect().await.expect("a handshake");
    let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn more_connections_than_allowed_wait_while_the_others_are_busy() {
    let server = Serve::start(&["--max-connections", "2"]);
    let client = client(&server);
    let body = good_review();
    let mut held = [client.connect().await.expect("a handshake"), client.connect().await.expect("a handshake")];
    for slow in &mut held {
        slow.write_all(format!("{}{{", head(body.len())).as_bytes()).await.expect("written");
    }
    wait_for_in_flight(&server, 2.0).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { assert_serves(&client).await }
    });
    // That it is not served can only be seen for a while.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "a third connection was served beside two");
    held[0].write_all(&body.as_bytes()[1..]).await.expect("written");
    waiting.await.expect("served in the place of the one that is idle again");
}

#[tokio::test]
async fn both_protocols_and_both_tls_versions_are_spoken() {
    let server = Serve::start(&[]);
    for (versions, version) in [(&[&TLS13], ProtocolVersion::TLSv1_3), (&[&TLS12], ProtocolVersion::TLSv1_2)] {
        for alpn in ["h2", "http/1.1"] {
            let client = Client::with(server.address, &server.ca(), versions, alpn, None);
            let stream = client.connect().await.expect("a handshake");
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
            assert_serves(&client).await;
        }
    }
}

#[tokio::test]
async fn one_review_too_many_is_sent_away_for_a_second() {
    let server = Serve::start(&["--max-in-flight", "1"]);
    let client = client(&server);
    let body = good_review();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut slow = client.connect().await.expect("a handshake");
    slow.write_all(format!("{}{first}", head(body.len())).as_bytes()).await.expect("written");
    wait_for_in_flight(&server, 1.0).await;
    let answer = client.post("/validate", good_review()).await;
    super::assert_refused(&answer, 503, "too many reviews at once; try again");
    assert_eq!(answer.headers["retry-after"], "1");
    slow.write_all(rest.as_bytes()).await.expect("written");
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 200");
    wait_for_in_flight(&server, 0.0).await;
    assert_serves(&client).await;
    let metrics = get(server.metrics, "/metrics").await.text();
    assert_eq!(sample(&metrics, r#"tollgate_admission_refusals_total{hook="validate",code="503"}"#), Some(1.0), "{metrics}");
}

#[tokio::test]
async fn a_body_that_never_ends_has_the_time_that_the_caller_gave() {
    let server = Serve::start(&["--deadline", "1s"]);
    let client = client(&server);
    for query in ["?timeout=1ms", "", "?timeout=30s"] {
        let mut stream = client.connect().await.expect("a handshake");
        let head = head(1_000).replace("/validate", &format!("/validate{query}"));
        stream.write_all(format!("{head}{{").as_bytes()).await.expect("written");
        let answer = read_to_the_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{query}: {answer:?}");
        assert!(answer.ends_with("\r\n\r\nthe review was not finished in time\n"), "{query}: {answer:?}");
    }
    wait_for_in_flight(&server, 0.0).await;
    assert_serves(&client).await;
}

#[tokio::test]
async fn a_connection_outlives_a_refused_request() {
    let server = Serve::start(&[]);
    let mut sender = session(client(&server)).await;
    for content_type in ["text/plain", "application/json"] {
        let request = Request::post("/validate").header("host", "localhost").header("content-type", content_type);
        let answer = sender.send_request(request.body(Full::new(good_review().into())).expect("a request")).await.expect("an answer");
        assert_eq!(answer.status().is_success(), content_type == "application/json");
        http_body_util::BodyExt::collect(answer.into_body()).await.expect("a whole answer");
        sender.ready().await.expect("the connection is kept");
    }
}

#[tokio::test]
async fn several_reviews_share_one_http2_connection() {
    let server = Serve::start(&[]);
    let client = Client::with(server.address, &server.ca(), &[&TLS13], "h2", None);
    let stream = client.connect().await.expect("a handshake");
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = conn::http2::handshake(executor, TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let reviews: JoinSet<_> = (0..50)
        .map(|_| {
            let mut sender = sender.clone();
            async move {
                let answer = sender.send_request(post("/validate", good_review())).await.expect("an answer");
                http_body_util::BodyExt::collect(answer.into_body()).await.expect("a whole answer").to_bytes()
            }
        })
        .collect();
    for body in reviews.join_all().await {
        let review: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(review["response"]["allowed"], true, "{review}");
    }
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_cut() {
    let limits =
        ConnectionLimits { connections: 1, idle: Duration::from_secs(1), grace: Duration::from_secs(1), ..ConnectionLimits::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), None, limits).await.expect("a free port");
    let address = listener.address();
    // More than the buffers between the two take.
    let router = axum::Router::new()
        .route("/large", axum::routing::get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
        .route("/small", axum::routing::get(|| async { "small" }));
    let (_phase, phase) = tokio::sync::watch::channel(Phase::Serving);
    tokio::spawn(listener.serve(router, phase));
    let mut deaf = TcpStream::connect(address).await.expect("the port is open");
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("written");
    deaf.readable().await.expect("it begins to answer");
    let answer = tokio::time::timeout(Duration::from_secs(15), get(address, "/small")).await;
    assert_eq!(answer.expect("the only slot is free again").text(), "small");
    // Longer than it has to read on: its reading is what would be waited for, and must not begin before.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(read_to_the_end(&mut deaf).await.len() < 64 * 1024 * 1024, "the answer was cut");
}
