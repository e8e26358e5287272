//! What `tollgate serve` prints at start: where it is, and with development certificates how to try and how to register it.

use std::fmt::Write;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{certs::DevCerts, manifest::objects, webhook::Server};

/// The text. With development certificates, the registration that it refers to is written beside them.
pub(super) fn greeting(server: &Server, dev: Option<&DevCerts>) -> anyhow::Result<String> {
    let (address, metrics) = (server.address(), server.metrics_address());
    let mut text = format!("tollgate serves POST /validate and /mutate on https://{address}, metrics on http://{metrics}/metrics\n");
    let Some(dev) = dev else { return Ok(text) };
    let ca_bundle = STANDARD.encode(&dev.ca_pem);
    let registration = dev.ca.with_file_name("webhooks.yaml");
    let configurations = registration_by_url(&format!("https://{address}"), &ca_bundle)?;
    std::fs::write(&registration, configurations).with_context(|| format!("cannot write {}", registration.display()))?;
    let (ca, registration) = (dev.ca.display(), registration.display());
    writeln!(text, "\ncaBundle: {ca_bundle}")?;
    writeln!(text, "\nTry it; this review is refused:\n")?;
    writeln!(text, "  curl --cacert {ca} -H 'Content-Type: application/json' https://{address}/validate -d '{}'", example_review())?;
    writeln!(text, "\nRegister it with an API server on this machine:\n\n  kubectl apply -f {registration}\n")?;
    Ok(text)
}

/// A review of a server that limits its users and does not ask who they are.
fn example_review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "try-it", "operation": "CREATE", "namespace": crate::model::DEFAULT_NAMESPACE, "name": "fetch",
            "kind": {"group": crate::model::GROUP, "version": crate::model::VERSIONS[0], "kind": "MCPServer"},
            "object": {"spec": {
                "sessionStorage": {"provider": "redis", "address": "redis:6379"},
                "rateLimiting": {"perUser": {"maxTokens": 10, "refillPeriod": "1m0s"}},
            }},
        },
    })
}

/// The configurations of `manifests/base/webhooks.yaml`, called by URL instead of through a Service.
fn registration_by_url(url: &str, ca_bundle: &str) -> anyhow::Result<String> {
    const WEBHOOKS: &str = include_str!("../../../manifests/base/webhooks.yaml");
    let mut out = String::new();
    for mut configuration in objects(WEBHOOKS).context("manifests/base/webhooks.yaml")? {
        let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
        for webhook in webhooks.into_iter().flatten() {
            let path = webhook.pointer("/clientConfig/service/path").and_then(Value::as_str).unwrap_or_default();
            let client = json!({"url": format!("{url}{path}"), "caBundle": ca_bundle});
            if let Some(webhook) = webhook.as_object_mut() {
                webhook.insert("clientConfig".to_owned(), client);
            }
        }
        write!(out, "---\n{}", serde_saphyr::to_string(&configuration)?)?;
    }
    Ok(out)
}
