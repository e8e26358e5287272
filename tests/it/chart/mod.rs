//! The Helm chart, with a real Helm: what it renders, and what a real API server does with it.

mod authz;
mod installed;
mod issued;
mod rendered;
mod rollout;
mod values;

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::find::neighbour;

/// The values without which nothing is rendered.
const IMAGE: [&str; 2] = ["--set", "image.repository=tollgate"];
const CERT_MANAGER: [&str; 2] = ["--set", "certs.mode=cert-manager"];
/// A certificate's beginning and end are all that a rendering looks at.
const OWN: [&str; 4] = ["--set", "certs.mode=own", "--set", "certs.own.caBundle=-----BEGIN CERTIFICATE-----"];

/// Both that people use.
const HELMS: [&str; 2] = ["helm", "helm3"];

fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests/helm/tollgate")
}

/// A Helm, without the user's own settings, repositories and caches.
fn helm(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(neighbour(program));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HELM_")) {
        command.env_remove(name);
    }
    let none = std::env::temp_dir().join("tollgate-no-helm-settings");
    command.env("HOME", &none).env("KUBECONFIG", none.join("kubeconfig")).args(args);
    for (variable, folder) in [("HELM_CONFIG_HOME", "config"), ("HELM_CACHE_HOME", "cache"), ("HELM_DATA_HOME", "data")] {
        command.env(variable, none.join(folder));
    }
    command
}

fn template(chart: &str, args: &[&str]) -> Output {
    template_by(HELMS[0], chart, args)
}

fn template_by(program: &str, chart: &str, args: &[&str]) -> Output {
    helm(program, &["template", "tollgate", chart, "--namespace", "tollgate-system"]).args(args).output().expect("helm starts")
}

/// The objects of the chart under some flags, hooks included.
#[track_caller]
pub fn render(args: &[&str]) -> Vec<Value> {
    render_by(HELMS[0], args)
}

#[track_caller]
fn render_by(program: &str, args: &[&str]) -> Vec<Value> {
    let output = template_by(program, &chart().display().to_string(), &[&IMAGE, args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output.stdout)
}

#[track_caller]
fn objects(yaml: &[u8]) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8_lossy(yaml)).expect("YAML");
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// What a rendering fails with.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = template(&chart().display().to_string(), args);
    assert!(!output.status.success(), "{args:?} should be refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_hook(object: &Value) -> bool {
    object["metadata"]["annotations"].get("helm.sh/hook").is_some()
}

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The pods of a rendering: of each Deployment, and the test's.
fn pods(objects: &[Value]) -> Vec<Value> {
    let of_deployment = |object: &Value| {
        let template = &object["spec"]["template"];
        let name = format!("{}-pod", text(object, "/metadata/name"));
        let metadata = json!({"name": name, "namespace": object["metadata"]["namespace"], "labels": template["metadata"]["labels"]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    };
    let deployed = of_kind(objects, "Deployment").into_iter().map(of_deployment);
    deployed.chain(of_kind(objects, "Pod").into_iter().cloned()).collect()
}

/// Two watched servers, one with everything set.
const PROXIES: &str = r#"proxies=[
    {"name": "github", "namespace": "tollgate-demo", "upstream": "http://mcp-github:8080/mcp",
     "redisPasswordFor": ["redis.tollgate-demo.svc:6379"], "redisPassword": {"secretName": "redis-password"}},
    {"name": "fetch", "namespace": "tollgate-demo", "kind": "VirtualMCPServer", "server": "fetcher", "upstream": "https://fetch/mcp",
     "replicaCount": 1, "resources": {"limits": {"memory": "512Mi"}}, "extraArgs": ["--allowed-host=mcp.example"], "podLabels": {"a": "b"},
     "extraEnv": [{"name": "TOLLGATE_SHADOW", "value": "true"}], "service": {"type": "LoadBalancer", "port": 8080}}]"#;

/// Every combination of what is on or off: certificates, monitoring, network policy, proxies, platform.
fn matrix() -> Vec<Vec<&'static str>> {
    let certificates: [&[&str]; 3] = [&[], &CERT_MANAGER, &OWN];
    let axes: [[&[&str]; 2]; 4] = [
        [
            &[],
            &[
                "--set",
                "serviceMonitor.enabled=true,podMonitor.enabled=true,podMonitor.interval=15s",
                "--set",
                "prometheusRule.enabled=true,grafanaDashboard.enabled=true",
            ],
        ],
        [&[], &["--set", "networkPolicy.enabled=true"]],
        [&[], &["--set-json", PROXIES]],
        [&[], &["--set", "platform=openshift"]],
    ];
    let combined = |bits: usize| axes.iter().enumerate().flat_map(move |(axis, ways)| ways[bits >> axis & 1]).copied();
    (0..1_usize << axes.len()).flat_map(|bits| certificates.map(|of| of.iter().copied().chain(combined(bits)).collect())).collect()
}
