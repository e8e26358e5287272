//! Reviews over real sockets: what is sent, by which clients, and how much of it. After each, a good review still gets its answer.

mod bad_input;
mod bodies;
mod clients;
mod connections;
mod limits;
mod verdicts;

use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::support::{
    https::{Answer, Client},
    serve::Serve,
};

/// The uid of every review made here.
pub const UID: &str = "0f2b7c1e-9d5a-4c5e-8f43-1c2d3e4f5a6b";

/// A client that trusts the server's development certificates.
pub fn client(server: &Serve) -> Client {
    Client::new(server.address, &server.ca())
}

/// The same over HTTP/2.
pub fn http2(server: &Serve) -> Client {
    Client::with(server.address, &server.ca(), &[&TLS13], "h2", None)
}

/// An MCPServer with these limits, and everything that limits need.
pub fn object(rate_limiting: Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": "fetch", "namespace": "default"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"},
            "oidcConfigRef": {"name": "sign-in"},
            "rateLimiting": rate_limiting,
        },
    })
}

/// One bucket, a good one.
pub fn bucket() -> Value {
    json!({"maxTokens": 60, "refillPeriod": "1m0s"})
}

/// The review of a CREATE.
pub fn review(object: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": UID, "operation": "CREATE", "namespace": "default", "name": "fetch",
            "kind": {"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"},
            "object": object,
        },
    })
}

/// A review that is allowed, as bytes.
pub fn good_review() -> String {
    review(object(json!({"global": bucket()}))).to_string()
}

/// A review that TG002 denies, as bytes.
pub fn denied_review() -> String {
    let mut object = object(json!({"perUser": bucket()}));
    object["spec"]["oidcConfigRef"].take();
    review(object).to_string()
}

/// The response of a review that was answered, for our uid.
pub fn response(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut review = answer.json();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["response"]["uid"], UID);
    review["response"].take()
}

/// That a good review is allowed, over a connection of its own.
pub async fn assert_serves(client: &Client) {
    let answer = client.post("/validate", good_review()).await;
    assert_eq!(response(&answer)["allowed"], true, "{}", answer.text());
}

/// That an answer is a refusal with a status and a text for people.
pub fn assert_refused(answer: &Answer, status: u16, text: &str) {
    let reported = answer.text();
    assert_eq!(answer.status, status, "{reported}");
    assert!(reported.contains(text), "{reported:?} does not say {text:?}");
    assert!(answer.headers["content-type"].to_str().expect("ASCII").starts_with("text/plain"), "{:?}", answer.headers);
}

/// The value of a metric's series, written exactly so.
pub fn sample(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
