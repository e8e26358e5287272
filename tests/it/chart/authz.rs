//! `tollgate authz` in the chart: what is rendered, what refers to what, and that a real API server takes it.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};

use super::{HELMS, IMAGE, chart, helm, of_kind, pods, refused, render, text};
use crate::{
    proxy::watch::CLUSTER,
    support::{
        pages::Page,
        serve::{TOLLGATE, command},
    },
};

const ALL: [&str; 2] = ["--set", "authz.enabled=true"];
const EVERYTHING: [&str; 4] = [
    "--set",
    "authz.enabled=true,authz.namespace=tollgate-demo,networkPolicy.enabled=true,podMonitor.enabled=true",
    "--set-json",
    r#"authz={"redisPasswordFor": ["redis.tollgate-demo.svc:6379"], "redisPassword": {"secretName": "redis-password"}, "replicaCount": 3,
        "extraArgs": ["--on-store-error=closed"], "extraEnv": [{"name": "TOLLGATE_SHADOW", "value": "true"}], "podLabels": {"a": "b"}}"#,
];

/// The objects of the service alone.
fn rendered(args: &[&str]) -> Vec<Value> {
    let is_ours = |object: &Value| text(object, "/metadata/labels/app.kubernetes.io~1component") == "authz";
    render(args).into_iter().filter(is_ours).collect()
}

fn kinds(objects: &[Value]) -> BTreeSet<&str> {
    objects.iter().map(|object| text(object, "/kind")).collect()
}

#[test]
fn it_is_there_when_asked_for_with_rights_for_a_namespace_or_for_all() {
    assert!(rendered(&[]).is_empty());
    let all = rendered(&ALL);
    assert_eq!(kinds(&all), BTreeSet::from(["ClusterRole", "ClusterRoleBinding", "Deployment", "Service", "ServiceAccount"]));
    let some = rendered(&EVERYTHING);
    let expected = ["Deployment", "NetworkPolicy", "PodMonitor", "Role", "RoleBinding", "Service", "ServiceAccount"];
    assert_eq!(kinds(&some), BTreeSet::from(expected));
    for (objects, role, namespace) in [(&all, "ClusterRole", ""), (&some, "Role", "tollgate-demo")] {
        let (role, binding) = (of_kind(objects, role)[0], of_kind(objects, &format!("{role}Binding"))[0]);
        assert_eq!([role, binding].map(|object| text(object, "/metadata/namespace")), [namespace; 2]);
        let rules = json!([{
            "apiGroups": ["toolhive.stacklok.dev"], "resources": ["mcpservers", "virtualmcpservers", "mcpoidcconfigs"], "verbs": ["list", "watch"],
        }]);
        assert_eq!(role["rules"], rules);
        assert_eq!((&binding["roleRef"]["kind"], &binding["roleRef"]["name"]), (&role["kind"], &role["metadata"]["name"]));
        let account = of_kind(objects, "ServiceAccount")[0];
        let subject = json!({"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]});
        assert_eq!(binding["subjects"], json!([subject]));
        let pod = &of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    }
}

#[test]
fn what_selects_pods_and_ports_finds_them() {
    let objects = rendered(&EVERYTHING);
    let template = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
    let ports = template["spec"]["containers"][0]["ports"].as_array().expect("ports").clone();
    let has = |port: &Value| assert!(ports.iter().any(|found| found["name"] == *port), "{port}");
    let selects = |labels: &Value| {
        let labels = labels.as_object().expect("labels");
        assert!(labels.len() == 3 && labels.iter().all(|(key, value)| template["metadata"]["labels"][key] == *value), "{labels:?}");
    };
    let (service, policy) = (of_kind(&objects, "Service")[0], of_kind(&objects, "NetworkPolicy")[0]);
    selects(&service["spec"]["selector"]);
    selects(&of_kind(&objects, "Deployment")[0]["spec"]["selector"]["matchLabels"]);
    selects(&policy["spec"]["podSelector"]["matchLabels"]);
    selects(&of_kind(&objects, "PodMonitor")[0]["spec"]["selector"]["matchLabels"]);
    has(&service["spec"]["ports"][0]["targetPort"]);
    let endpoint = &of_kind(&objects, "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0];
    has(&endpoint["port"]);
    assert_eq!(endpoint["honorLabels"], true, "servers are in other namespaces than the pod");
    for rule in policy["spec"]["ingress"].as_array().expect("rules") {
        has(&rule["ports"][0]["port"]);
    }
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]), "Redis and issuers may be anywhere");
    // The page names it so.
    let (name, port) = (text(service, "/metadata/name"), &service["spec"]["ports"][0]["port"]);
    let page = Page::read("docs/envoy.md").text;
    assert!(page.contains(&format!("[{{name: {name}, port: {port}}}]")), "{name}:{port}");
}

#[test]
fn every_flag_is_one_and_its_value_is_taken() {
    for (args, watch) in [(&ALL[..], "--watch=*"), (&EVERYTHING, "--watch=tollgate-demo")] {
        let pods = pods(&rendered(args));
        let args: Vec<_> = pods[0]["spec"]["containers"][0]["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
        assert_eq!(args[..2], ["authz", watch]);
        let folder = tempfile::tempdir().expect("a folder");
        let output = command(&folder).args(&args).env("KUBECONFIG", folder.path().join("none")).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("cluster") && !stderr.contains("Usage:"), "{args:?}: {stderr}");
        let help = Command::new(TOLLGATE).args(["authz", "--help"]).output().expect("the binary starts");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(args[1..].iter().filter_map(|arg| arg.split('=').next()).all(|flag| help.contains(flag)), "{args:?}");
    }
}

#[test]
fn lint_finds_nothing_and_typos_are_named() {
    for program in HELMS {
        for args in [&ALL[..], &EVERYTHING] {
            let output = helm(program, &["lint", "--strict"]).arg(chart()).args(IMAGE).args(args).output().expect("helm starts");
            assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
    }
    for (set, names) in [("authz.replicas=1", "replicas"), ("authz.namespace=A_b", "/authz/namespace"), ("authz.port=0", "/authz/port")] {
        let stderr = refused(&[&IMAGE[..], &["--set", set]].concat());
        assert!(stderr.contains("schema") && stderr.contains(names), "{set}: {stderr}");
    }
}

#[test]
fn a_real_api_server_takes_it_under_pod_security_restricted() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    for name in ["tollgate-system", "tollgate-demo"] {
        CLUSTER.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})).expect_ok();
    }
    for args in [&ALL[..], &EVERYTHING] {
        let objects = rendered(args);
        let pods = pods(&objects);
        // No API server here knows monitors.
        let items: Vec<_> = objects.into_iter().filter(|object| object["kind"] != "PodMonitor").chain(pods).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        CLUSTER.kubectl_with(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &list).expect_ok();
        let root = list.replace("\"runAsNonRoot\":true", "\"runAsNonRoot\":false");
        CLUSTER.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &root).expect_refused(&["violates PodSecurity", "runAsNonRoot"]);
    }
}
