//! HTTPS on either side.

use std::{fs, path::Path};

use hyper::Version;
use rustls::ALL_VERSIONS;
use serde_json::json;

use super::{ask, assert_passed, bucket, call, resource};
use crate::{
    support::{
        ca::Ca,
        https::{Client, post},
        proxy::Proxy,
        serve::command,
        upstream::Upstream,
    },
    tls::alert,
};

#[tokio::test]
async fn clients_come_in_over_https_with_http_1_and_2() {
    let (upstream, ca, folder) = (Upstream::start().await, Ca::root("root"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = ca.pair();
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let files = [place("tls.crt", &cert), place("tls.key", &key), place("ca.crt", &ca.pem)];
    let limits = resource(json!({"global": bucket(9), "perUser": bucket(2)}));
    let args =
        ["--store", "memory", "--user-header", "x-user", "--user-header-from", "loopback", "--tls-cert", &files[0], "--tls-key", &files[1]];
    let proxy = Proxy::start(&upstream.url(), &limits, &args);
    for alpn in ["http/1.1", "h2"] {
        let client = Client::with(proxy.address, &ca.pem, ALL_VERSIONS, alpn, None);
        assert_passed(&client.post("/mcp", call(1, "search")).await, "search");
        assert_eq!(upstream.last().header("x-forwarded-proto"), "https", "{alpn}");
        let mut asked = post("/mcp", call(2, "search"));
        asked.headers_mut().insert("x-user", "alice".parse().expect("a value"));
        assert_passed(&client.send(asked).await.expect("an answer"), "search");
        assert_eq!(upstream.last().version, Version::HTTP_11, "the server's own, whatever the client speaks");
    }
    let with_ca = ["--client-ca", &files[2]];
    let proxy = Proxy::start(&upstream.url(), &limits, &args.iter().chain(&with_ca).copied().collect::<Vec<_>>());
    let refused = alert(&Client::new(proxy.address, &ca.pem)).await;
    assert!(refused.contains("CertificateRequired"), "no certificate, no connection: {refused}");
    let pair = ca.client_pair("gateway", &[]);
    let known = Client::with(proxy.address, &ca.pem, ALL_VERSIONS, "http/1.1", Some((&pair.0, &pair.1)));
    assert_passed(&known.post("/mcp", call(4, "search")).await, "search");
}

#[tokio::test]
async fn a_server_over_https_is_believed_only_with_a_certificate() {
    let (ca, other, folder) = (Ca::root("root"), Ca::root("other"), tempfile::tempdir().expect("a folder"));
    let upstream = Upstream::start_tls(&ca.pair()).await;
    let (good, bad) = (folder.path().join("good.crt"), folder.path().join("bad.crt"));
    fs::write(&good, &ca.pem).expect("the folder is ours");
    fs::write(&bad, &other.pem).expect("the folder is ours");
    let url = format!("https://localhost:{}/mcp", upstream.address.port());
    let limits = resource(json!({"global": bucket(9)}));
    let proxy = Proxy::start_trusting(&good, &url, &limits, &["--store", "memory"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    assert_eq!(upstream.last().version, Version::HTTP_2, "as it offers");
    let proxy = Proxy::start_trusting(&bad, &url, &limits, &["--store", "memory"]);
    super::assert_refused(&ask(&proxy, &[], call(2, "search")).await, 502, "the MCP server cannot be reached");
    let of = |file: &Path| Proxy::start(&url, &limits, &["--store", "memory", "--upstream-ca", &file.display().to_string()]);
    assert_passed(&ask(&of(&good), &[], call(3, "search")).await, "search");
    super::assert_refused(&ask(&of(&bad), &[], call(4, "search")).await, 502, "the MCP server cannot be reached");
    assert_eq!(upstream.seen().len(), 2);
    for (name, text, why) in [("empty", "", "it contains none"), ("garbage", "garbage", "it contains none"), ("none", "", "No such file")] {
        let place = folder.path().join(name);
        if name != "none" {
            fs::write(&place, text).expect("the folder is ours");
        }
        fs::write(folder.path().join("r.json"), &limits).expect("the folder is ours");
        let args = ["proxy", "-f", "r.json", "--upstream", &url, "--store", "memory", "--upstream-ca", name];
        let output = command(&folder).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{name} is not a file of CA certificates in PEM")) && said.contains(why), "{said}");
    }
}
