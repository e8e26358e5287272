//! Whether the API server reaches the hooks, shown by two dry-run creates.
//!
//! ```text
//! one with a fault that only /validate knows (TG009: an address that is a URL)      it must be refused with that id
//! one that says shared and is otherwise good                                        it must come back saying global
//! ```
//!
//! The first proves nothing if a CRD's schema refuses it, so its fault is one that no schema or CEL rule knows.

use serde_json::{Value, json};

use super::report::Notes;
use crate::{
    cluster::{
        Cluster, ClusterError,
        request::{Created, items, text},
    },
    model::{
        GROUP, VERSIONS,
        subject::{Kind, ScopeKey},
    },
};

const CHECK: &str = "reachable";
const VALIDATE: &str = "validate.tollgate.dev";
const MUTATE: &str = "mutate.tollgate.dev";

/// What the API server says of a hook that it cannot call, and what to do then.
const CAUSES: [(&str, &str); 7] = [
    ("x509", "see the notes on ca-bundle and certificate"),
    ("no endpoints available", "see the notes on endpoints"),
    ("not found", "see the notes on service"),
    ("connection refused", "see whether the pods listen on the port that the Service targets"),
    ("no such host", "correct clientConfig.url, or the control plane's DNS"),
    (
        "deadline exceeded",
        "let the control plane reach the pods' port 8443: a firewall or NetworkPolicy drops its packets (on GKE and EKS it is a rule to add)",
    ),
    (
        "i/o timeout",
        "let the control plane reach the pods' port 8443: a firewall or NetworkPolicy drops its packets (on GKE and EKS it is a rule to add)",
    ),
];

/// Makes both creates in a namespace.
pub(super) async fn look(cluster: &Cluster, namespace: &str, version: Option<&str>, notes: &mut Notes) {
    let version = version.unwrap_or(VERSIONS[0]);
    let path = format!(
        "/apis/{GROUP}/{version}/namespaces/{namespace}/{}?dryRun=All&fieldManager=tollgate-doctor&fieldValidation=Ignore",
        Kind::McpServer.plural()
    );
    let mut is_asked = false;
    match cluster.create(&path, &probe(version, "redis://tollgate-doctor")).await {
        Ok(answer) => is_asked = judge_refusal(&answer, namespace, notes),
        Err(trouble) => unanswered(VALIDATE, &trouble, notes),
    }
    if !is_asked {
        return notes.unknown(CHECK, format!("whether {MUTATE} is: {VALIDATE} has to answer first"), "do the above, and ask again");
    }
    match cluster.create(&path, &probe(version, "tollgate-doctor.invalid:6379")).await {
        Ok(answer) => judge_rename(&answer, notes),
        Err(trouble) => unanswered(MUTATE, &trouble, notes),
    }
}

/// A server with a limit that says `shared`.
fn probe(version: &str, address: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{version}"), "kind": Kind::McpServer.name(), "metadata": {"generateName": "tollgate-doctor-"},
        "spec": {
            "image": "tollgate.invalid/doctor", "transport": "streamable-http",
            "sessionStorage": {"provider": "redis", "address": address},
            "rateLimiting": {"shared": {"maxTokens": 1, "refillPeriod": "1m0s"}},
        },
    })
}

fn unanswered(hook: &str, trouble: &ClusterError, notes: &mut Notes) {
    let todo = trouble.advice(format!("grant create on {}; it is asked for with dryRun only", Kind::McpServer.plural()));
    notes.unknown(CHECK, format!("whether {hook} is: {trouble}"), todo);
}

/// Interprets the answer to the faulty create; returns whether /validate was asked.
fn judge_refusal(answer: &Created, namespace: &str, notes: &mut Notes) -> bool {
    let message = text(&answer.body, "/message");
    // Where the webhook refuses, the causes' reasons are rules; where a schema does, they are Kubernetes' own words.
    let is_ours = items(&answer.body, "/details/causes").iter().any(|cause| text(cause, "/reason") == "TG009");
    if is_ours {
        notes.ok(CHECK, format!("{VALIDATE} refuses a faulty create in {namespace}, with TG009"));
        return true;
    }
    let mut unknown = |todo: &str| notes.unknown(CHECK, format!("whether {VALIDATE} is: {}", shortened(message)), todo);
    match answer.code {
        200..300 => notes.problem(
            CHECK,
            format!("a faulty create in {namespace} passes: {VALIDATE} is not called there, or fails and is ignored"),
            format!("see whether namespaceSelector and matchConditions leave {namespace} out, or choose a namespace with --namespace; then failurePolicy"),
        ),
        _ if message.contains("failed calling webhook") && message.contains(VALIDATE) => {
            let todo = CAUSES.iter().find(|(mark, _)| message.contains(mark)).map_or("see the pods' logs", |(_, todo)| *todo);
            notes.problem(CHECK, format!("the API server cannot call {VALIDATE}: {}", shortened(message)), todo);
        }
        404 => unknown("name a namespace that is there with --namespace"),
        403 if !message.contains("denied the request") => {
            unknown(&format!("grant create on {} in {namespace}; it is asked for with dryRun only", Kind::McpServer.plural()));
        }
        _ => unknown("something else refused the create before tollgate was asked: choose another namespace with --namespace"),
    }
    false
}

/// Interprets the answer to the good create.
fn judge_rename(answer: &Created, notes: &mut Notes) {
    let limits = answer.body.pointer("/spec/rateLimiting");
    let says = |scope: ScopeKey| limits.and_then(|limits| limits.get(scope.key())).is_some();
    let message = text(&answer.body, "/message");
    let is_denied = items(&answer.body, "/details/causes").iter().any(|cause| text(cause, "/reason") == "TG101");
    match answer.code {
        200..300 if says(ScopeKey::Global) && says(ScopeKey::Shared) => notes.ok(CHECK, format!("{MUTATE} keeps shared and global equal")),
        200..300 if says(ScopeKey::Global) => notes.ok(CHECK, format!("{MUTATE} turns shared into global")),
        200..300 if answer.warnings.contains("renamed to global") => notes.problem(
            CHECK,
            format!("{MUTATE} turns shared into global, and the CRD drops it: limits are lost"),
            "let tollgate serve read the installed CRDs (its service account, or --kubeconfig), or set --crd-global no",
        ),
        200..300 if answer.warnings.contains("did not run") || !answer.warnings.contains("TG101") => notes.problem(
            CHECK,
            format!("shared stays shared: {MUTATE} is not called, or fails and is ignored"),
            "compare caBundle, rules and namespaceSelector of the two configurations: the other one is called",
        ),
        200..300 => notes.ok(CHECK, format!("{MUTATE} leaves shared as it is: {}", reason(&answer.warnings))),
        _ if is_denied => notes.ok(CHECK, format!("{VALIDATE} refuses shared, as --shared-alias deny asks")),
        _ if message.contains("failed calling webhook") && message.contains(MUTATE) => {
            let todo = CAUSES.iter().find(|(mark, _)| message.contains(mark)).map_or("see the pods' logs", |(_, todo)| *todo);
            notes.problem(CHECK, format!("the API server cannot call {MUTATE}: {}", shortened(message)), todo);
        }
        _ => notes.unknown(
            CHECK,
            format!("whether {MUTATE} is: {}", shortened(message)),
            "something else refused the create: choose another namespace",
        ),
    }
}

/// Why `shared` stays, as TG101 says in parentheses.
fn reason(warnings: &str) -> &str {
    let reason = warnings.split_once("TG101").and_then(|(_, rest)| rest.split_once('('));
    reason.and_then(|(_, rest)| rest.split_once(')')).map_or("no reason is given", |(reason, _)| reason)
}

/// A message without the part that says which webhook was called how.
fn shortened(message: &str) -> &str {
    message.rsplit_once("failed to call webhook: ").map_or(message, |(_, cause)| cause)
}
