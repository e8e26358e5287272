//! The chart on a real API server: what it accepts, what an upgrade retains, and what an uninstall leaves behind. A real cert-manager is at work
//! for the mode that needs it.

use std::{collections::BTreeSet, process::Command, sync::LazyLock};

use serde_json::{Value, json};

use super::{
    HELMS, IMAGE, chart, helm,
    issued::{self, Issued},
    matrix, pods, render, text,
};
use crate::{
    apiserver::doctor,
    support::{
        apiserver::{Cluster, Judging, Names, Said, crds},
        cert_manager,
        pages::Page,
        port::own_address,
        serve::{Serve, command, wait_until},
    },
};

const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// A cluster with the definitions of ToolHive and of cert-manager.
pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    cert_manager::define(&cluster);
    for namespace in ["tollgate-system", "tollgate-demo"] {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}});
        cluster.apply(&object).expect_ok();
    }
    cluster
});

fn run(program: &str, args: &[&str]) -> Said {
    let mut command: Command = helm(program, args);
    CLUSTER.run(command.env("KUBECONFIG", CLUSTER.kubeconfig()), "")
}

/// Everything in the cluster that an installation may leave behind.
fn census() -> BTreeSet<String> {
    let kinds = "serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,deployments,services,poddisruptionbudgets,\
        networkpolicies,secrets,pods,jobs,certificates.cert-manager.io,issuers.cert-manager.io,\
        mutatingwebhookconfigurations,validatingwebhookconfigurations,customresourcedefinitions";
    let said = CLUSTER.kubectl(&["get", kinds, "-A", "-o", "name"]).expect_ok();
    said.stdout.lines().map(str::to_owned).collect()
}

/// One manifest for all renderings: what differs is created (as a dry run) once each.
#[test]
fn a_real_api_server_takes_every_combination_under_pod_security_restricted() {
    let mut seen = BTreeSet::new();
    let mut counts = (0, 0);
    for args in matrix() {
        // Under a name of its own, since the other test of this file installs for real.
        let objects = render(&[&args[..], &["--set", "fullnameOverride=matrix"]].concat());
        let pods = pods(&objects);
        for object in objects.into_iter().chain(pods) {
            // Of these kinds, which no API server here knows, see rendered.rs.
            if text(&object, "/apiVersion").starts_with("monitoring.coreos.com/") {
                counts.1 += 1;
            } else {
                counts.0 += usize::from(seen.insert(object.to_string()));
            }
        }
    }
    assert!(counts.0 >= 40 && counts.1 == 72, "{counts:?}");
    let ca = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";
    // The API server reads a caBundle, and what the rendering has is only its first line.
    let bundle = crate::support::ca::Ca::root("chart").pem;
    let bundle = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bundle);
    let yaml = list(seen.iter().map(|object| object.replace(ca, &bundle)));
    let said = CLUSTER.kubectl_with(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &yaml).expect_ok();
    assert!(!said.stderr.contains("would violate"), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), counts.0, "{}", said.stdout);
    // And it would have said so.
    let root = yaml.replace("\"runAsNonRoot\":true", "\"runAsNonRoot\":false");
    CLUSTER.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &root).expect_refused(&["violates PodSecurity", "runAsNonRoot"]);
}

/// One object that holds others.
fn list(objects: impl Iterator<Item = String>) -> String {
    format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, objects.collect::<Vec<_>>().join(","))
}

fn server(name: &str, spec: &Value) -> Said {
    let object = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    CLUSTER.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &object.to_string())
}

pub fn bundles() -> Vec<String> {
    let bundle = |kind: &&str| {
        let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        CLUSTER.kubectl(&["get", kind, "tollgate", "-o", path]).expect_ok().stdout
    };
    CONFIGURATIONS.iter().map(bundle).collect()
}

/// Neither way of comparing finds that the cluster has something else than the release.
#[track_caller]
fn assert_no_diff(helm: &str) {
    let manifest = run(helm, &["get", "manifest", "tollgate", "-n", "tollgate-system"]).expect_ok().stdout;
    for flags in [&["diff", "-f", "-"][..], &["diff", "--server-side", "--force-conflicts", "-f", "-"]] {
        let said = CLUSTER.kubectl_with(flags, &manifest);
        assert!(said.ok && said.stdout.is_empty(), "{flags:?}: {}", said.all());
    }
}

/// One mode, and what fills the caBundle after an install.
struct Mode {
    helm: &'static str,
    flags: &'static [&'static str],
    fill: fn() -> Filler,
}

/// Serves what the caBundle verifies, and lives until the uninstall.
enum Filler {
    Itself { _serve: Serve },
    CertManager(Issued),
}

impl Filler {
    /// The Secret that is filled, too.
    fn secret(&self) -> &'static str {
        match self {
            Self::Itself { .. } => "tollgate-certs",
            Self::CertManager(_) => issued::LEAF,
        }
    }
}

#[test]
fn install_upgrade_rollback_and_uninstall_leave_what_was_filled_in_and_then_nothing() {
    // One after the other: the names are the same.
    for helm in HELMS {
        a_failed_install_is_undone(helm);
        goes_through_life(&Mode { helm, flags: &[], fill: self_managed });
    }
    goes_through_life(&Mode { helm: HELMS[0], flags: &super::CERT_MANAGER, fill: || Filler::CertManager(Issued::start()) });
    a_namespace_deleted_alone_leaves_what_the_page_removes();
}

fn limited() -> Value {
    json!({"rateLimiting": {"perUser": {"maxTokens": 1, "refillPeriod": "1m"}}})
}

/// An install that waits, and fails: without a kubelet, no pod becomes ready.
fn install_in_vain(helm: &str, undo: &[&str]) -> String {
    let path = chart().display().to_string();
    let args = ["install", "tollgate", &path, "-n", "tollgate-system", IMAGE[0], IMAGE[1], "--wait", "--timeout", "4s"];
    let said = run(helm, &[&args, undo].concat());
    assert!(!said.ok, "{helm}: {}", said.all());
    said.stderr
}

fn a_failed_install_is_undone(helm: &str) {
    let before = census();
    let nothing_is_left = || {
        wait_until("nothing is left", || census() == before);
        wait_until("nothing waits for the webhook", || server("undone", &limited()).ok);
    };
    wait_until("the kinds of the chart are known", || server("before", &limited()).ok);
    // The flags that docs/webhook.md names.
    let undo = if helm == HELMS[0] { "--rollback-on-failure" } else { "--atomic" };
    let page = Page::read("docs/webhook.md").text;
    assert!(page.contains(undo));
    assert!(install_in_vain(helm, &[undo]).contains("has been uninstalled"), "{helm}");
    nothing_is_left();
    install_in_vain(helm, &[]);
    wait_until("the webhook is called", || !server("limited", &limited()).ok);
    run(helm, &["uninstall", "tollgate", "-n", "tollgate-system"]).expect_ok();
    nothing_is_left();
}

/// What is in the namespace is deleted as its own deletion would, which is a controller's work.
fn a_namespace_deleted_alone_leaves_what_the_page_removes() {
    let before = census();
    let path = chart().display().to_string();
    run(HELMS[0], &["install", "tollgate", &path, "-n", "tollgate-system", IMAGE[0], IMAGE[1]]).expect_ok();
    let kinds = "deployments,services,serviceaccounts,roles,rolebindings,secrets,poddisruptionbudgets";
    CLUSTER.kubectl(&["delete", kinds, "--all", "-n", "tollgate-system"]).expect_ok();
    wait_until("the webhook is called, and its Service is gone", || {
        server("limited", &limited()).stderr.contains("service \"tollgate\" not found")
    });
    server("unlimited", &json!({})).expect_ok();
    let page = Page::read("docs/webhook.md").text;
    for command in [
        "delete validatingwebhookconfiguration,mutatingwebhookconfiguration tollgate",
        "delete clusterrole,clusterrolebinding tollgate tollgate-certs",
    ] {
        assert!(page.contains(&format!("kubectl {command}")), "{command}");
        CLUSTER.kubectl(&command.split(' ').collect::<Vec<_>>()).expect_ok();
    }
    wait_until("nothing waits for the webhook", || server("after", &limited()).ok);
    assert_eq!(census(), before);
}

/// A real server, with the rights of the release's account.
fn self_managed() -> Filler {
    let kubeconfig = CLUSTER.tollgate_kubeconfig.display().to_string();
    Filler::Itself { _serve: serve(&["--kubeconfig", &kubeconfig, "--certs-secret", "tollgate-system/tollgate-certs"]) }
}

/// A real server, called through the Service.
pub fn serve(args: &[&str]) -> Serve {
    // Not on loopback, where no EndpointSlice may point.
    let serve = Serve::start_listening(&format!("{}:0", own_address()), args);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "tollgate-test", "namespace": "tollgate-system", "labels": {"kubernetes.io/service-name": "tollgate"}},
        "endpoints": [{"addresses": [own_address().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": serve.address.port(), "protocol": "TCP"}],
    });
    CLUSTER.apply(&slice).expect_ok();
    let faulty = json!({"rateLimiting": {"tools": []}});
    wait_until("the webhook refuses", || server("faulty", &faulty).stderr.contains("TG003"));
    serve
}

/// What the cluster holds that no manifest of the release has.
fn filled(secret: &str) -> (Vec<String>, String) {
    let data = CLUSTER.kubectl(&["get", "secret", secret, "-n", "tollgate-system", "-o", "jsonpath={.data}"]);
    (bundles(), data.expect_ok().stdout)
}

fn goes_through_life(Mode { helm, flags, fill }: &Mode) {
    let before = census();
    let path = chart().display().to_string();
    let on = [&["tollgate", path.as_str(), "-n", "tollgate-system", IMAGE[0], IMAGE[1]][..], flags].concat();
    let limited = limited();
    wait_until("the kinds of the chart are known", || server("before", &limited).ok);
    run(helm, &[&["install"][..], &on].concat()).expect_ok();
    assert_no_diff(helm);

    // The window before the first ready pod: only servers with limits wait.
    wait_until("the webhook is called", || !server("limited", &limited).ok);
    server("limited", &limited).expect_refused(&["failed calling webhook \"validate.tollgate.dev\""]);
    server("unlimited", &json!({})).expect_ok();

    let filler = fill();
    let filled = || filled(filler.secret());
    let before_upgrade = filled();
    assert!(before_upgrade.0.iter().all(|bundle| bundle.len() > 100), "{before_upgrade:?}");
    assert!(before_upgrade.1.contains("tls.key"));
    assert_no_diff(helm);
    run(
        helm,
        &[&["upgrade"][..], &on, &["--set", "replicaCount=3,webhook.validating.timeoutSeconds=5", "--set", "networkPolicy.enabled=true"]]
            .concat(),
    )
    .expect_ok();
    assert_eq!(filled(), before_upgrade, "an upgrade keeps it");
    let timeout = CLUSTER.kubectl(&["get", CONFIGURATIONS[1], "tollgate", "-o", "jsonpath={.webhooks[0].timeoutSeconds}"]).stdout;
    assert_eq!(timeout, "5");
    assert_no_diff(helm);
    run(helm, &["rollback", "tollgate", "1", "-n", "tollgate-system"]).expect_ok();
    assert_eq!(filled(), before_upgrade, "so does a rollback");
    assert_no_diff(helm);

    the_test_may_do_what_doctor_does(flags);
    if let Filler::CertManager(issued) = &filler {
        issued.renewed_under_load();
    }
    // The server runs on, and brings nothing back.
    run(helm, &["uninstall", "tollgate", "-n", "tollgate-system"]).expect_ok();
    let left: BTreeSet<_> = if let Filler::CertManager(_) = filler { issued::LEFT.map(str::to_owned).into() } else { BTreeSet::new() };
    wait_until("nothing else is left", || census().difference(&before).cloned().collect::<BTreeSet<_>>() == left);
    wait_until("nothing waits for the webhook", || server("after", &limited).ok);
    CLUSTER.kubectl(&["delete", "endpointslice", "tollgate-test", "-n", "tollgate-system", "--ignore-not-found"]).expect_ok();
    drop(filler);
    for name in left {
        CLUSTER.kubectl(&["delete", &name, "-n", "tollgate-system"]).expect_ok();
    }
    assert_eq!(census(), before);
}

/// `helm test` needs a kubelet. Its account and roles do not: the doctor runs here, as that account.
fn the_test_may_do_what_doctor_does(flags: &[&str]) {
    let rights: Vec<_> = render(&[&["--show-only", "templates/tests/doctor.yaml"], flags].concat())
        .into_iter()
        .filter(|object| object["kind"] != "Pod")
        .collect();
    let (account, roles): (Vec<_>, Vec<_>) = rights.iter().partition(|object| object["kind"] == "ServiceAccount");
    CLUSTER.apply(account[0]).expect_ok();
    let token = CLUSTER.kubectl(&["create", "token", "tollgate-test", "-n", "tollgate-system"]).expect_ok().stdout;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let kubeconfig = std::fs::read_to_string(CLUSTER.kubeconfig()).expect("written").replace("admin-token", token.trim());
    std::fs::write(&file, kubeconfig).expect("written");
    let lacks = || {
        let mut doctor = command(&folder);
        let output =
            doctor.args(["doctor", "--output", "json", "--namespace", "default", "--kubeconfig"]).arg(&file).output().expect("it starts");
        let said = doctor::Said::of(&output);
        said.notes().filter(|note| note[3].contains("grant ")).map(|note| format!("{note:?}")).collect::<Vec<_>>()
    };
    assert!(!lacks().is_empty(), "without its roles it may do nothing");
    let granted = CLUSTER.kubectl_with(&["apply", "-f", "-"], &list(roles.iter().map(|role| role.to_string()))).expect_ok();
    assert_eq!(granted.stdout.lines().count(), roles.len(), "{}", granted.stdout);
    wait_until(&format!("doctor may see everything; at first it lacks {:?}", lacks()), || lacks().is_empty());
    CLUSTER.kubectl_with(&["delete", "-f", "-"], &list(rights.iter().map(Value::to_string))).expect_ok();
}
