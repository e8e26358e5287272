//! MCP over HTTP through the layer: what is read, what is not, and that bytes stay as they are.

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream;
use http::{Method, Request, Response, request::Parts};
use http_body_util::{Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::json;
use tollgate::{
    limiter::{Decision, Limiter, Store},
    mcp::{DenialForm, Reader, RejectStatus},
    tower::{Body as McpBody, Mcp, McpLimitLayer},
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{Away, bytes, call, json_of, limiter, limits, post};

#[derive(Clone)]
struct User(&'static str);

fn user(parts: &Parts) -> Option<String> {
    parts.extensions.get().map(|User(name)| (*name).to_owned())
}

/// What a service is sent through the layer comes back in its response, which is an HTTP 202.
async fn ask<S, B>(limiter: &Arc<Limiter<S>>, request: Request<B>) -> Response<McpBody<Full<Bytes>>>
where
    S: Store + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    ask_with(limiter, Mcp::default().by(user), request).await
}

async fn ask_with<S, U, B>(limiter: &Arc<Limiter<S>>, callers: Mcp<U>, request: Request<B>) -> Response<McpBody<Full<Bytes>>>
where
    S: Store + 'static,
    U: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let inner = service_fn(async |request: Request<McpBody<B>>| {
        let decided = request.extensions().get::<Decision>().is_some().to_string();
        let body = Full::new(bytes(request.into_body()).await);
        Ok::<_, Infallible>(Response::builder().status(202).header("x-decided", decided).body(body).expect("a response"))
    });
    McpLimitLayer::new(limiter.clone(), callers).layer(inner).oneshot(request).await.expect("infallible")
}

/// A body that must not be read, of a size that is announced.
struct Untouched(u64);

impl Body for Untouched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("read")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn requests_that_carry_no_message_are_not_read() {
    let inner = service_fn(async |request: Request<McpBody<Untouched>>| {
        assert!(matches!(request.into_body(), McpBody::Right(Untouched(7))));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = McpLimitLayer::new(limiter(1), Mcp::default()).layer(inner);
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(method).body(Untouched(7)).expect("a request");
        assert_eq!(service.clone().oneshot(request).await.expect("infallible").status(), 200);
    }
}

#[tokio::test]
async fn bytes_reach_the_service_as_they_were() {
    let limiter = limiter(10);
    let sent = format!(" \n{}\t", call("search").replace("search", "s\\u0065arch"));
    let (head, tail) = sent.split_at(20);
    let parts = [head, "", tail].map(|part| Ok::<_, io::Error>(Frame::data(Bytes::from(part.to_owned()))));
    let response = ask(&limiter, post("").map(|_| StreamBody::new(stream::iter(parts)))).await;
    assert_eq!((response.status().as_u16(), &response.headers()["x-decided"]), (202, &http::HeaderValue::from_static("true")));
    assert_eq!(bytes(response.into_body()).await, sent);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let response = ask(&limiter, post(ping)).await;
    assert_eq!(response.headers()["x-decided"], "false");
    assert_eq!(bytes(response.into_body()).await, ping);
}

#[tokio::test]
async fn each_user_has_tokens_and_nobody_has_none_to_take() {
    let limiter = limiter(1);
    let by = |name: &'static str| {
        let mut request = post(call("search"));
        request.extensions_mut().insert(User(name));
        request
    };
    assert_eq!(ask(&limiter, by("alice")).await.status(), 202);
    let denied = ask(&limiter, by("alice")).await;
    assert_eq!((denied.status().as_u16(), &denied.headers()["retry-after"]), (429, &http::HeaderValue::from_static("3600")));
    let denied = json_of(denied).await;
    assert_eq!(
        (&denied["id"], &denied["error"]["code"], &denied["error"]["data"]["limitType"]),
        (&json!(1), &json!(-32029), &json!("perUser"))
    );
    assert_eq!(ask(&limiter, by("bob")).await.status(), 202);
    for _ in 0..3 {
        assert_eq!(ask(&limiter, post(call("search"))).await.status(), 202, "no limit per user counts nobody");
    }
}

#[tokio::test]
async fn a_batch_takes_all_of_its_tokens_or_none() {
    let limiter = limiter(2);
    let batch = |calls: usize| post(format!("[{}]", vec![call("shared"); calls].join(",")));
    let denied = json_of(ask(&limiter, batch(3)).await).await;
    assert_eq!(denied.as_array().map(Vec::len), Some(3));
    assert_eq!(denied[2]["error"]["message"], "Rate limit exceeded: more calls at once than the limit ever allows; send fewer");
    assert_eq!(ask(&limiter, batch(2)).await.status(), 202, "the batch that was denied took nothing");
    assert_eq!(json_of(ask(&limiter, post(call("shared"))).await).await["error"]["data"]["tool"], "shared");
}

#[tokio::test]
async fn what_cannot_be_read_goes_nowhere() {
    let limiter = limiter(10);
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#;
    let mut two_types = post(call("x"));
    two_types.headers_mut().append("content-type", http::HeaderValue::from_static("text/plain"));
    let mut put = post("not JSON");
    *put.method_mut() = Method::PUT;
    for (request, status, code) in
        [(post(twice), 400, -32600), (post("{"), 400, -32700), (two_types, 400, -32600), (put, 405, -32600), (post(""), 400, -32700)]
    {
        let response = ask(&limiter, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(json_of(response).await["error"]["code"], code);
    }
}

#[tokio::test]
async fn bodies_are_read_up_to_a_limit() {
    let limiter = limiter(10);
    let body = call("search");
    let (enough, less) = (Mcp::default().most_bytes(body.len()), Mcp::default().most_bytes(body.len() - 1));
    assert_eq!(ask_with(&limiter, enough, post(body.clone())).await.status(), 202);
    let announced = ask_with(&limiter, less, post(body.clone())).await;
    assert_eq!(announced.status(), 413);
    let message = format!("the body is larger than {} bytes; send less at once", body.len() - 1);
    assert_eq!(json_of(announced).await["error"]["message"], message);
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(body)))];
    let unannounced = post("").map(|_| StreamBody::new(stream::iter(frames)));
    assert_eq!(ask_with(&limiter, less, unannounced).await.status(), 413);
    let huge = ask(&limiter, post("").map(|_| Untouched(1 << 30))).await;
    assert_eq!(huge.status(), 413, "what is announced is not waited for");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_call() {
    let parts = [Ok(Frame::data(Bytes::from(call("search")))), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let response = ask(&limiter(10), post("").map(|_| StreamBody::new(stream::iter(parts)))).await;
    assert_eq!(response.status(), 400);
    assert_eq!(json_of(response).await["error"]["message"], "the body is incomplete; send all of it");
}

#[tokio::test]
async fn a_store_that_fails_is_told_in_mcp_and_by_the_mode() {
    let away = Arc::new(Limiter::new(Away::Failing, limits(1)));
    let by_alice = || {
        let mut request = post(call("search"));
        request.extensions_mut().insert(User("alice"));
        request
    };
    let response = json_of(ask(&away, by_alice()).await).await;
    assert_eq!(
        response["error"],
        json!({"code": -32603, "message": "Rate limits cannot be checked at the moment", "data": {"retryAfterSeconds": 1}})
    );
    let always = DenialForm { status: RejectStatus::Always429, code: None };
    let inner = service_fn(async |_: Request<_>| -> Result<Response<Full<Bytes>>, Infallible> { panic!("reached") });
    let service = McpLimitLayer::with_responder(away, Mcp::default().by(user), always).layer(inner);
    assert_eq!(service.oneshot(by_alice()).await.expect("infallible").status(), 503);
}

#[tokio::test]
async fn a_reader_of_one_s_own_decides_what_an_optimizer_is() {
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "call_tool", "arguments": {"tool_name": "shared"}}});
    let denied = async |reader: Reader| {
        let limiter = limiter(1);
        let ask = async || ask_with(&limiter, Mcp::default().reader(reader), post(body.to_string())).await.status();
        (ask().await, ask().await) == (202.try_into().expect("a status"), 429.try_into().expect("a status"))
    };
    assert!(denied(Reader::default()).await, "two calls of shared, which has one token");
    assert!(!denied(Reader::default().optimizer(false)).await, "call_tool itself has no limit");
}

#[tokio::test]
async fn responses_carry_rate_limit_fields_where_they_are_wanted() {
    let inner = service_fn(async |_: Request<McpBody<Full<Bytes>>>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))));
    let service = McpLimitLayer::new(limiter(1), Mcp::default()).rate_limit_fields(true).layer(inner);
    let fields = |response: &Response<McpBody<Full<Bytes>>>| {
        let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        (field("ratelimit-policy"), field("ratelimit"))
    };
    let (allowed, denied) = (service.clone().oneshot(post(call("shared"))).await, service.clone().oneshot(post(call("shared"))).await);
    let (allowed, denied) = (allowed.expect("infallible"), denied.expect("infallible"));
    assert_eq!(allowed.status(), 200);
    let (policy, left) = fields(&allowed);
    assert!(policy.starts_with("\"tools[shared].global\";q=1") && left == "\"tools[shared].global\";r=0", "{policy} {left}");
    let (policy, left) = fields(&denied);
    assert!(policy.starts_with("\"tools[shared].global\";q=1") && left.starts_with("\"tools[shared].global\";r=0;t="), "{policy} {left}");
    let listed = service.oneshot(post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)).await.expect("infallible");
    assert_eq!(fields(&listed), (String::new(), String::new()));
}
