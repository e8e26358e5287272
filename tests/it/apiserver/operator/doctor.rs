//! `tollgate doctor` where the operator is at work.

use std::process::Command;

use serde_json::json;

use super::{PUBLISHED, cluster, webhook};
use crate::{
    apiserver::{
        doctor::Said,
        places::{Place, bucket},
    },
    support::{
        apiserver::Names,
        operator::{Operator, Reads},
        serve::{TOLLGATE, wait_until},
    },
};

#[test]
fn the_doctor_names_the_operator_and_what_it_would_not_read() {
    let cluster = cluster(Names::Both);
    let namespace = cluster.namespace("ward");
    let doctor = || {
        let mut command = Command::new(TOLLGATE);
        command.args(["doctor", "--output", "json", "--namespace", &namespace]).env("KUBECONFIG", cluster.kubeconfig());
        Said::of(&command.output().expect("the binary starts"))
    };
    let renames = webhook(&cluster, &namespace, &["--shared-alias", "rename"]);
    let said = doctor();
    assert!(
        said.has("ok", "operator", "ToolHive's operator is not at work: no Deployment of it, and its finalizer on none of 0 objects", ""),
        "{said:?}"
    );

    // By its Deployment.
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "thv", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "thv"}},
            "template": {
                "metadata": {"labels": {"app": "thv"}},
                "spec": {"containers": [{"name": "manager", "image": "ghcr.io/stacklok/toolhive/operator:v0.44.0"}]},
            },
        },
    });
    cluster.apply(&deployment).expect_ok();
    let said = doctor();
    let shown = format!(
        "ToolHive's operator is at work: Deployment {namespace}/thv runs ghcr.io/stacklok/toolhive/operator:v0.44.0, version 0.44.0"
    );
    assert!(said.has("ok", "operator", &shown, ""), "{said:?}");
    assert!(said.has("ok", "operator", "it does not read global, as no version up to 0.63.0", ""), "{said:?}");
    for key in ["shared", "global"] {
        let lost = format!("a manifest that says {key} is stored as global alone: ToolHive's operator would not enforce its limit");
        assert!(said.code == Some(1) && said.has("problem", "operator", &lost, "--shared-alias auto or mirror"), "{key}: {said:?}");
    }
    cluster.kubectl(&["delete", "deployment", "thv", "-n", &namespace]).expect_ok();

    // With CRDs as published, there is nothing to upgrade.
    let published = Operator::start(&PUBLISHED, "default", Reads::SharedOnly);
    PUBLISHED.apply(&Place::Server.bare("default")).expect_ok();
    let mut command = Command::new(TOLLGATE);
    command.args(["doctor", "--output", "json"]).env("KUBECONFIG", PUBLISHED.kubeconfig());
    wait_until("a CRD without global is as it should be", || {
        let said = Said::of(&command.output().expect("the binary starts"));
        ["MCPServer", "VirtualMCPServer"].iter().all(|kind| {
            let shown = format!("the CRD of {kind} (v1beta1, v1alpha1) has shared and not global, as ToolHive publishes it: write shared");
            said.has("ok", "crds", &shown, "")
        })
    });
    drop(published);

    // By its finalizer.
    let operator = Operator::start(&cluster, &namespace, Reads::SharedOnly);
    cluster.apply(&Place::Server.with(&namespace, &json!({"perUser": bucket(1)}))).expect_ok();
    let on = format!("ToolHive's operator is at work: MCPServer {namespace}/server has its finalizer");
    wait_until("the finalizer is seen", || doctor().has("ok", "operator", &on, ""));
    drop(renames);
    let mirrors = webhook(&cluster, &namespace, &[]);
    wait_until("the webhook knows the operator", || {
        doctor().has("ok", "operator", "a manifest that says shared or global is stored with shared, which it reads", "")
    });
    let said = doctor();
    assert!(
        said.has("ok", "operator", "a manifest that says shared", "")
            && !said.has("problem", "operator", "a manifest that says shared", ""),
        "{said:?}"
    );
    drop((operator, mirrors));
}
