//! Around the rename: installed CRDs, modes, other webhooks, and a webhook that is removed and installed again.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::places::{Place, bucket};
use crate::support::{
    apiserver::{Cluster, Judging, MAIN, Names, crds, names},
    ca::Ca,
    serve::{Serve, wait_until},
};

fn level(cluster: &Cluster, place: Place, manifest: &Value) -> (Option<Value>, Option<Value>) {
    let object = cluster.get(manifest);
    let level = object.pointer(place.level()).cloned().unwrap_or_default();
    (level.get("global").cloned(), level.get("shared").cloned())
}

#[test]
fn definitions_without_global_are_respected_and_their_upgrade_is_noticed() {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::SharedOnly));
    apply_rbac(&cluster);
    let namespace = cluster.namespace("upgrade");
    let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
    let webhook = cluster.webhook(&namespace, &["--kubeconfig", &kubeconfig, "--schema-poll", "200ms"]);
    for place in Place::ALL {
        let manifest = place.with(&namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let said = cluster.apply(&manifest).expect_ok();
        assert!(said.stderr.contains("the installed CRD lacks global"), "{place:?}: {}", said.stderr);
        assert_eq!(level(&cluster, place, &manifest), (None, Some(bucket(100))), "{place:?}");
    }
    // The definitions learn the name while the webhook runs: the next write moves over.
    cluster.install(crds(Judging::Yes, Names::Both));
    let manifest = Place::Server.with(&namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
    wait_until("the upgrade is noticed", || {
        // kubectl sends nothing for an object that is as its manifest says: ask about a new one.
        let probe = renamed(&manifest, "probe").to_string();
        cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe).stderr.contains("renamed to global")
    });
    for place in Place::ALL {
        let manifest = place.with(&namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let (kind, name, _) = names(&manifest);
        cluster.kubectl(&["label", &kind, &name, "-n", &namespace, "touched=yes"]).expect_ok();
        assert_eq!(level(&cluster, place, &manifest), (Some(bucket(100)), None), "{place:?}");
        cluster.apply(&place.with(&namespace, &json!({"perUser": bucket(5)}))).expect_ok();
        assert_eq!(level(&cluster, place, &manifest), (None, None), "{place:?}");
    }
    // And what they refer to is looked up, with the permissions that the manifests give.
    let missing = Place::Server.with(&namespace, &json!({"global": bucket(100)}));
    wait_until("a missing MCPOIDCConfig is warned of, once its kind is there", || {
        install_oidc_configs(&cluster);
        cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &renamed(&missing, "other").to_string()).stderr.contains("TG106")
    });
    drop(webhook);
}

/// A cluster whose API server shows a certificate to webhooks, and the file of the CA behind it.
fn cluster_with_a_certificate(folder: &Path) -> (Cluster, String) {
    let ca = Ca::root("webhook clients");
    let (cert, key) = ca.client_pair("kube-apiserver", &[]);
    let at = |name: &str| folder.join(name).display().to_string();
    let user = json!({"client-certificate-data": STANDARD.encode(cert), "client-key-data": STANDARD.encode(key)});
    let users = json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]});
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": at("users.yaml"),
    });
    let plugins = ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook"];
    let plugins = plugins.map(|name| json!({"name": name, "configuration": configuration}));
    let admission = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins});
    for (name, text) in [("users.yaml", users.to_string()), ("admission.yaml", admission.to_string()), ("ca.crt", ca.pem)] {
        fs::write(at(name), text).expect("written");
    }
    let cluster = Cluster::start_with(&[&format!("--admission-control-config-file={}", at("admission.yaml"))]);
    cluster.install(crds(Judging::No, Names::Both));
    (cluster, at("ca.crt"))
}

/// Grants the webhook what the component grants for Secrets, or only some of its verbs.
fn grant_secrets(cluster: &Cluster, namespace: &str, verbs: &[&str]) {
    let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/secret-lookup/rbac.yaml");
    let mut role: Value = serde_saphyr::from_str(&fs::read_to_string(role).expect("shipped")).expect("YAML");
    assert_eq!(role["rules"][0]["verbs"], json!(["list", "watch"]));
    role["rules"][0]["verbs"] = json!(verbs);
    cluster.kubectl_with(&["apply", "-f", "-"], &role.to_string()).expect_ok();
    let subject = "--serviceaccount=tollgate-system:tollgate";
    cluster.kubectl(&["create", "rolebinding", "lookup", "-n", namespace, "--clusterrole=tollgate-secret-lookup", subject]);
}

fn with_password(namespace: &str) -> Value {
    let mut manifest = Place::Server.with(namespace, &json!({"global": bucket(10)}));
    manifest["spec"]["sessionStorage"]["passwordRef"] = json!({"name": "redis-password", "key": "password"});
    manifest
}

#[test]
fn secrets_are_looked_up_where_that_is_granted_and_only_the_api_server_can_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, ca) = cluster_with_a_certificate(folder.path());
    apply_rbac(&cluster);
    let namespace = cluster.namespace("secrets");
    grant_secrets(&cluster, &namespace, &["list"]);
    let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
    let args = ["--kubeconfig", &kubeconfig, "--secrets-in", &namespace, "--client-ca", &ca, "--client-name", "kube-apiserver"];
    let webhook = cluster.webhook(&namespace, &args);
    let manifest = with_password(&namespace);
    let ask = || cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &manifest.to_string()).expect_ok().stderr;
    // A list that cannot be watched would soon be an old one.
    webhook.serve.wait_for_log("cannot watch what limits refer to: TG106 does not report it until that works");
    assert!(!ask().contains("TG106"), "{}", ask());
    grant_secrets(&cluster, &namespace, &["list", "watch"]);
    wait_until("the missing Secret is warned of", || ask().contains("TG106 spec.sessionStorage.passwordRef.name"));
    // The MCPOIDCConfig cannot be told about: its kind is not installed here.
    assert!(!ask().contains("oidcConfigRef"), "{}", ask());
    cluster.kubectl(&["create", "secret", "generic", "redis-password", "-n", &namespace, "--from-literal=password=x"]).expect_ok();
    wait_until("the Secret is seen", || !ask().contains("TG106"));
    drop(webhook);

    // Where anyone may send reviews, no one learns which Secrets there are.
    cluster.kubectl(&["delete", "secret", "redis-password", "-n", &namespace]).expect_ok();
    install_oidc_configs(&cluster);
    let webhook = cluster.webhook(&namespace, &["--kubeconfig", &kubeconfig, "--secrets-in", &namespace]);
    webhook.serve.wait_for_log("--secrets-in is ignored without --client-ca");
    // By now Secrets would have been listed as well.
    wait_until("the missing MCPOIDCConfig is warned of", || ask().contains("TG106 spec.oidcConfigRef.name"));
    assert!(!ask().contains("passwordRef"), "{}", ask());
    drop(webhook);
}

fn renamed(manifest: &Value, name: &str) -> Value {
    let mut manifest = manifest.clone();
    manifest["metadata"]["name"] = json!(name);
    manifest
}

/// What `manifests/base` gives to the server.
pub(super) fn apply_rbac(cluster: &Cluster) {
    for file in ["namespace.yaml", "serviceaccount.yaml", "rbac.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base").join(file);
        cluster.kubectl_with(&["apply", "-f", "-"], &fs::read_to_string(path).expect("shipped")).expect_ok();
    }
}

/// ToolHive's definition, as far as a lookup by name needs it.
pub fn install_oidc_configs(cluster: &Cluster) {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for (kind, plural) in [("MCPOIDCConfig", "mcpoidcconfigs"), ("MCPExternalAuthConfig", "mcpexternalauthconfigs")] {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.toolhive.stacklok.dev")},
            "spec": {
                "group": "toolhive.stacklok.dev", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": anything}}],
            },
        });
        cluster.kubectl_with(&["apply", "-f", "-"], &definition.to_string()).expect_ok();
    }
}

#[test]
fn two_installations_agree() {
    let namespace = MAIN.namespace("again");
    let webhook = MAIN.webhook(&namespace, &[]);
    // As while one replaces the other: the second one looks at what the first one has done, and each again at what the other did.
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": format!("zz-{namespace}")},
        "webhooks": [{
            "name": "second.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 20, "reinvocationPolicy": "IfNeeded",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": ["toolhive.stacklok.dev"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}],
            "clientConfig": Value::Null,
        }],
    });
    let second = Serve::start(&[]);
    let mut policy = policy;
    policy["webhooks"][0]["clientConfig"] = json!({"url": format!("https://{}/mutate", second.address), "caBundle": second.ca_bundle()});
    MAIN.kubectl_with(&["create", "-f", "-"], &policy.to_string()).expect_ok();
    for place in Place::ALL {
        let manifest = place.with(&namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        MAIN.apply(&manifest).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest), (Some(bucket(100)), None), "{place:?}");
        MAIN.apply(&manifest).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest), (Some(bucket(100)), None), "{place:?}");
    }
    MAIN.kubectl(&["delete", "mutatingwebhookconfiguration", &format!("zz-{namespace}")]).expect_ok();
    drop(webhook);
}

#[test]
fn a_webhook_that_was_away_catches_up() {
    let namespace = MAIN.namespace("away");
    let place_and_limit = |place: Place, tokens| place.with(&namespace, &json!({"shared": bucket(tokens), "perUser": bucket(5)}));
    // Stored before there was a webhook, by both kinds of apply.
    for place in Place::ALL {
        MAIN.apply(&place_and_limit(place, 100)).expect_ok();
        assert_eq!(level(&MAIN, place, &place_and_limit(place, 100)), (None, Some(bucket(100))), "{place:?}");
    }
    let webhook = MAIN.webhook(&namespace, &[]);
    for place in Place::ALL {
        let manifest = place_and_limit(place, 100);
        let (kind, name, _) = names(&manifest);
        MAIN.kubectl(&["annotate", &kind, &name, "-n", &namespace, "touched=yes"]).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest), (Some(bucket(100)), None), "{place:?}: any write moves it over");
        MAIN.apply(&place_and_limit(place, 200)).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest), (Some(bucket(200)), None), "{place:?}");
    }
    // Gone again: `shared` beside `global`, as any field that nobody corrects.
    drop(webhook);
    for place in Place::ALL {
        let manifest = place_and_limit(place, 300);
        wait_until("the webhook is not called any more", || MAIN.apply(&manifest).ok);
        let (_, shared) = level(&MAIN, place, &manifest);
        assert_eq!(shared, Some(bucket(300)), "{place:?}");
    }
    let webhook = MAIN.webhook(&namespace, &[]);
    for place in Place::ALL {
        let manifest = place_and_limit(place, 400);
        MAIN.apply(&manifest).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest), (Some(bucket(400)), None), "{place:?}");
    }
    drop(webhook);
}

#[test]
fn the_other_modes_and_the_annotation() {
    let namespace = MAIN.namespace("mirror");
    let webhook = MAIN.webhook(&namespace, &["--shared-alias", "mirror"]);
    for place in Place::ALL {
        let manifest = |tokens| place.with(&namespace, &json!({"shared": bucket(tokens), "perUser": bucket(5)}));
        for tokens in [100, 200] {
            MAIN.apply(&manifest(tokens)).expect_ok();
            assert_eq!(level(&MAIN, place, &manifest(tokens)), (Some(bucket(tokens)), Some(bucket(tokens))), "{place:?}");
        }
        MAIN.apply(&place.with(&namespace, &json!({"perUser": bucket(5)}))).expect_ok();
        assert_eq!(level(&MAIN, place, &manifest(200)), (None, None), "{place:?}: dropped from the manifest, dropped for good");
    }
    drop(webhook);

    let namespace = MAIN.namespace("warn");
    let webhook = MAIN.webhook(&namespace, &["--shared-alias", "warn"]);
    let manifest = Place::Server.with(&namespace, &json!({"shared": bucket(100)}));
    let said = MAIN.apply(&manifest).expect_ok();
    assert!(said.stderr.contains("--shared-alias is warn"), "{}", said.stderr);
    assert_eq!(level(&MAIN, Place::Server, &manifest), (None, Some(bucket(100))));
    drop(webhook);

    let namespace = MAIN.namespace("deny");
    let webhook = MAIN.webhook(&namespace, &["--shared-alias", "deny"]);
    MAIN.apply(&Place::Server.with(&namespace, &json!({"shared": bucket(100)}))).expect_refused(&["TG101", "write global"]);
    MAIN.apply(&Place::Server.with(&namespace, &json!({"global": bucket(100)}))).expect_ok();
    drop(webhook);

    let namespace = MAIN.namespace("keep");
    let webhook = MAIN.webhook(&namespace, &[]);
    let mut manifest = Place::Server.with(&namespace, &json!({"shared": bucket(100)}));
    manifest["metadata"]["annotations"] = json!({"tollgate.dev/shared-alias": "keep"});
    let said = MAIN.apply(&manifest).expect_ok();
    assert!(said.stderr.contains("tollgate.dev/shared-alias is keep"), "{}", said.stderr);
    assert_eq!(level(&MAIN, Place::Server, &manifest), (None, Some(bucket(100))));
    drop(webhook);
}
