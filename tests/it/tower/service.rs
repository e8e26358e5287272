//! What the layer does around any service, whatever its requests are.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Bytes;
use tollgate::{
    limiter::{DecidedBy, Decision, Denial, Limit, Limiter, Scope, StoreError},
    tower::{Calls, McpLimitLayer, Plain, Respond},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::{Away, bytes, limiter, limits};

/// Calls the tool that the path names, by the user in a header.
fn by_path(request: &Request<Empty<Bytes>>) -> Option<Calls> {
    let tool = request.uri().path().strip_prefix("/tools/")?;
    let user = request.headers().get("x-verified-user").and_then(|user| user.to_str().ok());
    Some(Calls::of(tool).by(user.map(str::to_owned)))
}

fn get(path: &str, user: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("x-verified-user", user).body(Empty::new()).expect("a request")
}

/// A service that holds to tower's contract, and counts what reaches it. Only the instance that was polled is ready, not its clones.
#[derive(Debug)]
struct Strict {
    ready: bool,
    full: bool,
    reached: Arc<AtomicU32>,
}

impl Strict {
    fn new() -> Self {
        Self { ready: false, full: false, reached: Arc::default() }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, full: self.full, reached: self.reached.clone() }
    }
}

/// What it fails with on `/fail`.
#[derive(Debug, PartialEq, Eq)]
struct Broken(&'static str);

impl Service<Request<Empty<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Broken;
    type Future = Ready<Result<Self::Response, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.ready = !self.full;
        if self.full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.reached.fetch_add(1, Ordering::Relaxed);
        ready(match request.uri().path() {
            "/fail" => Err(Broken("as it is")),
            _ => Ok(Response::builder().status(202).header("x-inner", "1").body(Full::from("inner")).expect("a response")),
        })
    }
}

#[tokio::test]
async fn the_instance_that_was_ready_gets_the_request() {
    let inner = Strict::new();
    let reached = inner.reached.clone();
    let mut service = McpLimitLayer::with_responder(limiter(100), by_path, Plain).layer(inner);
    let first = service.ready().await.expect("ready").call(get("/tools/a", "alice"));
    let second = service.ready().await.expect("ready").call(get("/tools/a", "alice"));
    assert_eq!(second.await.expect("an answer").status(), 202);
    assert_eq!(first.await.expect("an answer").status(), 202);
    assert_eq!(reached.load(Ordering::Relaxed), 2);
}

#[test]
fn a_service_that_is_not_ready_holds_requests_back() {
    let mut service = McpLimitLayer::with_responder(limiter(1), by_path, Plain).layer(Strict { full: true, ..Strict::new() });
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn the_service_s_responses_and_errors_pass_unchanged() {
    let service = McpLimitLayer::with_responder(limiter(1), by_path, Plain).layer(Strict::new());
    let response = service.clone().oneshot(get("/tools/a", "alice")).await.expect("an answer");
    assert_eq!((response.status().as_u16(), &response.headers()["x-inner"]), (202, &http::HeaderValue::from_static("1")));
    assert_eq!(bytes(response.into_body()).await, "inner");
    assert_eq!(service.oneshot(get("/fail", "alice")).await.expect_err("it fails"), Broken("as it is"));
}

#[tokio::test]
async fn what_is_denied_does_not_reach_the_service() {
    let inner = Strict::new();
    let reached = inner.reached.clone();
    let service = McpLimitLayer::with_responder(limiter(1), by_path, Plain).layer(inner);
    let ask = |path: &'static str, user: &'static str| service.clone().oneshot(get(path, user));
    assert_eq!(ask("/tools/a", "alice").await.expect("an answer").status(), 202);
    let denied = ask("/tools/a", "alice").await.expect("an answer");
    assert_eq!((denied.status().as_u16(), &denied.headers()["retry-after"]), (429, &http::HeaderValue::from_static("3600")));
    assert_eq!(denied.headers()["cache-control"], "no-store");
    let denial: &Denial = denied.extensions().get().expect("for logs");
    assert_eq!((&denial.limit, denial.source), (&Limit { scope: Scope::PerUser, tool: None }, DecidedBy::Store));
    assert_eq!(bytes(denied.into_body()).await, "rate limit exceeded\n");
    assert_eq!(ask("/tools/a", "bob").await.expect("an answer").status(), 202);
    for _ in 0..3 {
        assert_eq!(ask("/not/counted", "alice").await.expect("an answer").status(), 202);
    }
    assert_eq!(reached.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn the_service_sees_the_decision() {
    let inner = service_fn(async |request: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(request.extensions().get::<Decision>().cloned()))
    });
    let service = McpLimitLayer::with_responder(limiter(3), by_path, Plain).layer(inner);
    let seen = async |path| {
        let response = service.clone().oneshot(get(path, "alice")).await.expect("an answer");
        let tollgate::tower::Body::Right(seen) = response.into_body() else { panic!("the inner response") };
        seen
    };
    assert_eq!(seen("/tools/a").await, Some(Decision::Allowed { remaining: Some(2), shadow: None, source: DecidedBy::Store }));
    assert_eq!(seen("/else").await, None);
}

#[tokio::test]
async fn without_a_decision_the_responder_says_so_and_keeps_the_error_to_itself() {
    let inner = Strict::new();
    let reached = inner.reached.clone();
    let limiter = Arc::new(Limiter::new(Away::Failing, limits(1)));
    let service = McpLimitLayer::with_responder(limiter, by_path, Plain).layer(inner);
    let response = service.oneshot(get("/tools/a", "alice")).await.expect("an answer");
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &http::HeaderValue::from_static("1")));
    assert_eq!(bytes(response.into_body()).await, "rate limits cannot be checked at the moment\n");
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_request_that_is_given_up_does_not_reach_the_service() {
    let inner = Strict::new();
    let reached = inner.reached.clone();
    let mut service = McpLimitLayer::with_responder(Arc::new(Limiter::new(Away::Silent, limits(1))), by_path, Plain).layer(inner);
    let mut response = Box::pin(service.ready().await.expect("ready").call(get("/tools/a", "alice")));
    assert!(response.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(response);
    assert_eq!((reached.load(Ordering::Relaxed), Arc::strong_count(&reached)), (0, 2), "its place is free again");
}

/// As gRPC says it: HTTP 200 and a status in a header.
struct Grpc;

impl Respond<()> for Grpc {
    fn denied(&self, (): &(), denial: &Denial) -> Response<Full<Bytes>> {
        let status = Response::builder().header("grpc-status", "8").header("grpc-message", denial.limit.to_string());
        status.body(Full::default()).expect("a response")
    }

    fn undecided(&self, (): &(), _: &StoreError) -> Response<Full<Bytes>> {
        Response::builder().header("grpc-status", "14").body(Full::default()).expect("a response")
    }
}

#[tokio::test]
async fn a_responder_of_one_s_own_speaks_another_protocol() {
    let service = McpLimitLayer::with_responder(limiter(1), by_path, Grpc).layer(Strict::new());
    assert_eq!(service.clone().oneshot(get("/tools/shared", "alice")).await.expect("an answer").status(), 202);
    let denied = service.oneshot(get("/tools/shared", "bob")).await.expect("an answer");
    assert_eq!((&denied.headers()["grpc-status"], denied.status().as_u16()), (&http::HeaderValue::from_static("8"), 200));
    assert_eq!(denied.headers()["grpc-message"], "tools[shared].global");
}
