//! Every example does what its documentation says.

use std::{convert::Infallible, net::SocketAddr};

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::support::{
    example::{self, Example},
    https::{post, post_plain, send_plain},
    redis::Server,
};

fn call(id: u32, tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"q": "ü"}}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn limiter_denies_the_right_call_with_the_right_wait() {
    let redis = Server::start().await;
    for args in [vec![], vec![redis.url()]] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let printed = example::output("limiter", &args);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines[..2], ["alice web_search: allowed, 1 left", "alice web_search: allowed, 0 left"], "{args:?}");
        assert!(lines[2].starts_with("alice web_search: denied by tools[web_search].perUser, again in 30.0s"), "{args:?}: {printed}");
        assert_eq!(lines[3..], ["bob web_search: allowed, 1 left", "alice list: allowed, 96 left"], "{args:?}");
    }
}

#[tokio::test]
async fn axum_limits_each_user() {
    let example = Example::start("axum", &["127.0.0.1:0"]);
    let ask = async |token: &'static str, id| {
        let headers = [("authorization", token), ("mcp-protocol-version", "2025-11-25")];
        post_plain(example.address, "/mcp", &headers, call(id, "echo")).await
    };
    for id in 1..=2 {
        let answer = ask("Bearer alices", id).await;
        assert_eq!(answer.json()["result"]["content"][0]["text"], json!(r#"{"q":"ü"}"#), "{}", answer.text());
    }
    let denied = ask("Bearer alices", 3).await;
    assert_eq!((denied.status, &denied.json()["id"], &denied.json()["error"]["code"]), (200, &json!(3), &json!(-32029)));
    assert_eq!(denied.json()["error"]["data"]["limitType"], "perUser");
    assert_eq!(ask("Bearer bobs", 4).await.json()["id"], 4, "bob has tokens of his own");
    assert_eq!(ask("Bearer mine", 5).await.status, 401);
}

#[tokio::test]
async fn tonic_limits_each_user_by_method() {
    let example = Example::start("tonic", &["127.0.0.1:0"]);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", example.address)).expect("a URL").connect().await;
    let mut client = tonic::client::Grpc::new(channel.expect("it listens"));
    let mut look_up = async |user: &'static str| {
        client.ready().await.expect("a connection");
        let mut request = tonic::Request::new("ada".to_owned());
        request.metadata_mut().insert("x-user", user.parse().expect("ASCII"));
        let path = "/example.Directory/Lookup".parse().expect("a path");
        client.unary::<String, String, _>(request, path, tonic_prost::ProstCodec::default()).await.map(tonic::Response::into_inner)
    };
    for _ in 0..2 {
        assert_eq!(look_up("alice").await.expect("allowed"), "ada is here");
    }
    let denied = look_up("alice").await.expect_err("denied");
    assert_eq!((denied.code(), denied.message()), (tonic::Code::ResourceExhausted, "rate limit exceeded"));
    assert_eq!(denied.metadata().get("grpc-retry-pushback-ms").expect("a wait"), "30000");
    assert_eq!(look_up("bob").await.expect("he has tokens of his own"), "ada is here");
}

/// An MCP server that answers with the body that it was sent, in two parts: the second when it is told to.
async fn upstream() -> (SocketAddr, mpsc::UnboundedSender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let (go_on, proceed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let proceed = std::sync::Arc::new(tokio::sync::Mutex::new(proceed));
        while let Ok((connection, _)) = listener.accept().await {
            let proceed = proceed.clone();
            let service = service_fn(move |request: Request<Incoming>| echo(request, proceed.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    (address, go_on)
}

type Proceed = std::sync::Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>>;
type Parts = stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

async fn echo(request: Request<Incoming>, proceed: Proceed) -> Result<Response<StreamBody<Parts>>, hyper::Error> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await?.to_bytes();
    let parts = stream::unfold(0, move |part| {
        let (body, proceed) = (body.clone(), proceed.clone());
        async move {
            if part == 1 {
                proceed.lock().await.recv().await;
            }
            let bytes = if part == 0 { body } else { Bytes::from_static(b"\n") };
            (part < 2).then_some((Ok(Frame::data(bytes)), part + 1))
        }
    });
    Ok(Response::builder().header("x-path", path).body(StreamBody::new(Box::pin(parts) as Parts)).expect("a response"))
}

fn posted(body: &str) -> Request<http_body_util::Full<Bytes>> {
    let mut request = post("/mcp?a=b", body.to_owned());
    *request.uri_mut() = "/mcp?a=b".parse().expect("a path");
    request
}

#[tokio::test]
async fn hyper_proxy_passes_bytes_as_they_come_and_denies_the_third_search() {
    let (server, go_on) = upstream().await;
    let example = Example::start("hyper_proxy", &["127.0.0.1:0", &server.to_string()]);
    for id in 1..=2 {
        let sent = format!(" {} ", call(id, "search"));
        let response = send_plain(example.address, posted(&sent)).await;
        assert_eq!(response.headers()["x-path"], "/mcp?a=b");
        let mut body = response.into_body();
        let first = body.frame().await.expect("a part").expect("of the response").into_data().expect("data");
        assert_eq!(first, sent.as_bytes(), "the first part comes before there is a second");
        go_on.send(()).expect("the server runs");
        assert_eq!(body.collect().await.expect("the rest").to_bytes(), "\n");
    }
    let denied = post_plain(example.address, "/mcp", &[], call(3, "search")).await;
    let data = &denied.json()["error"]["data"];
    assert_eq!((&denied.json()["id"], &data["tool"], &data["limitType"]), (&json!(3), &json!("search"), &json!("global")));
    let wait = data["retryAfterSeconds"].as_f64().expect("a number");
    assert!((20.0..=30.0).contains(&wait), "one every 30 s: {wait}");
    go_on.send(()).expect("the server runs");
    assert_eq!(post_plain(example.address, "/mcp", &[], call(4, "other")).await.json()["id"], 4);
    let refused = post_plain(example.address, "/mcp", &[], r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!(-32600)));
}

#[tokio::test]
async fn hyper_proxies_share_their_buckets_through_redis() {
    let redis = Server::start().await;
    let (server, go_on) = upstream().await;
    let (server, url) = (server.to_string(), format!("redis://{}", redis.address()));
    let args = ["127.0.0.1:0", &server, &url];
    let proxies = [Example::start("hyper_proxy", &args), Example::start("hyper_proxy", &args)];
    let mut answers: Vec<Value> = Vec::new();
    for (id, proxy) in (1..).zip(proxies.iter().cycle().take(3)) {
        go_on.send(()).expect("the server runs");
        answers.push(post_plain(proxy.address, "/mcp", &[], call(id, "search")).await.json());
    }
    let denied: Vec<_> = answers.iter().map(|answer| answer.get("error").is_some()).collect();
    assert_eq!(denied, [false, false, true], "{answers:?}");
}
