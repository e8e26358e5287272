//! The MCP server learns about clients from the proxy, or from a trusted proxy in front of it.

use std::fs;

use rustls::ALL_VERSIONS;
use serde_json::json;

use super::{Upstream, ask, assert_passed, bucket, call, proxy, resource};
use crate::support::{
    ca::Ca,
    https::{Client, post},
    proxy::Proxy,
};

const CLAIMS: [(&str, &str); 7] = [
    ("x-forwarded-for", "10.1.1.1"),
    ("x-forwarded-host", "bank.example"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=10.1.1.1;host=bank.example"),
    ("x-real-ip", "10.1.1.1"),
    ("x-forwarded-user", "boss"),
    ("x_forwarded_host", "bank.example"),
];

#[tokio::test]
async fn what_a_client_claims_is_replaced() {
    let upstream = Upstream::start().await;
    for args in [&[][..], &["--trusted-proxy", "10.0.0.0/8,fd00::/8"]] {
        let proxy = proxy(&upstream, 9, args);
        assert_passed(&ask(&proxy, &CLAIMS, call(1, "search")).await, "search");
        let seen = upstream.last();
        assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-host")), ("127.0.0.1", "localhost"), "{args:?}");
        assert_eq!(seen.header("x-forwarded-proto"), "http", "{args:?}");
        for name in ["forwarded", "x-real-ip", "x-forwarded-user", "x_forwarded_host"] {
            assert_eq!(seen.header(name), "", "{name} {args:?}");
        }
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &["--trusted-proxy", "127.0.0.0/8"]);
    assert_passed(&ask(&proxy, &CLAIMS, call(1, "search")).await, "search");
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), "10.1.1.1, 127.0.0.1");
    for (name, value) in &CLAIMS[1..] {
        assert_eq!(seen.header(name), *value, "{name}");
    }
}

#[tokio::test]
async fn the_host_is_told_whatever_the_client_speaks() {
    let (upstream, ca, folder) = (Upstream::start().await, Ca::root("root"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = ca.pair();
    let files = [("tls.crt", &cert), ("tls.key", &key)].map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    });
    let limits = resource(json!({"global": bucket(9)}));
    let proxy = Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--tls-cert", &files[0], "--tls-key", &files[1]]);
    for alpn in ["http/1.1", "h2"] {
        let client = Client::with(proxy.address, &ca.pem, ALL_VERSIONS, alpn, None);
        let mut asked = post("/mcp", call(1, "search"));
        *asked.uri_mut() = "https://localhost:8443/mcp".parse().expect("a URL");
        asked.headers_mut().remove("host");
        if alpn == "http/1.1" {
            *asked.uri_mut() = "/mcp".parse().expect("a path");
            asked.headers_mut().insert("host", "localhost:8443".parse().expect("a value"));
        }
        assert_passed(&client.send(asked).await.expect("an answer"), "search");
        let seen = upstream.last();
        assert_eq!((seen.header("x-forwarded-host"), seen.header("x-forwarded-proto")), ("localhost:8443", "https"), "{alpn}");
        assert_eq!(seen.header("host"), upstream.address.to_string(), "{alpn}");
    }
    let client = Client::with(proxy.address, &ca.pem, ALL_VERSIONS, "h2", None);
    let mut foreign = post("/mcp", call(2, "search"));
    *foreign.uri_mut() = "https://evil.example/mcp".parse().expect("a URL");
    foreign.headers_mut().remove("host");
    assert_eq!(client.send(foreign).await.expect("an answer").status, 403);
}
