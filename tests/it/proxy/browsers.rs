//! What a page reads in a real browser: the wait of a denial, and every other answer of the proxy's own, if its origin is allowed.

use serde_json::{Value, json};

use super::{Upstream, bucket, call, resource};
use crate::{
    auth::{
        issuer::Issuer,
        signer::{AUDIENCE, Signer},
    },
    support::{browser::Site, proxy::Proxy},
};

/// A `fetch` of a call.
fn post(proxy: &Proxy, body: &str, headers: Value) -> (String, Value) {
    let mut init = json!({"method": "POST", "body": body, "headers": {"content-type": "application/json"}});
    let fields = headers.as_object().expect("headers").clone();
    init["headers"].as_object_mut().expect("headers").extend(fields);
    (proxy.url(), init)
}

async fn seen_by(named: &str, visited: &str) -> Vec<crate::support::browser::Seen> {
    let (site, upstream, signer) = (Site::new(), Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let limits = resource(json!({"tools": [{"name": "search", "global": bucket(1)}]}));
    let origin = site.origin(named);
    let args = ["--store", "memory", "--allowed-origin", &origin, "--max-body", "300"];
    let open = Proxy::start(&upstream.url(), &limits, &args);
    let sign_in = ["--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE, "--resource-url", "https://mcp.example/mcp"];
    let closed = Proxy::start(&upstream.url(), &limits, &[&args[..], &sign_in].concat());
    let at = |proxy: &Proxy, path: &str| format!("http://{}{path}", proxy.address);
    let asks = [
        post(&open, &call(1, "search"), json!({})),
        post(&open, &call(2, "search"), json!({})),
        post(&open, &call(3, "search"), json!({"mcp-protocol-version": "2025-11-25"})),
        post(&open, "{}", json!({})),
        post(&open, &" ".repeat(400), json!({})),
        post(&open, &call(4, "broken"), json!({})),
        (at(&open, "/other"), json!({"method": "POST", "body": ""})),
        post(&closed, &call(5, "search"), json!({})),
        (at(&closed, "/.well-known/oauth-protected-resource/mcp"), json!({})),
    ];
    let visited = site.origin(visited);
    // The servers of the test are on this runtime.
    tokio::task::spawn_blocking(move || site.visit(&visited, &asks)).await.expect("a report")
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_the_wait_and_every_other_answer() {
    let seen = seen_by("localhost", "localhost").await;
    let statuses: Vec<_> = seen.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 429, 200, 400, 413, 502, 404, 401, 200], "{seen:?}");
    let wait: u32 = seen[1].wait.as_deref().expect("Retry-After").parse().expect("seconds");
    assert!((3500..=3600).contains(&wait), "{seen:?}");
    let in_session: Value = serde_json::from_str(&seen[2].text).expect("JSON");
    assert!(in_session["error"]["data"]["retryAfterSeconds"].as_f64().is_some_and(|wait| wait > 3500.0), "{seen:?}");
    assert!(seen[2].wait.is_some(), "{seen:?}");
    assert!(seen[7].challenge.as_deref().is_some_and(|challenge| challenge.contains("resource_metadata=")), "{seen:?}");
    assert!(seen[8].text.contains("authorization_servers"), "{seen:?}");
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing() {
    let seen = seen_by("localhost", "127.0.0.1").await;
    assert!(seen.iter().all(|seen| seen.text == "TypeError: Failed to fetch"), "{seen:?}");
}
