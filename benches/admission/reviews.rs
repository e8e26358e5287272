//! The reviews that are sent, as the API server writes them: an UPDATE by a client-side `kubectl apply`.
//!
//! The small one is an ordinary MCPServer; the large one is the same with a pod template that takes 1 MB over both objects. For `/validate`
//! it says `global`, as after `/mutate`; for `/mutate` it says `shared`, over a stored object that a former `/mutate` has renamed.

use anyhow::{Context, ensure};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tollgate::admission::Hook;

const UID: &str = "0b9c1f0e-7b3a-4a55-9d0b-5a3c8d0c7f2e";
/// Environment variables in the large review's pod template, enough for 1 MB in two objects.
const LARGE_ENV: usize = 7_000;

/// The bytes of a review for one webhook.
pub(super) fn review(hook: Hook, is_large: bool) -> Bytes {
    let env_count = if is_large { LARGE_ENV } else { 0 };
    let key = if hook == Hook::Mutate { "shared" } else { "global" };
    let kind = json!({"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"});
    let resource = json!({"group": "toolhive.stacklok.dev", "version": "v1beta1", "resource": "mcpservers"});
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": "fetch", "namespace": "team-a", "operation": "UPDATE",
            "userInfo": {"username": "jane@example.com", "groups": ["developers", "system:authenticated"]},
            "object": object(key, 120, env_count),
            "oldObject": object("global", 60, env_count),
            "dryRun": false,
            "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client-side-apply"},
        },
    });
    Bytes::from(review.to_string())
}

/// The bytes of a review of a `kubectl create`.
pub(super) fn create(object: &Value) -> Bytes {
    let kind = json!({"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"});
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID, "kind": kind, "requestKind": kind, "name": "fetch", "namespace": "team-a", "operation": "CREATE",
            "object": object, "oldObject": null, "options": {"kind": "CreateOptions", "fieldManager": "kubectl-create"},
        },
    });
    Bytes::from(review.to_string())
}

/// An MCPServer whose server-wide bucket is called `key`.
fn object(key: &str, max_tokens: u32, env_count: usize) -> Value {
    let bucket = json!({"maxTokens": max_tokens, "refillPeriod": "1m0s"});
    let mut spec = json!({
        "image": "ghcr.io/stackloklabs/gofetch/server:1.0.1", "transport": "streamable-http",
        "sessionStorage": {"provider": "redis", "address": "redis.team-a:6379"},
        "rateLimiting": {key: bucket},
    });
    let manifest = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"annotations": {}, "name": "fetch", "namespace": "team-a"},
        "spec": spec,
    });
    if let (Some(spec), 1..) = (spec.as_object_mut(), env_count) {
        spec.insert("podTemplateSpec".to_owned(), pod_template(env_count));
    }
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {
            "name": "fetch", "namespace": "team-a", "uid": "5e2f7c1a-93d1-4c2e-8a53-3f1f3c0ad7b1", "resourceVersion": "48213",
            "generation": 3, "creationTimestamp": "2025-11-20T09:12:44Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{manifest}\n")},
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "toolhive.stacklok.dev/v1beta1",
                "time": "2025-11-21T10:02:11Z", "fieldsType": "FieldsV1", "fieldsV1": fields(key),
            }],
        },
        "spec": spec,
    })
}

/// What kubectl owns of that object.
fn fields(key: &str) -> Value {
    let bucket = json!({".": {}, "f:maxTokens": {}, "f:refillPeriod": {}});
    json!({
        "f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
        "f:spec": {
            ".": {}, "f:image": {}, "f:transport": {},
            "f:sessionStorage": {".": {}, "f:provider": {}, "f:address": {}},
            "f:rateLimiting": {".": {}, format!("f:{key}"): bucket},
        },
    })
}

fn pod_template(env_count: usize) -> Value {
    let env = (0..env_count)
        .map(|index| json!({"name": format!("SETTING_{index:05}"), "value": format!("some \"value\" {index} of a long list")}));
    json!({"spec": {"containers": [{"name": "mcp", "env": env.collect::<Vec<_>>()}]}})
}

/// Fails unless an answer is what the review deserves; anything else would be measured in vain.
pub(super) fn expect_allowed(answer: &[u8], wants_patch: bool) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let response = answer.get("response").context("response")?;
    ensure!(response.get("uid").and_then(Value::as_str) == Some(UID), "the uid is not echoed: {answer}");
    ensure!(response.get("allowed") == Some(&Value::Bool(true)), "denied: {answer}");
    ensure!(response.get("patch").is_some() == wants_patch, "patched or not: {answer}");
    Ok(())
}
