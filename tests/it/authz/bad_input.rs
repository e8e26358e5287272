//! gRPC spoken by hand: what Envoy would not send.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tollgate::authz::{
    request::SERVER,
    wire::{
        AttributeContext, CheckRequest, CheckResponse, Entry, HealthCheckRequest, HealthCheckResponse, HttpRequest, HttpResponse,
        Request as Asked,
    },
};

use crate::{
    proxy::{PATIENCE, bucket, call, resource},
    support::{authz::Authz, https::get},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

fn start(args: &[&str]) -> Authz {
    Authz::start(&[&resource(json!({"global": bucket(1000)}))], &[&["--store", "memory"], args].concat())
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A message as gRPC frames it.
fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).expect("short").to_be_bytes(), &bytes].concat().into()
}

fn request(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let request = Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc").header("te", "trailers");
    request.body(Full::new(body)).expect("a request")
}

/// The code of gRPC, and the message's bytes.
async fn sent(address: SocketAddr, path: &str, body: Bytes) -> (i32, Bytes) {
    let response = connect(address).await.send_request(request(path, body)).await.expect("an answer");
    let code = |headers: &hyper::HeaderMap| headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse::<i32>().ok());
    let at_once = code(response.headers());
    let body = timeout(PATIENCE, response.into_body().collect()).await.expect("an end").expect("unbroken");
    let code = at_once.or_else(|| body.trailers().and_then(code)).expect("a code");
    let bytes = body.to_bytes();
    (code, bytes.slice(bytes.len().min(5)..))
}

/// The HTTP status of what Envoy is told, and the text of it; 200 where the request goes on.
pub async fn checked(address: SocketAddr, check: &CheckRequest) -> (i32, String) {
    let (code, bytes) = sent(address, CHECK, framed(check)).await;
    assert_eq!(code, 0, "an answer to the check");
    match CheckResponse::decode(bytes).expect("a response").http_response.expect("one of both") {
        HttpResponse::Ok(_) => (200, String::new()),
        HttpResponse::Denied(denied) => (denied.status.expect("a status").code, denied.body),
    }
}

pub fn entry(key: &str, value: &[u8]) -> Entry {
    Entry { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value) }
}

pub fn check(headers: Vec<Entry>, body: impl Into<Bytes>, context: Vec<Entry>) -> CheckRequest {
    let json = entry("content-type", b"application/json");
    let headers = [vec![json], headers].concat();
    let http = HttpRequest {
        method: "POST".into(),
        path: "/mcp".into(),
        host: "localhost".into(),
        headers,
        raw_body: body.into(),
        ..HttpRequest::default()
    };
    CheckRequest { attributes: Some(AttributeContext { request: Some(Asked { http: Some(http) }), context_extensions: context }) }
}

/// A call of so many bytes.
fn sized(bytes: usize) -> Bytes {
    let call = |filler: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"search","x":"{filler}"}}}}"#);
    call(&"x".repeat(bytes - call("").len())).into()
}

#[tokio::test]
async fn checks_that_are_not_requests_are_denied_with_the_reason() {
    let authz = start(&[]);
    let of = async |check: CheckRequest| checked(authz.address, &check).await;
    let (status, text) = of(CheckRequest::default()).await;
    assert!(status == 400 && text.contains("has no HTTP request"), "{status} {text}");
    assert_eq!(of(check(vec![], call(1, "search"), vec![])).await.0, 200, "an empty context, and one server");
    assert_eq!(of(check(vec![], "", vec![])).await.0, 400, "no body");
    assert_eq!(of(check(vec![], sized(4 * 1024 * 1024), vec![])).await, (200, String::new()));
    let (status, text) = of(check(vec![], sized(4 * 1024 * 1024 + 1), vec![])).await;
    assert!(status == 413 && text.contains("larger than 4194304 bytes"), "{status} {text}");
    assert_eq!(of(check(vec![], sized(6 * 1024 * 1024), vec![])).await.0, 413, "larger than any message");
    let session = entry("mcp-protocol-version", b"2025-11-25");
    let (status, text) = of(check(vec![session], sized(4 * 1024 * 1024 + 1), vec![])).await;
    assert!(status == 200 && text.contains("\"id\":7"), "a session survives it: {status} {text}");
    for partial in ["true", "1"] {
        let (status, text) = of(check(vec![entry("x-envoy-auth-partial-body", partial.as_bytes())], call(1, "search"), vec![])).await;
        assert!(status == 413 && text.contains("only a part of the body"), "{status} {text}");
    }
    assert_eq!(of(check(vec![entry("content-length", b"9999")], call(1, "search"), vec![])).await.0, 413, "Envoy kept a part");
    assert_eq!(of(check(vec![entry("mcp-name", b"\xff\xfe")], call(1, "search"), vec![])).await.0, 400, "a header that is read");
    assert_eq!(of(check(vec![entry("x-any", b"\xff\xfe")], call(1, "search"), vec![])).await.0, 200, "a header that is not");
    let many = |count: usize| (0..count).map(|n| entry(&format!("x-{n}"), b"1")).collect::<Vec<_>>();
    assert_eq!(of(check(many(10_000), call(1, "search"), vec![])).await.0, 200);
    assert_eq!(of(check(many(40_000), call(1, "search"), vec![])).await.0, 431);
    for name in ["{default:demo}", "default/demo/x", "default/demo\n2026 INFO forged", "/", "", "../default/demo", "\u{0}"] {
        assert_eq!(of(check(vec![], call(1, "search"), vec![entry(SERVER, name.as_bytes())])).await.0, 503, "{name:?}");
    }
    assert_eq!(of(check(vec![], call(1, "search"), vec![entry(SERVER, b"\xff")])).await.0, 503);
    assert!(!authz.log().lines().any(|line| line.starts_with("2026 INFO forged")), "{}", authz.log());
    assert_eq!(of(check(vec![], call(1, "search"), vec![entry(SERVER, b"default/demo")])).await.0, 200, "it still decides");
    assert!(!authz.log().contains("panicked"), "{}", authz.log());
}

#[tokio::test]
async fn frames_that_are_not_grpc_are_errors_of_grpc() {
    let authz = start(&[]);
    let whole = framed(&check(vec![], call(1, "search"), vec![]));
    for cut in [0, 1, 4, 5, whole.len() - 1] {
        assert_ne!(sent(authz.address, CHECK, whole.slice(..cut)).await.0, 0, "cut at {cut}");
    }
    assert_ne!(sent(authz.address, CHECK, [&whole[..], &whole].concat().into()).await.0, 0, "two messages");
    assert_ne!(sent(authz.address, CHECK, [&[1][..], &whole[1..]].concat().into()).await.0, 0, "said to be compressed");
    assert_ne!(sent(authz.address, CHECK, b"\0\0\0\0\x03\xff\xff\xff"[..].into()).await.0, 0, "no protobuf");
    assert_eq!(sent(authz.address, "/envoy.service.auth.v2.Authorization/Check", whole.clone()).await.0, 12, "unimplemented");
    assert_eq!(sent(authz.address, CHECK, whole).await.0, 0);
}

#[tokio::test]
async fn health_is_readiness() {
    let authz = start(&["--drain", "5s"]);
    let health = async |service: &str| {
        let (code, bytes) =
            sent(authz.address, "/grpc.health.v1.Health/Check", framed(&HealthCheckRequest { service: service.to_owned() })).await;
        (code, HealthCheckResponse::decode(bytes).expect("a response").status)
    };
    assert_eq!(health("").await, (0, 1));
    assert_eq!(health("envoy.service.auth.v3.Authorization").await, (0, 1));
    assert_eq!(health("another").await.0, 5, "not found");
    authz.signal("TERM");
    authz.wait_for_log("no longer ready");
    assert_eq!(get(authz.metrics, "/readyz").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_too_much_or_never_reads_hurts_nobody_else() {
    let authz = start(&["--max-buffered-bytes", "8388608"]);
    // Metadata that no one needs.
    let mut large = request(CHECK, framed(&check(vec![], call(1, "search"), vec![])));
    large.headers_mut().insert("x-large", "x".repeat(100_000).parse().expect("a value"));
    let refused = connect(authz.address).await.send_request(large).await;
    assert!(refused.map_or(true, |response| response.status() == 431), "the list of fields is bounded");
    // 10,000 streams on one connection, most of which are refused or wait.
    let sender = connect(authz.address).await;
    let check_body = framed(&check(vec![], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, vec![]));
    let many = (0..10_000).map(|_| {
        let mut sender = sender.clone();
        let request = request(CHECK, check_body.clone());
        async move { sender.send_request(request).await.is_ok() }
    });
    let all = timeout(10 * PATIENCE, futures_util::future::join_all(many)).await.expect("each is answered or refused");
    assert!(all.contains(&true));
    // A client that sends half a message, and never reads.
    let mut silent = Vec::new();
    // And one that asks, and has no room for a byte of any answer: each is a denial of some hundred bytes, kept here.
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(authz.address).await.expect("the port is open");
        let handshake = http2::Builder::new(TokioExecutor::new()).initial_stream_window_size(0).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        let refused = framed(&check(vec![], "not JSON", vec![]));
        for _ in 0..100 {
            let answer = sender.send_request(request(CHECK, refused.clone()));
            deaf.push(timeout(PATIENCE, answer).await.expect("the head comes").expect("the head comes"));
        }
    }
    for _ in 0..20 {
        let mut stream = TcpStream::connect(authz.address).await.expect("the port is open");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is read");
        silent.push(stream);
    }
    assert_eq!(checked(authz.address, &check(vec![], call(1, "search"), vec![])).await.0, 200);
    assert!(authz.memory() < 100 * 1024 * 1024, "{} bytes", authz.memory());
    // Plain HTTP/1.1 at this port ends the connection.
    let mut stream = TcpStream::connect(authz.address).await.expect("the port is open");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is read");
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it ends");
    assert!(!authz.log().contains("panicked"), "{}", authz.log());
}
