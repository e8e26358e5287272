//! `tollgate audit --watch` on a real API server, with the permissions that the manifests grant, in two replicas.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    installed::{apply_rbac, install_oidc_configs},
    places::{Place, bucket},
};
use crate::support::{
    apiserver::{Cluster, Judging, Names, crds, names},
    https,
    operator::{Operator, Reads},
    serve::{TOLLGATE, wait_until},
};

/// A running watch; killed when dropped.
struct Watching {
    child: Child,
    operations: SocketAddr,
}

impl Watching {
    fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let mut command = Command::new(TOLLGATE);
        command.args(["audit", "--watch", "--metrics-listen", "127.0.0.1:0", "--kubeconfig"]).arg(&cluster.tollgate_kubeconfig).args(args);
        let log = tempfile::NamedTempFile::new().expect("a file");
        let stderr = log.as_file().try_clone().expect("the same file");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary starts");
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut greeting).expect("text");
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        let operations = address.unwrap_or_else(|| {
            let mut said = String::new();
            let _ = log.reopen().and_then(|mut log| log.read_to_string(&mut said));
            panic!("it says {greeting:?}, and {said}")
        });
        Self { child, operations }
    }

    fn get(&self, path: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(https::get(self.operations, path)).text()
    }

    /// The value of a series, 0 where there is none.
    fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let metrics = self.get("/metrics");
        let is_meant = |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
        let values = metrics.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    fn written(&self) -> u64 {
        self.metric("tollgate_audit_condition_writes_total", &["result=\"written\""])
    }

    fn wait_until_ready(&self) {
        wait_until("the lists are read", || self.get("/readyz").starts_with("[+]"));
    }

    fn end(mut self) {
        Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().expect("kill is there");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster in which the manifests' audit component is in force.
fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    install_oidc_configs(&cluster);
    apply_rbac(&cluster);
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/audit/rbac.yaml");
    cluster.kubectl_with(&["apply", "-f", "-"], &fs::read_to_string(rbac).expect("shipped")).expect_ok();
    cluster
}

fn named(mut manifest: Value, name: &str) -> Value {
    manifest["metadata"]["name"] = json!(name);
    manifest
}

/// `status reason` of the condition, as far as it speaks of the present generation.
fn condition(cluster: &Cluster, manifest: &Value) -> String {
    let object = cluster.get(manifest);
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ours = conditions.iter().find(|condition| condition["type"] == "RateLimitConfigValid");
    let ours = ours.filter(|ours| ours["observedGeneration"] == object["metadata"]["generation"]);
    ours.map(|ours| format!("{} {}", ours["status"].as_str().unwrap_or_default(), ours["reason"].as_str().unwrap_or_default()))
        .unwrap_or_default()
}

#[track_caller]
fn becomes(cluster: &Cluster, manifest: &Value, wanted: &str) {
    let mut last = String::new();
    let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(wanted, || {
            last = condition(cluster, manifest);
            last == wanted
        });
    }));
    assert!(met.is_ok(), "{}: {last:?}, not {wanted:?}", manifest["metadata"]["name"]);
}

fn put_condition(cluster: &Cluster, manifest: &Value, condition: &Value) {
    let (kind, name, namespace) = names(manifest);
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let args = ["patch", &kind, &name, "-n", &namespace, "--subresource=status", "--type=merge", "--field-manager=operator", "-p", &patch];
    cluster.kubectl(&args).expect_ok();
}

#[test]
fn two_replicas_keep_the_condition_and_write_each_change_once() {
    let cluster = cluster();
    let namespace = cluster.namespace("watched");
    let good = named(Place::VirtualSpec.with(&namespace, &json!({"global": bucket(10)})), "good");
    let mut anonymous = named(Place::Server.with(&namespace, &json!({"perUser": bucket(10)})), "anonymous");
    anonymous["spec"]["oidcConfigRef"] = Value::Null;
    let wrong = named(Place::Server.with(&namespace, &json!({"global": bucket(0)})), "wrong");
    let none = named(Place::Server.bare(&namespace), "none");
    let all = [&good, &anonymous, &wrong, &none];
    for manifest in all {
        cluster.apply(manifest).expect_ok();
    }
    put_condition(&cluster, &good, &json!({"type": "Ready", "status": "True", "reason": "Running", "message": "it runs"}));

    let replicas = [Watching::start(&cluster, &["--write-conditions"]), Watching::start(&cluster, &["--write-conditions"])];
    let written = || replicas.iter().map(Watching::written).sum::<u64>();
    becomes(&cluster, &good, "True RateLimitConfigValid");
    becomes(&cluster, &anonymous, "False PerUserRequiresAuth");
    becomes(&cluster, &wrong, "False MaxTokensInvalid");
    becomes(&cluster, &none, "True RateLimitNotApplicable");
    replicas.iter().for_each(Watching::wait_until_ready);
    let object = cluster.get(&good);
    assert_eq!(object["status"]["conditions"][0]["type"], "Ready", "the operator's stays: {object:#}");
    let message = cluster.get(&anonymous)["status"]["conditions"][0]["message"].as_str().expect("one").to_owned();
    assert!(message.starts_with("TG002 spec.rateLimiting.perUser: callers do not sign in"), "{message}");
    wait_until("both replicas have judged all", || replicas.iter().all(|replica| replica.metric("tollgate_audit_objects", &[]) == 4));
    wait_until("each is written once", || written() == 4);

    // A fault that goes, and one that comes from elsewhere.
    anonymous["spec"]["externalAuthConfigRef"] = json!({"name": "api"});
    cluster.apply(&anonymous).expect_ok();
    becomes(&cluster, &anonymous, "True RateLimitConfigValid");
    let config = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPExternalAuthConfig",
        "metadata": {"name": "api", "namespace": namespace}, "spec": {"type": "headerInjection"},
    });
    cluster.apply(&config).expect_ok();
    becomes(&cluster, &anonymous, "False PerUserRequiresAuth");
    cluster.kubectl(&["delete", "mcpexternalauthconfigs.toolhive.stacklok.dev", "api", "-n", &namespace]).expect_ok();
    becomes(&cluster, &anonymous, "True RateLimitConfigValid");
    wait_until("each change is written once", || written() == 7);

    // What changes nothing for the limits is not written about, nor what was deleted counted.
    let before = cluster.get(&wrong)["metadata"]["resourceVersion"].clone();
    cluster.kubectl(&["label", "mcpservers", "wrong", "-n", &namespace, "touched=yes"]).expect_ok();
    cluster.kubectl(&["delete", "mcpservers", "none", "-n", &namespace]).expect_ok();
    wait_until("the deletion is seen", || replicas.iter().all(|replica| replica.metric("tollgate_audit_objects", &[]) == 3));
    assert_ne!(cluster.get(&wrong)["metadata"]["resourceVersion"], before, "touched");
    assert_eq!(written(), 7, "nothing more to say, and nothing was said twice");
    for replica in &replicas {
        let labels = ["kind=\"MCPServer\"", "reason=\"MaxTokensInvalid\"", "status=\"False\"", &format!("namespace=\"{namespace}\"")];
        assert_eq!(replica.metric("tollgate_audit_objects", &labels), 1, "{}", replica.get("/metrics"));
        assert_eq!(replica.metric("tollgate_audit_findings", &["rule=\"TG006\"", "severity=\"error\""]), 1);
        assert_eq!(replica.get("/healthz"), "ok\n");
    }
    replicas.into_iter().for_each(Watching::end);
}

#[test]
fn what_somebody_else_says_stays_theirs() {
    let cluster = cluster();
    let namespace = cluster.namespace("foreign");
    let wrong = named(Place::Server.with(&namespace, &json!({"global": bucket(0)})), "wrong");
    cluster.apply(&wrong).expect_ok();
    let theirs = json!({
        "type": "RateLimitConfigValid", "status": "True", "reason": "RateLimitConfigValid", "message": "fine",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    });
    put_condition(&cluster, &wrong, &theirs);
    let watching = Watching::start(&cluster, &["--write-conditions", "--namespace", &namespace]);
    wait_until("it was tried", || watching.metric("tollgate_audit_condition_writes_total", &["result=\"foreign\""]) > 0);
    assert_eq!(cluster.get(&wrong)["status"]["conditions"], json!([theirs]));
    assert_eq!(watching.written(), 0);
    assert_eq!(watching.metric("tollgate_audit_objects", &["reason=\"MaxTokensInvalid\""]), 1, "the metrics tell the truth all the same");
    watching.end();
}

#[test]
fn limits_that_toolhives_operator_did_not_render_are_a_fault_until_it_does() {
    let cluster = cluster();
    let namespace = cluster.namespace("rendered");
    let manifest = |key: &str| Place::VirtualConfig.with(&namespace, &json!({key: bucket(10)}));
    cluster.apply(&manifest("global")).expect_ok();
    let watching = Watching::start(&cluster, &["--write-conditions"]);
    becomes(&cluster, &manifest("global"), "True RateLimitConfigValid");
    let operator = Operator::start(&cluster, &namespace, Reads::SharedOnly);
    becomes(&cluster, &manifest("global"), "False LimitsNotEnforced");
    assert_eq!(watching.metric("tollgate_audit_findings", &["rule=\"not-enforced\"", "severity=\"error\""]), 1);
    let message = &cluster.get(&manifest("global"))["status"]["conditions"][0]["message"];
    let lost =
        "not-enforced spec.config.rateLimiting.global: is stored, and not enforced (it is not in ConfigMap virtual-config-vmcp-config)";
    assert!(message.as_str().is_some_and(|message| message.starts_with(lost)), "{message}");
    // An edit is no fault while the operator is about to render it.
    cluster.apply(&manifest("shared")).expect_ok();
    becomes(&cluster, &manifest("shared"), "True RateLimitConfigValid");
    wait_until("nothing is found", || watching.metric("tollgate_audit_findings", &["rule=\"not-enforced\""]) == 0);
    assert_eq!(watching.written(), 3, "each change is written once");
    drop(operator);
    watching.end();
}

#[test]
fn without_being_told_so_nothing_is_written() {
    let cluster = cluster();
    let namespace = cluster.namespace("only-metrics");
    let wrong = named(Place::Server.with(&namespace, &json!({"global": bucket(0)})), "wrong");
    cluster.apply(&wrong).expect_ok();
    let before = cluster.get(&wrong);
    let watching = Watching::start(&cluster, &[]);
    wait_until("it is counted", || watching.metric("tollgate_audit_findings", &["rule=\"TG006\""]) == 1);
    assert_eq!(cluster.get(&wrong), before);
    watching.end();
}

#[test]
fn conditions_that_would_replace_others_are_not_begun_with() {
    let cluster = Cluster::start();
    let mut definitions = crds(Judging::No, Names::Both);
    for version in definitions.iter_mut().flat_map(|definition| definition["spec"]["versions"].as_array_mut().expect("versions")) {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"];
        *status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    cluster.install(definitions);
    let mut command = Command::new(TOLLGATE);
    command.args(["audit", "--watch", "--write-conditions", "--metrics-listen", "127.0.0.1:0"]).env("KUBECONFIG", cluster.kubeconfig());
    // An API server serves new definitions for a moment before it describes them.
    wait_until("the definitions are read and refused", || {
        let output = command.output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).contains("the CRD of MCPServer does not merge status.conditions by type")
    });
}
