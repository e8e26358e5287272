//! The proxy's own errors: a fitting code, and one line of the log for each event, whatever names objects have.

use std::fs;

use serde_json::json;

use super::{OURS, Upstream, ask, assert_passed, assert_refused, bucket, call, proxy, request, resource, sample, send};
use crate::{
    auth::{
        issuer::{Issuer, Mood},
        signer::{AUDIENCE, Signer},
    },
    support::{
        ca::Ca,
        https::{Client, get},
        port::free_port,
        proxy::Proxy,
        time::eventually,
    },
};

#[tokio::test]
async fn an_error_is_an_invalid_request_only_where_the_request_is_invalid() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    issuer.set(Mood::Status(hyper::StatusCode::INTERNAL_SERVER_ERROR));
    let open = proxy(&upstream, 9, &["--max-body", "300"]);
    let signed_in = proxy(&upstream, 9, &["--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE]);
    let limits = resource(json!({"global": bucket(9)}));
    let down = Proxy::start(&format!("http://127.0.0.1:{}/mcp", free_port()), &limits, &["--store", "memory"]);
    let bearer = format!("Bearer {}", issuer.token(&signer, "alice"));
    let answers = [
        (400, -32600, ask(&open, &[], "{}").await),
        (413, -32600, ask(&open, &[], " ".repeat(400)).await),
        (405, -32600, send(&open, request("PUT", "/mcp", &[], "")).await),
        (401, 401, ask(&signed_in, &[], call(1, "search")).await),
        (401, 401, ask(&signed_in, &[("authorization", "Bearer x")], call(1, "search")).await),
        (503, -32603, ask(&signed_in, &[("authorization", &bearer)], call(1, "search")).await),
        (502, -32603, send(&down, request("GET", "/mcp", &[], "")).await),
        (502, -32603, ask(&down, &[], call(1, "search")).await),
    ];
    for (status, code, answer) in answers {
        assert_refused(&answer, status, "");
        assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
        assert_eq!(answer.headers["cache-control"], "no-store", "{}", answer.text());
    }
}

/// Python's SDK 1.x ends its session at the first HTTP error.
#[tokio::test]
async fn a_session_reads_every_refusal_after_its_id_over_http_200() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(9)}));
    let down = Proxy::start(&format!("http://127.0.0.1:{}/mcp", free_port()), &limits, &["--store", "memory"]);
    let strict = proxy(&upstream, 9, &["--max-body", "300", "--upstream-timeout", "300ms"]);
    let undecided = Proxy::start(&upstream.url(), &limits, &["--redis-url", "redis://127.0.0.1:1", "--on-store-error", "closed"]);
    let nameless = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call"}).to_string();
    let twice = r#"{"method":"tools/call","params":{"name":"a","name":"b"},"jsonrpc":"2.0","id":7}"#;
    let large = format!(r#"{{"method":"tools/call","params":{{"name":"{}"}},"jsonrpc":"2.0","id":7}}"#, "x".repeat(4000));
    let cases = [
        (400, -32602, &strict, nameless),
        (400, -32600, &strict, twice.to_owned()),
        (413, -32600, &strict, large),
        (502, -32603, &strict, call(7, "broken")),
        (502, -32603, &down, call(7, "search")),
        (503, -32603, &undecided, call(7, "search")),
        (504, -32603, &strict, call(7, "slow")),
    ];
    for (status, code, proxy, body) in cases {
        for (version, sent) in [(Some("2025-06-18"), 200), (Some("2025-11-25"), 200), (None, status)] {
            let headers: Vec<_> = version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
            let answer = ask(proxy, &headers, body.clone()).await;
            assert_refused(&answer, sent, "");
            assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
            assert!(sent != 200 || answer.json()["id"] == 7, "{}", answer.text());
        }
    }
    let metrics = get(down.metrics, "/metrics").await.text();
    let series = format!("tollgate_proxy_requests_total{{{OURS},outcome=\"allowed\",status=\"502\"}}");
    assert_eq!(sample(&metrics, &series), Some(3.0), "what happened is counted: {metrics}");
}

#[tokio::test]
async fn a_session_s_refusals_before_its_id_keep_their_status() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let open = proxy(&upstream, 9, &["--max-body", "300"]);
    let signed_in = proxy(&upstream, 9, &["--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE]);
    let session = ("mcp-protocol-version", "2025-11-25");
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"message": "x".repeat(400)}}).to_string();
    let answers = [
        (401, ask(&signed_in, &[session], call(1, "search")).await),
        (403, ask(&open, &[session, ("origin", "http://evil.example")], call(1, "search")).await),
        (404, send(&open, request("POST", "/other", &[session], call(1, "search"))).await),
        (415, ask(&open, &[session, ("content-encoding", "gzip")], call(1, "search")).await),
        (400, ask(&open, &[session], r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#).await),
        (413, ask(&open, &[session], notification).await),
        (413, ask(&open, &[session], " ".repeat(400)).await),
    ];
    for (status, answer) in answers {
        assert_refused(&answer, status, "");
    }
}

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
    proxy.wait_for_log("keeping the current limits");
    let fine = json!({"tools": [{"name": "b\n2026-01-01T00:00:00Z  INFO tollgate: all is well", "global": bucket(1)}]});
    fs::write(proxy.file(), resource(fine)).expect("the folder is ours");
    proxy.wait_for_log("limits reloaded");
    let log = proxy.log();
    assert!(log.contains("TG103") && log.contains("TG006"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z")), "{log}");
}

/// A certificate that cannot be read for a while, as on a mount that hangs, must not stop the one thread that accepts connections.
#[tokio::test]
async fn certificates_are_read_beside_what_serves() {
    let (upstream, ca, folder) = (Upstream::start().await, Ca::root("root"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = ca.pair();
    let files = [("tls.crt", &cert), ("tls.key", &key)].map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path
    });
    let [cert, key] = files.each_ref().map(|file| file.display().to_string());
    let limits = resource(json!({"global": bucket(9)}));
    let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--tls-cert", &cert, "--tls-key", &key]);
    let client = Client::new(proxy.address, &ca.pem);
    assert_passed(&client.post("/mcp", call(1, "search")).await, "search");
    fs::remove_file(&files[0]).expect("it is there");
    let made = std::process::Command::new("mkfifo").arg(&files[0]).status().expect("mkfifo is there");
    assert!(made.success());
    // Opening it to write ends when the proxy opens it to read, which is its next look; and with this end open, that look does not.
    let fifo = files[0].clone();
    let opened = std::thread::spawn(move || fs::OpenOptions::new().write(true).open(fifo));
    eventually("a look at the files", async || opened.is_finished()).await;
    let _held = opened.join().expect("no panic").expect("it is open");
    let answer = tokio::time::timeout(super::PATIENCE, client.post("/mcp", call(2, "search"))).await.expect("it still serves");
    assert_passed(&answer, "search");
}
