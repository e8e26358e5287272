//! Connections that are idle, and give way.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{assert_serves, client, http2};
use crate::support::serve::{Serve, wait_until};

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
