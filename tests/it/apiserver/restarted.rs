//! An API server that restarts under a webhook that follows it: for seconds it describes no CRD.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    installed::{apply_rbac, install_oidc_configs},
    places::{Place, bucket},
};
use crate::support::{
    apiserver::{Cluster, Judging, Names, crds, names},
    serve::wait_until,
};

fn version_and_limits(cluster: &Cluster, manifest: &Value) -> Option<(Value, Value)> {
    let (kind, name, namespace) = names(manifest);
    let said = cluster.kubectl(&["get", &kind, &name, "-n", &namespace, "-o", "json"]);
    let object: Value = serde_json::from_str(&said.stdout).ok()?;
    Some((object["metadata"]["resourceVersion"].clone(), object["spec"]["rateLimiting"].clone()))
}

#[test]
fn a_restart_changes_nothing_and_an_uninstalled_definition_does() {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    install_oidc_configs(&cluster);
    apply_rbac(&cluster);
    let namespace = cluster.namespace("restart");
    let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
    let webhook = cluster.webhook(&namespace, &["--kubeconfig", &kubeconfig, "--schema-poll", "100ms", "--shared-alias", "rename"]);
    let manifest = Place::Server.with(&namespace, &json!({"shared": bucket(100)}));
    cluster.apply(&manifest).expect_ok();
    let stored = version_and_limits(&cluster, &manifest).expect("stored");
    assert_eq!(stored.1, json!({"global": bucket(100)}));
    let warns_of_reference =
        || cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &named(&manifest, "probe")).stderr.contains("TG106");
    wait_until("the missing MCPOIDCConfig is warned of", warns_of_reference);

    cluster.restart();
    let apply = || cluster.kubectl_with(&["apply", "--validate=false", "-f", "-"], &manifest.to_string()).ok;
    wait_until("the API server takes writes again", apply);
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        apply();
        if let Some(now) = version_and_limits(&cluster, &manifest) {
            assert_eq!(now, stored, "an unchanged re-apply changed the object: {}", webhook.serve.log());
        }
    }
    assert!(webhook.serve.log().contains("the API server no longer describes CRDs"), "{}", webhook.serve.log());
    // What limits refer to is watched again, too.
    wait_until("the missing MCPOIDCConfig is warned of again", warns_of_reference);

    // One that is uninstalled is confirmed by what it is not any more.
    let read = || webhook.serve.log().matches("read the installed CRDs").count();
    let before = read();
    cluster.kubectl(&["delete", "crd", "virtualmcpservers.toolhive.stacklok.dev"]).expect_ok();
    wait_until("the uninstalled definition is noticed", || read() > before);
    drop(webhook);
}

fn named(manifest: &Value, name: &str) -> String {
    let mut manifest = manifest.clone();
    manifest["metadata"]["name"] = json!(name);
    manifest.to_string()
}
