//! Bodies that Envoy passes on as text, without `pack_as_bytes`: what a server might read differently never reaches it.

use hyper::body::Bytes;
use serde_json::json;

use super::{Behind, ask};
use crate::{
    mcp::bodies,
    proxy::{assert_denied, assert_passed, assert_refused, bucket, call, resource},
    support::{authz::Authz, envoy::Envoy, upstream::Upstream},
};

/// Sends bodies as text.
fn as_text(upstream: &Upstream, authz: &Authz) -> Envoy {
    Envoy::start_with(upstream.address, authz.address, |config| {
        assert!(config.contains(", pack_as_bytes: true"));
        config.replace(", pack_as_bytes: true", "")
    })
}

/// A call of a tool whose name, and whose argument, are these bytes.
fn of_bytes(name: &[u8], argument: &[u8]) -> Bytes {
    let head = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":""#;
    [&head[..], name, br#"","arguments":{"text":""#, argument, br#""}}}"#].concat().into()
}

#[tokio::test]
async fn a_text_that_may_have_been_other_bytes_is_refused() {
    let limits = resource(json!({"tools": [{"name": "search", "global": bucket(1)}]}));
    let behind = Behind::with(&limits, &[]).await;
    let text = as_text(&behind.upstream, &behind.authz);
    let send = async |headers: &[(&str, &str)], body: Bytes| ask(text.address, headers, body).await;
    // What is not UTF-8 comes as `!`: were it decided, `search\xff` would be another tool here, and `search` at a server that skips the byte.
    for (name, argument) in [
        (&b"search\xff"[..], &b""[..]),
        (b"search", b"\xff"),
        (b"search", b"caf\xe9"),
        (b"search", b"\xc0\xa2"),
        (b"search", b"\xed\xa0\x80"),
        (b"search", b"\xe2\x82"),
        (b"search", b"\xf4\x90\x80\x80"),
        (b"search", b"Hello!"),
        (b"wow!", b""),
    ] {
        let answer = send(&[], of_bytes(name, argument)).await;
        assert_refused(&answer, 400, "'!' may stand for any byte; it must pass on bytes (pack_as_bytes)");
    }
    let answer = send(&[], of_bytes(b"search", "\u{fffd}".as_bytes())).await;
    assert_refused(&answer, 400, "'\u{fffd}' may stand for any byte");
    // A session survives it where the id is certain.
    let session = [("mcp-protocol-version", "2025-11-25")];
    let answer = send(&session, of_bytes(b"search", b"\xff")).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(7)), "{}", answer.text());
    let unsure = call(1, "search!").replace("\"id\":1", "\"id\":\"a!\"");
    let answer = send(&session, unsure.into()).await;
    assert_eq!((answer.status, answer.json().get("id")), (400, None), "{}", answer.text());
    assert!(behind.upstream.seen().is_empty());
    assert_eq!(behind.authz.log().matches("set pack_as_bytes").count(), 1, "{}", behind.authz.log());
    // Any other text is what was sent.
    assert_passed(&send(&[], call(1, "s\u{fc}che").into()).await, "s\u{fc}che");
    assert_passed(&send(&[], call(2, "search").into()).await, "search");
    assert_denied(&send(&[], call(3, "search").into()).await, 3, "global");
    // As bytes, an exclamation mark is one.
    assert_passed(&behind.ask(&[], of_bytes(b"other", b"Hello!")).await, "other");
    assert_refused(&behind.ask(&[], of_bytes(b"other", b"\xff")).await, 400, "is not UTF-8");
}

#[tokio::test]
async fn what_passes_as_text_passes_as_bytes() {
    let behind = Behind::limited(100_000, &[]).await;
    let text = as_text(&behind.upstream, &behind.authz);
    let mut passed = 0;
    for (body, _) in bodies::all() {
        let what = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
        let as_text = ask(text.address, &[], body.clone()).await;
        let as_bytes = behind.ask(&[], body.clone()).await;
        let is_sure = str::from_utf8(&body).is_ok_and(|text| !text.contains(['!', '\u{fffd}']));
        match is_sure {
            true => assert_eq!((as_text.status, as_text.text()), (as_bytes.status, as_bytes.text()), "{what}"),
            false => assert!((400..500).contains(&as_text.status), "{what}: {}", as_text.status),
        }
        passed += usize::from(as_text.status == 200);
    }
    assert!(passed > 20, "some pass");
}
