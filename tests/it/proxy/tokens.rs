//! Callers identified by tokens of a real issuer: who is admitted, whose calls are counted together, and how others are refused.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{OURS, ask, assert_denied, assert_passed, assert_refused, bucket, call, raw, request, resource, sample, send};
use crate::{
    auth::{
        issuer::{Issuer, Mood},
        signer::{AUDIENCE, Signer, key_set, seconds, with},
    },
    support::{
        ca::Ca,
        https::{Answer, get},
        proxy::Proxy,
        time::eventually,
        upstream::Upstream,
    },
};

/// A proxy that lets each user call once, and all of them ninety-nine times.
fn once_per_user(upstream: &Upstream, args: &[&str]) -> Proxy {
    let limits = resource(json!({"global": bucket(99), "perUser": bucket(1)}));
    Proxy::start(&upstream.url(), &limits, &[&["--store", "memory"], args].concat())
}

fn trusting<'a>(issuer: &'a Issuer, more: &[&'a str]) -> Vec<&'a str> {
    [&["--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE], more].concat()
}

async fn ask_as(proxy: &Proxy, token: &str, id: u32) -> Answer {
    ask(proxy, &[("authorization", &format!("Bearer {token}"))], call(id, "search")).await
}

fn challenge(answer: &Answer) -> &str {
    answer.headers.get("www-authenticate").map_or("", |value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn each_subject_has_a_bucket_whatever_token_it_brings() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &[]));
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "alice"), 1).await, "search");
    assert_eq!(upstream.last().header("authorization"), "", "it was issued for the proxy, and MCP forbids to pass it on");
    let renewed = signer.token(&with(json!({"iss": issuer.url, "sub": "alice", "exp": seconds() + 900})));
    assert_denied(&ask_as(&proxy, &renewed, 2).await, 2, "perUser");
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "bob"), 3).await, "search");
    // Lists are not counted, but not for everybody either.
    let list = json!({"jsonrpc": "2.0", "id": 4, "method": "tools/list"}).to_string();
    assert_refused(&ask(&proxy, &[], list.clone()).await, 401, "a bearer token is required");
    let listed = ask(&proxy, &[("authorization", &format!("bearer {renewed}"))], list).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let log = proxy.log();
    assert!([&renewed, "alice", "bob"].iter().all(|secret| !log.contains(*secret)), "{log}");
}

#[tokio::test]
async fn tokens_that_are_no_good_get_401_and_a_reason() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &[]));
    let of = |changes: Value| {
        let mut claims = serde_json::Map::from_iter([("iss".to_owned(), json!(issuer.url))]);
        claims.extend(changes.as_object().expect("a map").clone());
        signer.token(&with(claims.into()))
    };
    let unsigned = |header: Value| {
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(header), part(with(json!({"iss": issuer.url}))))
    };
    let good = of(json!({}));
    let cases = [
        (of(json!({"exp": seconds() - 3600})), "the token has expired"),
        (of(json!({"nbf": seconds() + 3600})), "the token is not valid yet"),
        (of(json!({"aud": "https://other.test"})), "the token is for another audience"),
        (of(json!({"iss": "https://other.test"})), "the token is from another issuer"),
        (of(json!({"sub": null})), "the token has no sub claim"),
        (of(json!({"aud": null})), "the token is malformed: aud is missing"),
        (unsigned(json!({"alg": "none", "kid": "e"})), "the token's algorithm is not allowed"),
        (unsigned(json!({"alg": "HS256", "kid": "e"})), "the token's algorithm is not allowed"),
        (unsigned(json!({"alg": "ES256", "kid": "e"})), "the token's signature is invalid"),
        (issuer.token(&Signer::es256("e"), "alice"), "the token's signature is invalid"),
        (issuer.token(&Signer::es256("unknown"), "alice"), "the token is signed with a key that the issuer does not have"),
        (of(json!({"x": "x".repeat(20_000)})), "the token is longer than 16384 bytes"),
        ("garbage".to_owned(), "the token is malformed"),
        (format!("{good} {good}"), "the token is malformed"),
    ];
    for (id, (token, text)) in (0..).zip(&cases) {
        let answer = ask_as(&proxy, token, id).await;
        assert_refused(&answer, 401, text);
        let response = challenge(&answer);
        assert!(response.starts_with("Bearer error=\"invalid_token\"") && response.contains(text), "{response}");
        assert!(!answer.text().contains(token.as_str()), "it is not told back");
    }
    for scheme in ["Basic YWxpY2U6YQ==", "Bearer", "", "DPoP x"] {
        let answer = ask(&proxy, &[("authorization", scheme)], call(50, "search")).await;
        assert_eq!(answer.status, 401, "{scheme:?}: {}", answer.text());
    }
    let twice = [("authorization", format!("Bearer {good}")), ("authorization", "Bearer x".to_owned())];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_refused(&ask(&proxy, &twice, call(51, "search")).await, 400, "the request carries more than one credential");
    assert_refused(&ask_as(&proxy, &"a".repeat(64 * 1024), 52).await, 401, "the token is longer than 16384 bytes");
    let endless = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", "a".repeat(1 << 20));
    let response = raw(&proxy, endless).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431 "), "{response}");
    assert!(upstream.seen().is_empty(), "none of it went on");
    // None of it was counted as alice's either.
    assert_passed(&ask_as(&proxy, &good, 53).await, "search");
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}

#[tokio::test]
async fn what_nobody_verified_names_no_bucket() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let proxy = once_per_user(&upstream, &["--auth", "none"]);
    for id in 1..=3 {
        assert_passed(&ask_as(&proxy, &signer.token_of("alice"), id).await, "search");
    }
    proxy.wait_for_log("callers are not authenticated; per-user limits are disabled");
    assert!(upstream.last().header("authorization").starts_with("Bearer "), "the server behind asks for it, if anybody does");
}

#[tokio::test]
async fn with_optional_sign_in_only_bad_tokens_are_turned_away() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &["--auth", "optional", "--pass-token"]));
    for id in 1..=2 {
        assert_passed(&ask(&proxy, &[], call(id, "search")).await, "search");
    }
    let token = issuer.token(&signer, "alice");
    assert_passed(&ask_as(&proxy, &token, 3).await, "search");
    assert_eq!(upstream.last().header("authorization"), format!("Bearer {token}"), "the server behind asks for it");
    assert_denied(&ask_as(&proxy, &token, 4).await, 4, "perUser");
    assert_refused(&ask_as(&proxy, &Signer::es256("x").token_of("alice"), 5).await, 401, "the token is from another issuer");
}

#[tokio::test]
async fn clients_are_told_where_to_sign_in() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &["--resource-url", "https://mcp.example/mcp"]));
    let refused = ask(&proxy, &[], call(1, "search")).await;
    assert_refused(&refused, 401, "a bearer token is required");
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    assert_eq!(challenge(&refused), format!("Bearer resource_metadata=\"https://mcp.example{metadata}\""));
    let response = send(&proxy, request("GET", metadata, &[], "")).await.json();
    assert_eq!((&response["resource"], &response["authorization_servers"]), (&json!("https://mcp.example/mcp"), &json!([issuer.url])));
    // Streams and the end of sessions are for those who are signed in, too.
    for method in ["GET", "DELETE"] {
        assert_eq!(send(&proxy, request(method, "/mcp", &[], "")).await.status, 401, "{method}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn an_issuer_that_is_away_lets_nobody_in_and_stalls_nobody() {
    let (upstream, signer, next) = (Upstream::start().await, Signer::es256("e"), Signer::es256("next"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &[]));
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "alice"), 1).await, "search");
    issuer.set(Mood::Status(StatusCode::INTERNAL_SERVER_ERROR));
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "bob"), 2).await, "search");
    let stranger = ask_as(&proxy, &issuer.token(&next, "carol"), 3).await;
    assert_refused(&stranger, 503, "the issuer's signing keys are currently unavailable");

    issuer.set_keys(key_set(&[&next]));
    issuer.set(Mood::Hangs);
    let other = once_per_user(&upstream, &trusting(&issuer, &[]));
    assert_refused(&ask_as(&other, &issuer.token(&next, "carol"), 4).await, 503, "the issuer's signing keys are currently unavailable");
    issuer.set(Mood::Answers);
    let carol = issuer.token(&next, "carol");
    eventually("the issuer that is back to be asked", async || ask_as(&other, &carol, 5).await.status != 503).await;
    assert_denied(&ask_as(&other, &issuer.token(&next, "carol"), 6).await, 6, "perUser");
}

/// Waits for a status of `/readyz`, and gives back what it says.
async fn readiness(proxy: &Proxy, status: u16) -> String {
    let mut last = None;
    eventually(&format!("readiness with {status}"), async || last.insert(get(proxy.metrics, "/readyz").await).status == status).await;
    last.expect("it was asked").text()
}

#[tokio::test]
async fn a_proxy_is_ready_when_it_has_had_keys_to_let_anybody_in_with() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[]).await;
    let (required, optional) =
        (once_per_user(&upstream, &trusting(&issuer, &[])), once_per_user(&upstream, &trusting(&issuer, &["--auth", "optional"])));
    assert!(readiness(&optional, 200).await.contains("[-] the issuer's keys have been read (not needed)\n"));
    assert_refused(&ask_as(&required, &issuer.token(&signer, "alice"), 1).await, 401, "a key that the issuer does not have");
    assert!(readiness(&required, 503).await.contains("[-] the issuer's keys have been read\n"), "no key, nobody is let in");
    issuer.set(Mood::Hangs);
    let required = once_per_user(&upstream, &trusting(&issuer, &[]));
    assert_refused(
        &ask_as(&required, &issuer.token(&signer, "alice"), 2).await,
        503,
        "the issuer's signing keys are currently unavailable",
    );
    assert!(readiness(&required, 503).await.contains("[-] the issuer's keys have been read\n"));
    issuer.set_keys(key_set(&[&signer]));
    issuer.set(Mood::Answers);
    assert!(readiness(&required, 200).await.contains("[+] the issuer's keys have been read\n"));
    assert_passed(&ask_as(&required, &issuer.token(&signer, "alice"), 3).await, "search");
    issuer.set(Mood::Away);
    let next = issuer.token(&Signer::es256("next"), "alice");
    assert_eq!(ask_as(&required, &next, 4).await.status, 503);
    readiness(&required, 200).await;
}

#[tokio::test]
async fn refused_sign_ins_are_counted_by_reason_beside_the_age_of_the_keys() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let proxy = once_per_user(&upstream, &trusting(&issuer, &[]));
    let expired = signer.token(&with(json!({"iss": issuer.url, "exp": seconds() - 3600})));
    for (token, reason) in [("", "malformed"), (&expired, "expired"), (&expired, "expired")] {
        assert_eq!(ask_as(&proxy, token, 1).await.status, 401, "{reason}");
    }
    assert_eq!(ask(&proxy, &[], call(2, "search")).await.status, 401);
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "alice"), 3).await, "search");
    let metrics = get(proxy.metrics, "/metrics").await.text();
    let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("tollgate_proxy_sign_ins_refused_total{")).collect();
    let line = |reason, count| format!("tollgate_proxy_sign_ins_refused_total{{{OURS},reason=\"{reason}\"}} {count}");
    for (reason, count) in [("malformed", 1), ("expired", 2), ("missing", 1)] {
        assert!(counted.contains(&line(reason, count).as_str()), "{counted:?}");
    }
    assert_eq!(counted.len(), 3, "{counted:?}");
    let age = sample(&metrics, &format!("tollgate_proxy_issuer_keys_age_seconds{{{OURS}}}")).expect(&metrics);
    assert!((0.0..60.0).contains(&age), "{age}");
    let anonymous = once_per_user(&upstream, &["--auth", "none"]);
    assert!(!get(anonymous.metrics, "/metrics").await.text().contains("issuer_keys_age_seconds{"), "there is no issuer");
}

#[tokio::test]
async fn settings_that_leave_a_gap_are_warned_of_once() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let (no_url, optional) = (
        "no --resource-url: clients without a token cannot discover the issuer",
        "--auth optional: callers without a token are counted only by global limits",
    );
    let url = ["--resource-url", "https://mcp.example/mcp"];
    for (args, warned, quiet) in [
        (&[][..], vec![no_url], vec![optional]),
        (&["--auth", "optional"], vec![no_url, optional], vec![]),
        (&url, vec![], vec![no_url, optional]),
        (&["--pass-token"], vec![], vec![no_url, optional]),
    ] {
        let proxy = once_per_user(&upstream, &trusting(&issuer, args));
        let log = proxy.log();
        let times = |text: &str| log.lines().filter(|line| line.contains("WARN") && line.contains(text)).count();
        assert!(warned.iter().all(|text| times(text) == 1) && quiet.iter().all(|text| times(text) == 0), "{args:?}: {log}");
    }
    let global = resource(json!({"global": bucket(1)}));
    let args = [&["--store", "memory", "--auth", "optional"], &trusting(&issuer, &url)[..]].concat();
    assert!(!Proxy::start(&upstream.url(), &global, &args).log().contains("--auth optional"), "no limit counts users");
}

#[tokio::test]
async fn opaque_tokens_are_introspected_as_the_resource_says() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().expect("a folder"));
    let issuer = Issuer::start(&[]).await;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "confidential\n").expect("written");
    let server = resource(json!({"perUser": bucket(1)})).replace("\"sign-in\"", &format!("\"sign-in\",\"audience\":\"{AUDIENCE}\""));
    let inline = json!({"issuer": issuer.url, "introspectionUrl": format!("{}/introspect", issuer.url), "clientId": "proxy"});
    let described = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig", "metadata": {"name": "sign-in"},
        "spec": {"type": "inline", "inline": inline},
    });
    let both = format!("{server}\n---\n{described}\n");
    issuer.set_introspected("opaque", json!({"active": true, "sub": "alice", "aud": AUDIENCE}));
    let proxy = Proxy::start(&upstream.url(), &both, &["--store", "memory", "--oidc-client-secret-file", &secret.display().to_string()]);
    assert_passed(&ask_as(&proxy, "opaque", 1).await, "search");
    assert_denied(&ask_as(&proxy, "opaque", 2).await, 2, "perUser");
    assert_refused(&ask_as(&proxy, "garbage", 3).await, 401, "the token is not active");
    readiness(&proxy, 200).await;
    assert!(!proxy.log().contains("confidential") && !proxy.log().contains("opaque "), "{}", proxy.log());
    issuer.set(Mood::Hangs);
    let stalled = ask_as(&proxy, "unknown", 4).await;
    assert_refused(&stalled, 503, "the issuer's introspection service is currently unavailable");
    assert_eq!(challenge(&stalled), "", "nothing is wrong with the token");
    assert_denied(&ask_as(&proxy, "opaque", 5).await, 5, "perUser");

    let without = Proxy::start(&upstream.url(), &both, &["--store", "memory"]);
    without.wait_for_log("needs the client's secret (--oidc-client-secret-file)");
    assert_refused(&ask_as(&without, "opaque", 6).await, 401, "the token is malformed");
}

/// Bundles of systems come close to 256 KiB, and companies add their own.
#[tokio::test]
async fn a_large_bundle_of_cas_is_read_to_its_end() {
    let (upstream, signer, folder) = (Upstream::start().await, Signer::es256("e"), tempfile::tempdir().expect("a folder"));
    let issuer = Issuer::start_tls(&[&signer]).await;
    let (bundle, other) = (folder.path().join("ca.crt"), Ca::root("another").pem);
    let own = issuer.ca_pem.as_deref().expect("it speaks TLS");
    std::fs::write(&bundle, format!("{}{own}", other.repeat(300 * 1024 / other.len() + 1))).expect("written");
    let proxy = once_per_user(&upstream, &trusting(&issuer, &["--oidc-ca", &bundle.display().to_string()]));
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "alice"), 1).await, "search");
}

#[tokio::test]
async fn the_resource_says_who_issues_tokens() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let server = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": "demo"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "127.0.0.1:1"},
            "oidcConfigRef": {"name": "sign-in", "audience": AUDIENCE},
            "rateLimiting": {"perUser": bucket(1)},
        },
    });
    let described = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig", "metadata": {"name": "sign-in"},
        "spec": {"type": "inline", "inline": {"issuer": issuer.url}},
    });
    let both = format!("{server}\n---\n{described}\n");
    let proxy = Proxy::start(&upstream.url(), &both, &["--store", "memory"]);
    assert_refused(&ask(&proxy, &[], call(1, "search")).await, 401, "a bearer token is required");
    assert_passed(&ask_as(&proxy, &issuer.token(&signer, "alice"), 2).await, "search");
    assert_denied(&ask_as(&proxy, &issuer.token(&signer, "alice"), 3).await, 3, "perUser");
}
