//! A certificate that the replicas issue themselves: is there a CA in the Secret, do callers trust it, and may the replicas do their part?

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{hooks::Hook, report::Notes, workload::Issuing};
use crate::{
    certs::authority::{Kept, bundle},
    cluster::{Cluster, ClusterError, request::text},
};

const RIGHTS: &str = "manifests/overlays/self-managed/rbac.yaml has them; the chart renders them with rbac.create";
const ASK_A_POD: &str = "a pod's /readyz names what it waits for";

/// Looks at one webhook. The pods run in `namespace`.
pub(super) async fn look(cluster: &Cluster, hook: &Hook, issuing: &Issuing, namespace: &str, notes: &mut Notes) {
    let (of, name) = issuing.secret.split_once('/').unwrap_or((namespace, issuing.secret.as_str()));
    let at = format!("Secret {of}/{name}");
    let secret = match cluster.get(&format!("/api/v1/namespaces/{of}/secrets/{name}")).await {
        Ok(secret) => secret,
        Err(ClusterError::Absent(_)) => {
            let todo = format!("create it, empty, and the pods make a new CA: kubectl create secret generic -n {of} {name}");
            return notes.problem("certificate", format!("{at}, in which the pods keep their CA, is not there"), todo);
        }
        Err(trouble) => {
            return notes.unknown("certificate", format!("{at}: {trouble}"), trouble.advice(format!("grant get on secrets in {of}")));
        }
    };
    look_at_rights(cluster, hook, issuing, (of, name), namespace, notes).await;
    let now = OffsetDateTime::now_utc();
    let kept = kept(&secret);
    let Some(signer) = kept.signer(now) else {
        return notes.problem("certificate", format!("{at} holds no CA that can be used, and the pods have not made one"), ASK_A_POD);
    };
    let trusted = bundle::read(&STANDARD.decode(text(&hook.entry, "/clientConfig/caBundle")).unwrap_or_default());
    let of = format!("caBundle of {}", hook.name());
    if trusted.contains(signer.root()) {
        notes.ok("ca-bundle", format!("{of} holds the CA in {at}, which signs until {}", signer.root().not_after().date()));
    } else if trusted.is_empty() {
        notes.problem("ca-bundle", format!("{of} is empty: the pods have not written it"), ASK_A_POD);
    } else {
        notes.problem("ca-bundle", format!("{of} does not hold the CA in {at}: the API server refuses certificates from it"), ASK_A_POD);
    }
}

fn kept(secret: &Value) -> Kept {
    let entries = |key: &str| secret.pointer(key).and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = entries("/data").map(|(key, value)| (key.clone(), STANDARD.decode(text(value)).unwrap_or_default())).collect();
    Kept::read(&data, &entries("/metadata/annotations").map(|(key, value)| (key.clone(), text(value))).collect())
}

/// What the pods need of the Secret and of this webhook's configuration. Says nothing where it may not ask.
async fn look_at_rights(
    cluster: &Cluster,
    hook: &Hook,
    issuing: &Issuing,
    (namespace, secret): (&str, &str),
    of_account: &str,
    notes: &mut Notes,
) {
    let (kind, name) = hook.configuration.split_once(' ').unwrap_or_default();
    let plural = format!("{}s", kind.to_lowercase());
    let secrets = ["get", "list", "watch", "update"]
        .map(|verb| (verb, json!({"namespace": namespace, "verb": verb, "resource": "secrets", "name": secret})));
    let configurations = ["get", "list", "watch", "patch"]
        .map(|verb| (verb, json!({"group": "admissionregistration.k8s.io", "verb": verb, "resource": plural, "name": name})));
    let account = format!("system:serviceaccount:{of_account}:{}", issuing.account);
    for (what, asked) in [(format!("Secret {namespace}/{secret}"), secrets), (hook.configuration.clone(), configurations)] {
        let mut lacks = Vec::new();
        for (verb, attributes) in asked {
            let groups =
                ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{of_account}"), "system:authenticated".to_owned()];
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "spec": {"user": account, "groups": groups, "resourceAttributes": attributes},
            });
            let Ok(answer) = cluster.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await else { return };
            if answer.code == 201 && answer.body.pointer("/status/allowed") != Some(&Value::Bool(true)) {
                lacks.push(verb);
            }
        }
        if !lacks.is_empty() {
            notes.problem("certificate", format!("{account} may not {} {what}", lacks.join(", ")), RIGHTS);
        }
    }
}
