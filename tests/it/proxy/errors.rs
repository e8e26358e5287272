//! What errors of the proxy's own say: a line of the log for each event, whatever objects are called.

use std::fs;

use serde_json::json;

use super::{Upstream, bucket, proxy, resource};

/// TG103 warns of the name, which is written into the log.
#[tokio::test]
async fn a_name_with_a_line_feed_begins_no_line() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    let tools = |tokens: u32| {
        let name = "a\n2026-01-01T00:00:00Z  INFO tollgate: all is well";
        resource(json!({"tools": [{"name": name, "global": {"maxTokens": tokens, "refillPeriod": "1m"}}, {"name": name}]}))
    };
    fs::write(proxy.file(), tools(0)).expect("the folder is ours");
    proxy.wait_for_log("the old limits stay in force");
    let fine = json!({"tools": [{"name": "b\n2026-01-01T00:00:00Z  INFO tollgate: all is well", "global": bucket(1)}]});
    fs::write(proxy.file(), resource(fine)).expect("the folder is ours");
    proxy.wait_for_log("other limits are in force");
    let log = proxy.log();
    assert!(log.contains("TG103") && log.contains("TG006"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z")), "{log}");
}
