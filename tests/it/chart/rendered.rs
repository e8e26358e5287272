//! What the chart renders: the same as `manifests/base`, flags that exist, names that refer to each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::{HELMS, PROXIES, chart, is_hook, matrix, objects, of_kind, pods, render, render_by, template_by, text};
use crate::support::{
    find::neighbour,
    serve::{TOLLGATE, command},
};

/// Labels that Helm's conventions ask for; base has none of them.
const HELMS_LABELS: [&str; 4] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"];

fn without_helms_labels(object: &mut Value) {
    match object {
        Value::Object(map) => {
            map.retain(|key, _| !HELMS_LABELS.contains(&key.as_str()));
            map.values_mut().for_each(without_helms_labels);
        }
        Value::Array(items) => items.iter_mut().for_each(without_helms_labels),
        _ => {}
    }
}

fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().map(|mut object| {
        without_helms_labels(&mut object);
        (format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")), object)
    });
    named.collect()
}

fn kustomize(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let output = Command::new(neighbour("kubectl")).arg("kustomize").arg(&folder).output().expect("kubectl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&output.stdout)
}

/// The default rendering, with the network policy that base has and the chart leaves out unless asked.
#[test]
fn the_chart_and_the_overlays_are_the_same_objects() {
    same_objects(&[], "manifests/overlays/self-managed");
    same_objects(&super::CERT_MANAGER, "manifests/overlays/cert-manager");
}

fn same_objects(args: &[&str], overlay: &str) {
    let chart = render(&[&["--set", "networkPolicy.enabled=true"], args].concat()).into_iter().filter(|object| !is_hook(object)).collect();
    // `helm install --create-namespace` makes it.
    let overlay = kustomize(overlay).into_iter().filter(|object| object["kind"] != "Namespace").collect();
    let (chart, overlay) = (by_name(chart), by_name(overlay));
    assert_eq!(chart.keys().collect::<Vec<_>>(), overlay.keys().collect::<Vec<_>>());
    for (name, object) in &overlay {
        // serde_json's text has sorted keys, so that a difference is easy to see.
        let pretty = |object| serde_json::to_string_pretty(object).expect("JSON");
        assert!(chart[name] == *object, "{name}\nchart: {}\nbase: {}", pretty(&chart[name]), pretty(object));
    }
}

#[test]
fn both_helms_render_the_same_and_refuse_the_same() {
    let all = matrix();
    for args in [&all[0], &all[1], &all[2], &all[all.len() - 1]] {
        // In an order of their own.
        let [four, three] = HELMS.map(|helm| by_name(render_by(helm, args)));
        let differ: Vec<_> = four.keys().chain(three.keys()).filter(|name| four.get(*name) != three.get(*name)).collect();
        assert!(differ.is_empty(), "{args:?}: {differ:?}");
    }
    for helm in HELMS {
        let typo = template_by(helm, &chart().display().to_string(), &["--set", "image.repo=x"]);
        let stderr = String::from_utf8_lossy(&typo.stderr).into_owned();
        assert!(!typo.status.success() && stderr.contains("additional properties 'repo' not allowed"), "{helm}: {stderr}");
    }
}

#[test]
fn a_proxy_runs_as_in_its_overlay() {
    let rendered = render(&["--set-json", PROXIES]);
    let of_chart = of_kind(&rendered, "Deployment").into_iter().find(|object| text(object, "/metadata/name") == "tollgate-proxy-github");
    let overlay = kustomize("manifests/overlays/proxy");
    let of_overlay = of_kind(&overlay, "Deployment")[0];
    let container = |object: &Value| object["spec"]["template"]["spec"]["containers"][0].clone();
    let (chart, overlay) = (container(of_chart.expect("it is there")), container(of_overlay));
    for key in ["ports", "resources", "startupProbe", "readinessProbe", "livenessProbe", "securityContext"] {
        assert_eq!(chart[key], overlay[key], "{key}");
    }
    let flags = |container: &Value| -> BTreeSet<String> {
        let args = container["args"].as_array().expect("args").iter().filter_map(Value::as_str);
        args.map(|arg| arg.split('=').next().unwrap_or_default().to_owned()).filter(|flag| flag != "--grace").collect()
    };
    assert_eq!(flags(&chart), flags(&overlay));
}

#[test]
fn every_flag_is_one_and_its_value_is_taken() {
    for pod in pods(&render(&["--set-json", PROXIES])) {
        let args: Vec<_> = pod["spec"]["containers"][0]["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
        let help = Command::new(TOLLGATE).args([args[0], "--help"]).output().expect("the binary starts");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for flag in args.iter().skip(1).filter_map(|arg| arg.split('=').next()) {
            assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{} has no {flag}", args[0]);
        }
        // Far enough to have read every flag, and no further: there is neither a certificate nor a cluster.
        let folder = tempfile::tempdir().expect("a folder");
        let output = command(&folder).args(&args).env("KUBECONFIG", folder.path().join("none")).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = if args[0] == "serve" { "--certs-secret needs a cluster" } else { "cluster" };
        assert!(stderr.contains(reason) && !stderr.contains("Usage:"), "{args:?}: {stderr}");
    }
}

#[test]
fn its_version_is_the_crates() {
    let chart: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("Chart.yaml")).expect("shipped")).expect("YAML");
    assert_eq!(text(&chart, "/version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&chart, "/appVersion"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_platform_that_assigns_users_gets_no_fixed_ones() {
    let fixed = ["runAsUser", "runAsGroup", "fsGroup"];
    let with = |args: &[&str]| pods(&render(&[&["--set-json", PROXIES], args].concat()));
    for args in [&["--set", "platform=openshift"][..], &["--api-versions", "security.openshift.io/v1"]] {
        for pod in with(args) {
            let context = &pod["spec"]["securityContext"];
            assert!(fixed.iter().all(|key| context.get(key).is_none()), "{args:?}: {context}");
            assert_eq!(context["runAsNonRoot"], true);
        }
    }
    for args in [&[][..], &["--set", "platform=kubernetes", "--api-versions", "security.openshift.io/v1"]] {
        assert!(with(args).iter().all(|pod| fixed.iter().all(|key| pod["spec"]["securityContext"][key] == 65532)), "{args:?}");
    }
    // One at a time, for platforms that nobody listed.
    let pods = with(&["--set", "podSecurityContext.runAsUser=null"]);
    assert!(pods.iter().all(|pod| pod["spec"]["securityContext"].get("runAsUser").is_none()));
}

/// No API server here knows the kinds of cert-manager and Prometheus: what they refer to is looked up instead.
#[test]
fn certificates_and_monitors_refer_to_what_is_rendered() {
    for args in matrix() {
        let objects = render(&args);
        let has = |kind: &str, name: &str| of_kind(&objects, kind).iter().any(|object| text(object, "/metadata/name") == name);
        for certificate in of_kind(&objects, "Certificate") {
            let issuer = &certificate["spec"]["issuerRef"];
            assert!(has(text(issuer, "/kind"), text(issuer, "/name")), "{args:?}: {issuer}");
        }
        let selected = |kind: &str, selector: &Value, labels: &str| {
            let wanted = selector.as_object().expect("labels");
            let is_meant = |object: &&Value| {
                object.pointer(labels).is_some_and(|labels| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
            };
            of_kind(&objects, kind).into_iter().filter(is_meant).cloned().collect::<Vec<_>>()
        };
        for monitor in of_kind(&objects, "ServiceMonitor") {
            let services = selected("Service", &monitor["spec"]["selector"]["matchLabels"], "/metadata/labels");
            assert_eq!(services.len(), 1, "{args:?}: of the two Services, the one for metrics");
            assert_eq!(services[0]["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"]);
        }
        for monitor in of_kind(&objects, "PodMonitor") {
            let pods = selected("Deployment", &monitor["spec"]["selector"]["matchLabels"], "/spec/template/metadata/labels");
            assert_eq!(pods.len(), 1, "{args:?}: the pods of one proxy");
            let ports = pods[0]["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().expect("ports").clone();
            assert!(ports.iter().any(|port| port["name"] == monitor["spec"]["podMetricsEndpoints"][0]["port"]));
            assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["interval"], "15s");
        }
        let count = |kind| of_kind(&objects, kind).len();
        let (monitors, proxies) = (args.iter().any(|arg| arg.starts_with("serviceMonitor")), args.contains(&PROXIES));
        assert_eq!((count("ServiceMonitor"), count("PodMonitor")), (usize::from(monitors), 2 * usize::from(monitors && proxies)));
        assert_eq!(count("Certificate"), if args.contains(&super::CERT_MANAGER[1]) { 2 } else { 0 }, "{args:?}");
        // Only with mode self, which is the default.
        assert_eq!(count("Secret"), usize::from(args.iter().all(|arg| !arg.starts_with("certs.mode="))), "{args:?}");
    }
}

#[test]
fn the_only_hooks_are_the_test_and_there_is_one_image() {
    let objects = render(&["--set-json", PROXIES]);
    let hooks: BTreeSet<_> =
        objects.iter().filter(|object| is_hook(object)).map(|object| text(object, "/metadata/annotations/helm.sh~1hook")).collect();
    assert_eq!(hooks, BTreeSet::from(["test"]));
    let images: BTreeSet<_> = pods(&objects).iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect();
    assert_eq!(images, BTreeSet::from([format!("tollgate:{}", env!("CARGO_PKG_VERSION"))]));
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty() && !chart().join("crds").exists(), "ToolHive brings its own");
}

#[test]
fn a_certificate_of_ones_own_is_given_to_both_webhooks_and_an_issuer_of_ones_own_signs() {
    let own = render(&super::OWN);
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let configuration = of_kind(&own, kind)[0];
        assert_eq!(text(configuration, "/webhooks/0/clientConfig/caBundle"), "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t");
        assert_eq!(configuration["metadata"].get("annotations"), None);
    }
    let issued = render(&[
        "--set",
        "certs.mode=cert-manager,certs.certManager.issuerRef.kind=ClusterIssuer,certs.certManager.issuerRef.name=internal",
    ]);
    assert!(of_kind(&issued, "Issuer").is_empty());
    let certificates = of_kind(&issued, "Certificate");
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0]["spec"]["issuerRef"], serde_json::json!({"kind": "ClusterIssuer", "name": "internal"}));
}
