//! SIGTERM: requests in flight finish within their grace period.

use http_body_util::BodyExt;
use tokio::{net::TcpStream, time::timeout};

use super::{PATIENCE, ask, assert_passed, call, posted, proxy, request};
use crate::support::{
    https::{get, send_plain},
    time::eventually,
    upstream::Upstream,
};

#[tokio::test]
async fn streams_end_by_themselves_and_then_the_proxy_does() {
    let upstream = Upstream::start().await;
    let mut proxy = proxy(&upstream, 9, &["--drain", "500ms", "--grace", "20s"]);
    let response = send_plain(proxy.address, posted(&[], call(1, "stream"))).await;
    let stream = upstream.stream().await;
    proxy.signal("TERM");
    proxy.wait_for_log("stop signal received");
    assert_eq!(get(proxy.metrics, "/readyz").await.status, 503);
    assert_passed(&ask(&proxy, &[], call(2, "search")).await, "search");
    eventually("the port to be closed", async || TcpStream::connect(proxy.address).await.is_err()).await;
    assert!(proxy.is_running(), "the stream is not over");
    stream.send("data: 1\n\n");
    stream.send("data: 2\n\n");
    drop(stream);
    let body = timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect("a whole answer").to_bytes();
    assert_eq!(body, "data: 1\n\ndata: 2\n\n");
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[tokio::test]
async fn streams_that_do_not_end_are_cut_after_their_grace() {
    let upstream = Upstream::start().await;
    let mut proxy = proxy(&upstream, 9, &["--grace", "300ms"]);
    let response = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
    let stream = upstream.stream().await;
    proxy.signal("TERM");
    let cut = timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect_err("a cut is not an end");
    let cause = std::error::Error::source(&cut).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("unexpected EOF during chunk"), "{cut}: {cause}");
    stream.closed().await;
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[tokio::test]
async fn told_twice_it_stops_at_once() {
    let upstream = Upstream::start().await;
    let mut proxy = proxy(&upstream, 9, &["--grace", "60s"]);
    let _response = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
    let stream = upstream.stream().await;
    proxy.signal("TERM");
    proxy.wait_for_log("stop signal received");
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(2), "{}", proxy.log());
    stream.closed().await;
}
