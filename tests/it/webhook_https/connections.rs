//! Connections: idle ones that give way, and ends that lose no request.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch};
use tollgate::server::{ConnectionLimits, Listener, Phase};

use super::{assert_serves, client, http2};
use crate::support::{
    https::post,
    serve::{Serve, wait_until},
};

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = Serve::start(&["-v", "--max-connections", "16"]);
    let (client, http2) = (client(&server), http2(&server));
    // Nothing is ever sent on these: after a handshake, in either protocol, and without one.
    let (mut tls, mut tcp) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        tls.push(client.connect().await.expect("a handshake"));
        tls.push(http2.connect().await.expect("a handshake"));
        tcp.push(TcpStream::connect(server.address).await.expect("the port is open"));
    }
    for _ in 0..10 {
        assert_serves(&client).await;
    }
    server.wait_for_log("it was idle, and its place was needed");
    assert!(!server.log().contains("no request in time"), "none was cut by a deadline: {}", server.log());
    drop((tls, tcp));
}

#[tokio::test]
async fn a_connection_without_a_request_is_cut() {
    let server = Serve::start(&["-v"]);
    let mut connections = [client(&server).connect().await.expect("a handshake"), http2(&server).connect().await.expect("a handshake")];
    for connection in &mut connections {
        // HTTP/2 has settings to send first.
        let mut settings = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), connection.read_to_end(&mut settings));
        let _ = end.await.expect("the server ends the connection");
    }
    wait_until("both are logged", || server.log().matches("no request in time").count() == 2);
    assert_serves(&client(&server)).await;
}

/// A plain listener with these limits, and a connection to it.
async fn plain(limits: ConnectionLimits) -> (watch::Sender<Phase>, conn::http1::SendRequest<Full<Bytes>>) {
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), None, limits).await.expect("a free port");
    let address = listener.address();
    let (announce, phase) = watch::channel(Phase::Serving);
    tokio::spawn(listener.serve(axum::Router::new().fallback(|| async { "here" }), phase));
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    (announce, sender)
}

/// What the answer to one more request on this connection says about the connection.
async fn farewell(sender: &mut conn::http1::SendRequest<Full<Bytes>>) -> Option<String> {
    sender.ready().await.expect("the connection is open");
    let answer = sender.send_request(post("/", "{}")).await.expect("an answer");
    let said = answer.headers().get("connection").map(|value| value.to_str().expect("ASCII").to_owned());
    answer.into_body().collect().await.expect("a whole answer");
    said
}

#[tokio::test]
async fn the_last_of_many_answers_over_http1_says_that_it_is_the_last() {
    let (_phase, mut sender) = plain(ConnectionLimits { requests: 3, ..ConnectionLimits::default() }).await;
    for wanted in [None, None, Some("close".to_owned())] {
        assert_eq!(farewell(&mut sender).await, wanted);
    }
    sender.ready().await.expect_err("closed, as announced");
}

#[tokio::test]
async fn an_old_connection_over_http1_ends_with_an_answer_that_says_so() {
    let (_phase, mut sender) = plain(ConnectionLimits { age: Duration::from_secs(2), ..ConnectionLimits::default() }).await;
    assert_eq!(farewell(&mut sender).await, None);
    // Old, and idle: its client may be about to send the next request.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(farewell(&mut sender).await.as_deref(), Some("close"));
    sender.ready().await.expect_err("closed, as announced");
}
