//! The manifests agree with the code, and kustomize accepts them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{
    apiserver::{Cluster, MAIN},
    find::neighbour,
    serve::{TOLLGATE, command, wait_until},
};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

fn kustomize(folder: &Path) -> Vec<Value> {
    let output = Command::new(neighbour("kubectl")).arg("kustomize").arg(folder).output().expect("kubectl starts");
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8_lossy(&output.stdout)).expect("YAML")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("there is no {kind}"))
}

#[test]
fn the_definitions_are_what_the_types_say() {
    for (kind, file) in [("MCPServer", "mcpservers.yaml"), ("VirtualMCPServer", "virtualmcpservers.yaml")] {
        let printed = Command::new(TOLLGATE).args(["crds", "--kind", kind]).output().expect("the binary starts");
        let shipped = fs::read_to_string(manifests().join("crds").join(file)).expect("shipped");
        assert!(String::from_utf8_lossy(&printed.stdout) == shipped, "manifests/crds/{file} is not what the types say: run `make crds`");
    }
}

#[test]
fn every_flag_in_the_deployment_is_one() {
    let objects = kustomize(&manifests().join("base"));
    let container = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<_> = container["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
    // A flag that does not exist is exit code 2 and named; here only the certificate is missing.
    let output = Command::new(TOLLGATE).args(&args).output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot read /etc/tollgate/tls/tls.crt"), "{stderr}");
    let grace = of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    assert!(grace >= Some(30), "the drain of 15 s and the grace of 10 s have to fit");
}

/// A copy of the repository's manifests in which the overlay for a CA of one's own has one.
pub fn with_own_ca() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(manifests()).arg(folder.path()).status().expect("cp is there");
    assert!(copied.success());
    let overlay = folder.path().join("manifests/overlays/own-ca");
    let certs = tollgate::certs::ensure_dev(folder.path(), &["tollgate.tollgate-system.svc".to_owned()], time::OffsetDateTime::now_utc());
    let certs = certs.expect("certificates");
    for (from, to) in [(&certs.ca, "ca.crt"), (&certs.cert, "tls.crt"), (&certs.key, "tls.key")] {
        fs::copy(from, overlay.join(to)).expect("copied");
    }
    folder
}

#[test]
fn a_real_api_server_takes_the_overlay_for_a_ca_of_ones_own() {
    let folder = with_own_ca();
    let objects = kustomize(&folder.path().join("manifests/overlays/own-ca"));
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let bundle = of_kind(&objects, kind)["webhooks"][0]["clientConfig"]["caBundle"].as_str();
        assert!(bundle.is_some_and(|bundle| bundle.len() > 100), "{kind} has no caBundle");
    }
    // Apart from the cluster of the other tests, whose objects this would judge.
    let cluster = Cluster::start();
    let overlay = folder.path().join("manifests/overlays/own-ca").display().to_string();
    cluster.kubectl(&["apply", "-k", &overlay]).expect_ok();
    cluster.kubectl(&["get", "deployment", "tollgate", "-n", "tollgate-system"]).expect_ok();
    // The permissions are what the server needs, and no more.
    let can = |verb: &str, resource: &str| {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let question = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:tollgate-system:tollgate",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {"verb": verb, "resource": resource, "group": group},
            },
        });
        let said = cluster.kubectl_with(&["create", "-o", "json", "-f", "-"], &question.to_string()).expect_ok();
        serde_json::from_str::<Value>(&said.stdout).expect("JSON")["status"]["allowed"] == true
    };
    let given = [("list", "mcpoidcconfigs.toolhive.stacklok.dev"), ("watch", "mcpexternalauthconfigs.toolhive.stacklok.dev")];
    wait_until("the permissions are in force", || given.iter().all(|(verb, resource)| can(verb, resource)));
    for (verb, resource) in [("list", "secrets"), ("get", "configmaps"), ("update", "mcpservers.toolhive.stacklok.dev"), ("create", "pods")]
    {
        assert!(!can(verb, resource), "may {verb} {resource}");
    }
}

#[test]
fn the_overlay_for_cert_manager_names_its_certificate() {
    let objects = kustomize(&manifests().join("overlays/cert-manager"));
    let leaf = objects.iter().find(|object| object["kind"] == "Certificate" && object["spec"]["isCA"] != true).expect("a leaf");
    let name = leaf["metadata"]["name"].as_str().expect("named");
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let from = of_kind(&objects, kind)["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].as_str();
        assert_eq!(from, Some(format!("tollgate-system/{name}").as_str()), "{kind}");
    }
    assert_eq!(leaf["spec"]["secretName"], "tollgate-tls");
}

#[test]
fn pods_listen_on_every_address_of_both_families() {
    for folder in ["base", "overlays/proxy"] {
        let objects = kustomize(&manifests().join(folder));
        let container = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].as_array().expect("args").iter().filter_map(Value::as_str);
        let listens: Vec<_> = args.filter(|arg| arg.contains("listen=")).collect();
        assert!(listens.len() == 2 && listens.iter().all(|arg| arg.contains("=[::]:")), "{folder}: {listens:?}");
    }
    let image = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Containerfile")).expect("shipped");
    assert!(image.contains(r#""--listen", "[::]:8443""#) && image.contains(r#""--metrics-listen", "[::]:9443""#), "{image}");
}

#[test]
fn kustomize_takes_the_definitions_and_the_component() {
    assert_eq!(kustomize(&manifests().join("crds")).len(), 2);
    let definitions = manifests().join("crds").display().to_string();
    MAIN.kubectl(&["create", "--dry-run=client", "-o", "name", "-k", &definitions]).expect_ok();
}

#[test]
fn a_real_api_server_takes_the_overlay_for_a_proxy_whose_flags_are_some() {
    let overlay = manifests().join("overlays/proxy");
    let objects = kustomize(&overlay);
    let binding = of_kind(&objects, "RoleBinding");
    assert_eq!(binding["subjects"][0]["namespace"], binding["metadata"]["namespace"], "bound where the account is");
    assert_eq!(binding["roleRef"]["name"], of_kind(&objects, "ClusterRole")["metadata"]["name"]);
    let namespaced = objects.iter().filter(|object| object["metadata"]["namespace"] == "tollgate-demo").count();
    assert_eq!(namespaced, objects.len() - 1, "all but the ClusterRole");
    let in_default = MAIN.kubectl(&["kustomize", &overlay.display().to_string()]).expect_ok().stdout.replace("tollgate-demo", "default");
    MAIN.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &in_default).expect_ok();

    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    let args = pod["containers"][0]["args"].as_array().expect("args").iter().filter_map(Value::as_str);
    let args: Vec<_> = args.map(|arg| arg.replace("$(NAMESPACE)", "default")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(&folder);
    let output = command.args(&args).env("KUBECONFIG", folder.path().join("none")).env("HOME", folder.path()).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no cluster is configured"), "a flag that does not exist would be named: {stderr}");
    assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(45), "the drain of 10 s and the grace of 30 s have to fit");
}
