//! The file changes while the proxy runs.

use std::fs;

use serde_json::json;

use super::{ask, assert_denied, assert_passed, bucket, call, proxy, request, resource, until_limits_current};
use crate::support::{https::send_plain, upstream::Upstream};

#[tokio::test]
async fn other_limits_come_into_force_and_no_stream_ends() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    let stream_of_client = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
    let stream = upstream.stream().await;
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");

    let tools = json!({"tools": [{"name": "search", "global": bucket(2)}]});
    fs::write(proxy.file(), resource(tools)).expect("the folder is ours");
    proxy.wait_for_log("limits reloaded");
    for id in 3..=4 {
        assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
    }
    let denied = ask(&proxy, &[], call(5, "search")).await;
    assert_denied(&denied, 5, "global");
    assert_eq!(denied.json()["error"]["data"]["tool"], "search");
    assert_passed(&ask(&proxy, &[], call(6, "other")).await, "other");

    stream.send("data: still here\n\n");
    let mut body = stream_of_client.into_body();
    let frame = tokio::time::timeout(super::PATIENCE, http_body_util::BodyExt::frame(&mut body)).await.expect("in time");
    assert_eq!(frame.expect("a part").expect("it goes on").into_data().expect("data"), "data: still here\n\n");
    assert!(!stream.is_closed());
}

#[tokio::test]
async fn limits_that_cannot_work_leave_the_old_ones_in_force() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &[]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    fs::write(proxy.file(), resource(json!({"global": {"maxTokens": 0, "refillPeriod": "1m"}}))).expect("ours");
    proxy.wait_for_log("keeping the current limits");
    until_limits_current(&proxy, false).await;
    assert!(proxy.log().contains("TG006 spec.rateLimiting.global.maxTokens"), "{}", proxy.log());
    assert_denied(&ask(&proxy, &[], call(2, "search")).await, 2, "global");
    fs::write(proxy.file(), resource(json!({"global": bucket(1)}))).expect("ours");
    until_limits_current(&proxy, true).await;
    fs::remove_file(proxy.file()).expect("it is there");
    proxy.wait_for_log("cannot read the file; keeping the current limits");
    until_limits_current(&proxy, false).await;
    assert_denied(&ask(&proxy, &[], call(3, "search")).await, 3, "global");
    fs::write(proxy.file(), resource(json!({"global": bucket(50)}))).expect("ours");
    proxy.wait_for_log("limits reloaded");
    until_limits_current(&proxy, true).await;
    assert_eq!(proxy.log().matches("cannot read the file").count(), 1, "{}", proxy.log());
}
