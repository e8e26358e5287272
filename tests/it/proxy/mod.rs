//! `tollgate proxy` over real sockets, in front of a server that records requests.

mod bad_input;
mod browsers;
mod ends;
mod errors;
mod forwarded;
mod limits;
mod live;
mod memory;
mod origin;
mod paths;
mod quickstart;
mod reload;
mod resent;
mod sdks;
mod smuggling;
mod store;
mod streams;
mod tls;
mod tokens;
mod transport;
pub mod watch;

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::support::{
    https::{Answer, get, send_plain, whole},
    proxy::Proxy,
    time::eventually,
    upstream::Upstream,
};
pub use crate::webhook_https::sample;

pub const PATIENCE: Duration = Duration::from_secs(10);

/// An MCPServer with these limits, and everything that limits need.
pub fn resource(limits: Value) -> String {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": "demo", "namespace": "default"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "127.0.0.1:1"},
            "oidcConfigRef": {"name": "sign-in"},
            "rateLimiting": limits,
        },
    })
    .to_string()
}

/// The labels that all metrics of the proxy's own have with [`resource`].
pub const OURS: &str = r#"namespace="default",server="demo""#;

/// So many calls at once, and hardly one more while a test runs.
pub fn bucket(calls: u32) -> Value {
    json!({"maxTokens": calls, "refillPeriod": "1h0m0s"})
}

/// A proxy that lets so many calls pass, counting in memory.
pub fn proxy(upstream: &Upstream, calls: u32, args: &[&str]) -> Proxy {
    let args: Vec<_> = ["--store", "memory"].iter().chain(args).copied().collect();
    Proxy::start(&upstream.url(), &resource(json!({"global": bucket(calls)})), &args)
}

/// A `tools/call`.
pub fn call(id: u32, tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}}).to_string()
}

/// A POST to `/mcp`, unless a header says otherwise.
pub fn posted(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request("POST", "/mcp", headers, body)
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if method == "POST" {
        request = request.header("content-type", "application/json").header("accept", "application/json, text/event-stream");
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::new(body.into())).expect("a request")
}

/// Waits until the proxy exports whether the limits in force are those of its file or object.
pub async fn until_limits_current(proxy: &Proxy, current: bool) {
    let is_exported = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("tollgate_proxy_limits_current{"));
        line.is_some_and(|line| line.ends_with(if current { " 1" } else { " 0" }))
    };
    eventually(&format!("limits_current {current}"), async || is_exported(&get(proxy.metrics, "/metrics").await.text())).await;
}

/// Sends a POST and waits for the whole answer.
pub async fn ask(proxy: &Proxy, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    send(proxy, posted(headers, body)).await
}

pub async fn send(proxy: &Proxy, request: Request<Full<Bytes>>) -> Answer {
    let answer = async { whole(send_plain(proxy.address, request).await).await.expect("a whole answer") };
    timeout(PATIENCE, answer).await.expect("an answer in time")
}

/// That a call was passed on, and the server's answer came back.
pub fn assert_passed(answer: &Answer, tool: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["result"]["content"][0]["text"], tool, "{}", answer.text());
}

/// That a limit denied the call of a plain HTTP client, under its id.
pub fn assert_denied(answer: &Answer, id: u32, limit_type: &str) {
    let response = answer.json();
    assert_eq!((answer.status, &response["id"], &response["error"]["code"]), (429, &json!(id), &json!(-32029)), "{response}");
    assert_eq!(response["error"]["data"]["limitType"], limit_type, "{response}");
}

/// That the proxy refused a request by itself, with a text for people.
pub fn assert_refused(answer: &Answer, status: u16, text: &str) {
    let response = answer.json();
    let message = response["error"]["message"].as_str().expect("a message");
    assert_eq!(answer.status, status, "{response}");
    assert!(message.contains(text), "{message:?} does not say {text:?}");
    assert_eq!(response["jsonrpc"], "2.0", "{response}");
}

/// Sends bytes as they are, and gives back all that comes until the connection ends.
pub async fn raw(proxy: &Proxy, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(proxy.address).await.expect("the port is open");
    // It may be closed before everything is sent.
    let _ = stream.write_all(bytes.as_ref()).await;
    rest(&mut stream).await
}

/// All that comes until the connection ends.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("the connection ends");
    String::from_utf8_lossy(&response).into_owned()
}
