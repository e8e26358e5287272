//! `tollgate doctor` on a real API server: all that the manifests install, the API server calling a real server through the Service, then
//! one thing after the other broken and repaired.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::{
    manifests::with_own_ca,
    support::{
        api::kubeconfig,
        apiserver::{Cluster, Judging, MAIN, Names, crds},
        pages::Page,
        port::{free_port, own_address},
        serve::{Serve, TOLLGATE, command, wait_until},
    },
};

/// A cluster in which everything is as it should be.
struct Ward {
    cluster: Cluster,
    serve: Option<Serve>,
    /// The manifests, with a CA and a certificate of their own.
    folder: TempDir,
}

/// What the doctor said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub report: Value,
}

impl Said {
    pub fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { code: output.status.code(), report }
    }

    /// State, check, what is said, what to do.
    pub fn notes(&self) -> impl Iterator<Item = [&str; 4]> {
        let notes = self.report["notes"].as_array().expect("a list").iter();
        notes.map(|note| ["state", "check", "says", "do"].map(|key| note[key].as_str().unwrap_or_default()))
    }

    /// Whether there is a problem with these words, and something to do about it.
    pub fn has(&self, state: &str, check: &str, words: &str, todo: &str) -> bool {
        self.notes().any(|note| note[0] == state && note[1] == check && note[2].contains(words) && note[3].contains(todo))
    }
}

impl Ward {
    fn new() -> Self {
        let folder = with_own_ca();
        let cluster = Cluster::start();
        cluster.install(crds(Judging::Yes, Names::Both));
        let mut ward = Self { cluster, serve: None, folder };
        ward.cluster.kubectl(&["apply", "-k", &ward.overlay().display().to_string()]).expect_ok();
        ward.serve_again();
        ward
    }

    fn overlay(&self) -> PathBuf {
        self.folder.path().join("manifests/overlays/own-ca")
    }

    /// Starts a server with the certificate in the overlay, as a pod would with the Secret, and points the Service at it.
    fn serve_again(&mut self) {
        let file = |name: &str| self.overlay().join(name).display().to_string();
        // Not on loopback, where no EndpointSlice may point.
        let listen = format!("{}:0", own_address());
        let serve = Serve::start_listening(&listen, &["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key")]);
        self.point_at(serve.address.port(), true);
        self.serve = Some(serve);
    }

    fn point_at(&self, port: u16, is_ready: bool) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "tollgate-test", "namespace": "tollgate-system", "labels": {"kubernetes.io/service-name": "tollgate"}},
            "endpoints": [{"addresses": [own_address().to_string()], "conditions": {"ready": is_ready}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        self.cluster.apply(&slice).expect_ok();
    }

    fn apply_manifests(&self) {
        self.cluster.kubectl(&["apply", "-k", &self.overlay().display().to_string()]).expect_ok();
    }

    fn patch(&self, kind: &str, patch: &Value) {
        self.cluster.kubectl(&["patch", kind, "tollgate", "--type=json", "-p", &patch.to_string()]).expect_ok();
    }

    fn doctor(&self, args: &[&str]) -> Output {
        let mut command = Command::new(TOLLGATE);
        command.arg("doctor").args(args).env("KUBECONFIG", self.cluster.kubeconfig());
        command.output().expect("the binary starts")
    }

    fn said(&self, args: &[&str]) -> Said {
        Said::of(&self.doctor(&[&["--output", "json"], args].concat()))
    }

    /// Asks until the API server has taken notice of a change.
    #[track_caller]
    fn finds(&self, about: &str, expected: &[(&str, &str, &str, &str)]) {
        let mut last = None;
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(about, || {
                let said = self.said(&[]);
                let all = expected.iter().all(|(state, check, words, todo)| said.has(state, check, words, todo));
                let is_met = all && said.code == Some(1);
                last = Some(said);
                is_met
            });
        }));
        assert!(met.is_ok(), "{about}: {:#}", last.expect("asked at least once").report);
    }

    #[track_caller]
    fn is_well(&self, about: &str) {
        let mut last = String::new();
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(about, || {
                let output = self.doctor(&[]);
                last = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                output.status.code() == Some(0) && last.contains("\nAll is well.\n")
            });
        }));
        assert!(met.is_ok(), "{about}: {last}");
    }
}

#[test]
fn what_is_broken_is_told_and_what_to_do() {
    let mut ward = Ward::new();
    ward.is_well("everything as installed");
    let healthy = ward.said(&[]);
    let checks: Vec<_> = healthy.notes().map(|note| note[1]).collect();
    for check in ["installed", "settings", "ca-bundle", "certificate", "service", "endpoints", "version", "crds", "reachable"] {
        assert!(checks.contains(&check), "{check} was not looked at: {checks:?}");
    }
    assert!(healthy.has("ok", "reachable", "validate.tollgate.dev refuses a faulty create in default, with TG009", ""), "{healthy:?}");
    assert!(healthy.has("ok", "reachable", "mutate.tollgate.dev turns shared into global", ""), "{healthy:?}");
    // The CRDs refuse much by themselves; without the webhook, the same create passes, so its refusal is the webhook's.
    ward.cluster.kubectl(&["delete", "validatingwebhookconfiguration", "tollgate"]).expect_ok();
    ward.finds(
        "no validating configuration",
        &[
            ("problem", "installed", "no ValidatingWebhookConfiguration has the webhook validate.tollgate.dev", "kubectl apply -k"),
            ("problem", "reachable", "a faulty create in default passes", "namespaceSelector"),
        ],
    );
    ward.apply_manifests();

    let policy = |policy| {
        ward.patch("validatingwebhookconfiguration", &json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]))
    };
    policy("Ignore");
    let mut reported = String::new();
    wait_until("one problem, as docs/webhook.md shows it", || {
        reported = String::from_utf8(ward.doctor(&[]).stdout).expect("text");
        reported.ends_with("\n1 problem.\n")
    });
    let shown = Page::read("docs/webhook.md").shown_below("$ tollgate doctor\n");
    assert!(without_dates(reported.trim_end()) == without_dates(&shown), "docs/webhook.md should say\n{reported}");

    ward.patch(
        "validatingwebhookconfiguration",
        &json!([
            {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
            {"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 25},
            {"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Exact"},
            {"op": "replace", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"a": "b"}}},
            {"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]},
        ]),
    );
    ward.patch(
        "mutatingwebhookconfiguration",
        &json!([
            {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
            {"op": "replace", "path": "/webhooks/0/reinvocationPolicy", "value": "Never"},
        ]),
    );
    ward.finds(
        "settings that undo the webhook",
        &[
            ("problem", "settings", "validate.tollgate.dev: failurePolicy is Ignore", "failurePolicy: Fail"),
            ("problem", "settings", "timeoutSeconds is 25", "2 or 3"),
            ("problem", "settings", "matchPolicy is Exact", "Equivalent"),
            ("problem", "settings", "objectSelector", "remove"),
            ("problem", "settings", "UPDATE of mcpservers is not asked about", "webhooks.yaml"),
            ("problem", "settings", "UPDATE of virtualmcpservers is not asked about", "webhooks.yaml"),
            ("problem", "settings", "mutate.tollgate.dev: failurePolicy is Fail", "failurePolicy: Ignore"),
            ("problem", "settings", "reinvocationPolicy is Never", "IfNeeded"),
        ],
    );
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        ward.cluster.kubectl(&["delete", kind, "tollgate"]).expect_ok();
    }
    ward.apply_manifests();
    ward.is_well("settings repaired");

    let port = ward.serve.as_ref().expect("serving").address.port();
    ward.point_at(port, false);
    // Or the API server would go on talking over the connection that it has.
    ward.serve = None;
    ward.finds(
        "no pod is ready",
        &[
            ("problem", "endpoints", "no pod behind tollgate-system/tollgate is ready (1 are not)", "/readyz"),
            ("problem", "reachable", "the API server cannot call validate.tollgate.dev", ""),
        ],
    );
    ward.serve_again();

    // As after the deletion of the namespace alone. What it advises is done.
    ward.cluster.kubectl(&["delete", "service", "tollgate", "-n", "tollgate-system"]).expect_ok();
    let advice = "delete mutatingwebhookconfiguration/tollgate validatingwebhookconfiguration/tollgate";
    ward.finds(
        "no Service",
        &[
            (
                "problem",
                "service",
                "Service tollgate-system/tollgate, which the webhooks call, is not there",
                &format!("if tollgate was removed: kubectl {advice}"),
            ),
            ("problem", "reachable", "the API server cannot call validate.tollgate.dev", "see the notes on service"),
        ],
    );
    ward.cluster.kubectl(&advice.split(' ').collect::<Vec<_>>()).expect_ok();
    let gone = "no ValidatingWebhookConfiguration has the webhook validate.tollgate.dev";
    ward.finds("nothing to wait for", &[("problem", "installed", gone, "kubectl apply -k")]);
    ward.apply_manifests();

    ward.cluster.install(crds(Judging::No, Names::SharedOnly));
    ward.finds(
        "definitions without global",
        &[
            (
                "problem",
                "crds",
                "the CRD of MCPServer (v1beta1, v1alpha1) lacks spec.rateLimiting.global, spec.rateLimiting.tools.global: there shared is not renamed",
                "tollgate crds | kubectl apply",
            ),
            (
                "problem",
                "crds",
                "the CRD of VirtualMCPServer (v1beta1, v1alpha1) lacks spec.config.rateLimiting.global, spec.config.rateLimiting.tools.global",
                "upgrade ToolHive's CRDs",
            ),
            // This server is told nothing of the cluster.
            ("problem", "reachable", "turns shared into global, and the CRD drops it: limits are lost", "--crd-global no"),
        ],
    );
    ward.cluster.install(crds(Judging::Yes, Names::Both));

    ward.cluster
        .kubectl(&["set", "image", "deployment/tollgate", "tollgate=example.com/tollgate:0.0.9", "-n", "tollgate-system"])
        .expect_ok();
    ward.finds("another version", &[("problem", "version", "0.0.9 runs, and this is tollgate", "roll out")]);
    ward.apply_manifests();
    ward.is_well("repaired again");

    // A certificate for another name, by another CA, that ends tomorrow.
    ward.serve = None;
    let other = with_other_certificate(&ward);
    ward.finds(
        "a certificate that fits nowhere",
        &[
            (
                "problem",
                "certificate",
                "the one in Secret tollgate-system/tollgate-tls is not for tollgate.tollgate-system.svc",
                "DNS names",
            ),
            ("problem", "certificate", "ends in 0 days", "renew"),
            ("problem", "certificate", "was not signed by a CA in caBundle of validate.tollgate.dev", "cainjector"),
            ("problem", "reachable", "x509", "certificate"),
        ],
    );
    drop(other);
}

#[test]
fn every_setting_of_a_hook_is_compared_with_the_manifests() {
    let ward = Ward::new();
    ward.is_well("everything as installed");
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let in_namespaces =
        |operator: &str, values: &[&str]| json!([{"key": "kubernetes.io/metadata.name", "operator": operator, "values": values}]);
    for (patch, says) in [
        // Of these, the two creates of the doctor notice nothing.
        (
            json!({"op": "add", "path": "matchConditions/-", "value": condition("only-create", "request.operation == 'CREATE'")}),
            "the matchCondition only-create is not in the manifests: what it does not match is not checked (request.operation == 'CREATE')",
        ),
        (
            json!({"op": "replace", "path": "matchConditions/0/expression", "value": "has(object.spec.rateLimiting)"}),
            "the matchCondition has-rate-limiting differs from that in the manifests",
        ),
        (json!({"op": "remove", "path": "matchConditions/0"}), "the matchCondition has-rate-limiting is missing"),
        (
            json!({"op": "replace", "path": "namespaceSelector/matchExpressions", "value": in_namespaces("In", &["default"])}),
            "namespaceSelector wants kubernetes.io/metadata.name In (default): objects in other namespaces are not checked",
        ),
        (
            json!({"op": "replace", "path": "namespaceSelector/matchExpressions", "value": in_namespaces("NotIn", &["kube-system", "prod"])}),
            "namespaceSelector excludes prod: objects there are not checked",
        ),
        (
            json!({"op": "add", "path": "namespaceSelector/matchLabels", "value": {"kubernetes.io/metadata.name": "default"}}),
            "namespaceSelector wants kubernetes.io/metadata.name=default",
        ),
        (json!({"op": "replace", "path": "rules/0/apiVersions", "value": ["v1beta1"]}), "the rules do not name v1alpha1"),
        (
            json!({"op": "replace", "path": "rules/0/operations", "value": ["CREATE", "UPDATE", "DELETE"]}),
            "the rules also cover the operation DELETE",
        ),
        (json!({"op": "replace", "path": "rules/0/resources", "value": ["mcpservers"]}), "CREATE of virtualmcpservers is not asked about"),
        (json!({"op": "replace", "path": "sideEffects", "value": "NoneOnDryRun"}), ""),
        (json!({"op": "remove", "path": "namespaceSelector"}), ""),
    ] {
        let mut patch = patch;
        patch["path"] = json!(format!("/webhooks/0/{}", patch["path"].as_str().expect("text")));
        ward.patch("mutatingwebhookconfiguration", &json!([patch]));
        let said = ward.said(&[]);
        let about: Vec<_> = said
            .notes()
            .filter(|note| note[1] == "settings" && note[2].starts_with("mutate."))
            .map(|note| note.map(str::to_owned))
            .collect();
        match says {
            "" => assert!(about.iter().all(|note| note[0] == "ok"), "{patch}: {about:?}"),
            says => {
                assert!(
                    said.code == Some(1)
                        && said.has("problem", "settings", &format!("mutate.tollgate.dev: {says}"), "manifests/base/webhooks.yaml"),
                    "{patch}: {said:?}"
                );
                assert!(about.iter().all(|note| note[0] == "problem"), "{patch}: {about:?}");
            }
        }
        ward.cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "tollgate"]).expect_ok();
        ward.apply_manifests();
    }
    // A hook that is called at the other's path answers, and wrongly.
    ward.patch(
        "mutatingwebhookconfiguration",
        &json!([{"op": "replace", "path": "/webhooks/0/clientConfig/service/path", "value": "/validate"}]),
    );
    let said = ward.said(&[]);
    assert!(said.has("problem", "settings", "it is called at \"/validate\", and tollgate answers at /mutate", "path"), "{said:?}");
}

#[test]
fn an_unreachable_api_server_gets_no_advice_about_rights() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |server: &str, user: Value| {
        let mut config = kubeconfig("test", server);
        config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true);
        config["users"][0]["user"] = user;
        let path = folder.path().join("config.yaml");
        fs::write(&path, config.to_string()).expect("written");
        path
    };
    let doctor = |config: PathBuf| {
        let output = command(&folder).args(["doctor", "--output", "json"]).env("KUBECONFIG", config).output().expect("the binary starts");
        Said::of(&output)
    };
    let closed = free_port();
    for (said, says, todo) in [
        (doctor(config(&format!("https://127.0.0.1:{closed}"), json!({}))), "Connection refused", "address in the kubeconfig"),
        (doctor(config(&format!("https://{}", MAIN.address), json!({"token": "expired"}))), "Unauthorized", "log in again"),
    ] {
        assert_eq!(said.code, Some(2), "{said:?}");
        assert_eq!(said.notes().count(), 1, "one cause is told once: {said:?}");
        assert!(said.has("unknown", "cluster", says, todo), "{said:?}");
    }
}

/// Days differ from run to run.
fn without_dates(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let is_date = word.len() >= 10
            && word.bytes().take(10).enumerate().all(|(at, byte)| if [4, 7].contains(&at) { byte == b'-' } else { byte.is_ascii_digit() });
        // A line's last word hangs together with the next line's first.
        if is_date { word.get(10..).map_or_else(String::new, |rest| format!("DATE{rest}")) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Puts such a certificate into the Secret and behind the Service, and leaves the caBundle as it is.
fn with_other_certificate(ward: &Ward) -> Serve {
    let key = KeyPair::generate().expect("a key");
    let authority = CertificateParams::new(Vec::new()).expect("no names");
    let mut authority = authority;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(vec!["elsewhere.example.com".to_owned()]).expect("a name");
    leaf.not_after = OffsetDateTime::now_utc() + Duration::hours(20);
    let leaf_key = KeyPair::generate().expect("a key");
    let pem = leaf.signed_by(&leaf_key, &issuer).expect("signed").pem();
    let folder = tempfile::tempdir().expect("a folder").keep();
    let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    fs::write(&cert, pem).expect("written");
    fs::write(&key, leaf_key.serialize_pem()).expect("written");
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let secret = ["create", "secret", "tls", "tollgate-tls", "-n", "tollgate-system", "--dry-run=client", "-o", "yaml"];
    let made = ward.cluster.kubectl(&[&secret[..], &["--cert", &cert, "--key", &key]].concat()).expect_ok();
    ward.cluster.kubectl_with(&["apply", "-f", "-"], &made.stdout).expect_ok();
    let serve = Serve::start_listening(&format!("{}:0", own_address()), &["--tls-cert", &cert, "--tls-key", &key]);
    ward.point_at(serve.address.port(), true);
    fs::remove_dir_all(folder).expect("read already");
    serve
}

#[test]
fn what_may_not_be_read_is_told_and_is_exit_code_2() {
    let ward = Ward::new();
    ward.is_well("everything as installed");
    // As the webhook's own ServiceAccount, which may read next to nothing.
    let said = ward.said(&["--kubeconfig", &ward.cluster.tollgate_kubeconfig.display().to_string()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.has("unknown", "installed", "whether validate.tollgate.dev is", "grant list on validatingwebhookconfigurations"),
        "{said:?}"
    );
    assert!(said.has("ok", "crds", "keep every field", ""), "every authenticated client may read the schemas: {said:?}");
    assert!(said.notes().all(|note| note[0] != "problem"), "{said:?}");

    // A namespace that the webhooks leave out: the probe passes there, which is told.
    let said = ward.said(&["--namespace", "kube-system"]);
    assert!(said.code == Some(1) && said.has("problem", "reachable", "a faulty create in kube-system passes", "--namespace"), "{said:?}");
    let said = ward.said(&["--namespace", "nowhere"]);
    assert!(said.code == Some(2) && said.has("unknown", "reachable", "nowhere", "name a namespace that is there"), "{said:?}");
    let nothing = ward.cluster.kubectl(&["get", "mcpservers", "-A", "-o", "name"]).expect_ok();
    assert_eq!(nothing.stdout, "", "a doctor leaves nothing behind");
}

#[test]
fn a_webhook_at_a_url_is_dialled() {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::Yes, Names::Both));
    let namespace = cluster.namespace("url");
    let webhook = cluster.webhook(&namespace, &[]);
    let doctor = |args: &[&str]| {
        let mut command = Command::new(TOLLGATE);
        command.args(["doctor", "--output", "json"]).args(args).env("KUBECONFIG", cluster.kubeconfig());
        Said::of(&command.output().expect("the binary starts"))
    };
    let said = doctor(&["--namespace", &namespace]);
    let shown = format!("the one at {} is good for 127.0.0.1", webhook.serve.address);
    assert!(said.has("ok", "certificate", &shown, ""), "{said:?}");
    assert!(said.has("ok", "reachable", "mutate.tollgate.dev turns shared into global", ""), "{said:?}");
    // As the harness registers it, for machines that are busy.
    assert!(said.has("problem", "settings", "timeoutSeconds is 20", "2 or 3"), "{said:?}");
    // The server is gone, the registration is not.
    webhook.serve.signal("KILL");
    wait_until("nobody answers", || {
        let said = doctor(&["--namespace", &namespace]);
        said.has("unknown", "certificate", &webhook.serve.address.to_string(), "where the API server runs")
            && said.has("problem", "reachable", "the API server cannot call validate.tollgate.dev", "")
    });
}

#[test]
fn without_a_cluster_there_is_nothing_to_tell() {
    let output = Command::new(TOLLGATE).args(["doctor", "--kubeconfig", "/nonexistent"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot use /nonexistent: "), "{output:?}");
}
