//! From an empty Secret to a refused apply, and what is said while something is missing.

use std::process::Output;

use serde_json::{Value, json};

use super::rig::{CLUSTER, KINDS, Rig};
use crate::support::serve::{command, wait_until};

const YES: &str = "[+] callers trust the certificate";

#[test]
fn an_empty_secret_becomes_a_ca_that_the_api_server_trusts() {
    let rig = Rig::started("install", 3, &[]);
    rig.create("faulty", true).expect_refused(&["The MCPServer \"faulty\" is invalid: spec.rateLimiting: TG003"]);
    rig.create("good", false).expect_ok();
    let ca = rig.kept("tls.crt");
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----\n") && rig.kept("tls.key").contains("PRIVATE KEY"));
    assert_eq!((rig.kept("ca.crt"), rig.kept("next.crt"), rig.kept("next.key")), (ca.clone(), String::new(), String::new()));
    for kind in KINDS {
        assert_eq!(rig.bundle(kind), ca, "{kind}");
        // It owns this field and no other.
        let said = CLUSTER.kubectl(&["get", kind, &rig.name, "-o", "json", "--show-managed-fields"]).expect_ok();
        let object: Value = serde_json::from_str(&said.stdout).expect("JSON");
        let managers = object["metadata"]["managedFields"].as_array().expect("some").clone();
        let ours = managers.iter().find(|entry| entry["manager"] == "tollgate").expect("it applied");
        assert_eq!(ours["operation"], "Apply");
        let hook = &ours["fieldsV1"]["f:webhooks"];
        let fields = hook.as_object().expect("one webhook").values().next().expect("one").as_object().expect("fields");
        let fields: Vec<_> = fields.keys().filter(|key| ![".", "f:name"].contains(&key.as_str())).collect();
        assert_eq!(fields, ["f:clientConfig"], "{ours}");
    }
    for which in 0..3 {
        assert!(rig.readyz(which).contains(YES), "{}", rig.readyz(which));
        let metrics = rig.metrics(which);
        assert!(metrics.contains("\ntollgate_cabundle_match 1\n") && metrics.contains("\ntollgate_ca_expiry_timestamp "), "{metrics}");
    }
}

#[test]
fn what_is_missing_is_named_until_it_is_there() {
    let mut rig = Rig::new("missing", &[]);
    let secret = format!("tollgate-system/{}", rig.name);
    CLUSTER.kubectl(&["delete", "secret", "-n", "tollgate-system", &rig.name]).expect_ok();
    rig.start();
    let says = |text: &str| wait_until(text, || rig.readyz(0).contains(text));
    says(&format!("[-] callers trust the certificate: no certificate issued yet; Secret {secret} is not there: create an empty one"));
    assert!(rig.metrics(0).contains("\ntollgate_cabundle_match 0\n"));
    CLUSTER.kubectl(&["create", "secret", "generic", "-n", "tollgate-system", &rig.name]).expect_ok();
    says(YES);

    // Rights that are taken away, or were forgotten.
    let role = CLUSTER.kubectl(&["get", "clusterrole", &rig.name, "-o", "json"]).expect_ok().stdout;
    CLUSTER.kubectl(&["delete", "clusterrole", &rig.name]).expect_ok();
    rig.kill(0);
    wait_until("the right is gone", || {
        let kubeconfig = CLUSTER.tollgate_kubeconfig.display().to_string();
        !CLUSTER.kubectl(&["get", KINDS[0], &rig.name, "--kubeconfig", &kubeconfig]).ok
    });
    rig.start();
    let says = |text: &str| wait_until(text, || rig.readyz(0).contains(text));
    says(&format!("cannot read ValidatingWebhookConfiguration {}: ", rig.name));
    CLUSTER.kubectl_with(&["create", "-f", "-"], &role).expect_ok();
    says(YES);

    // A configuration that is deleted calls no one, and hinders no one.
    CLUSTER.kubectl(&["delete", KINDS[1], &rig.name]).expect_ok();
    says(&format!("{YES}\n"));
    rig.replicas[0].wait_for_log("MutatingWebhookConfiguration");
    assert!(rig.readyz(0).contains(YES), "{}", rig.readyz(0));
}

fn certs(rig: &Rig, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(&folder);
    command.arg("certs").args(args).args([&format!("tollgate-system/{}", rig.name), "--certs-configurations", &rig.name]);
    command.arg("--kubeconfig").arg(CLUSTER.kubeconfig()).output().expect("the binary starts")
}

#[test]
fn show_and_rotate_work_on_the_secret() {
    let mut rig = Rig::new("show", &["--certs-soak", "1s"]);
    let shown = |rig: &Rig, args: &[&str]| {
        let output = certs(rig, &[&["show"], args].concat());
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = shown(&rig, &[]);
    assert!(code == Some(1) && text.contains("holds no CA that can be used"), "{text}");
    rig.start();
    rig.wait_ready();
    let (code, text) = shown(&rig, &[]);
    assert!(code == Some(0) && text.contains("Callers trust what the current CA signs.\n"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
    let roles = |rig: &Rig| {
        let report: Value = serde_json::from_str(&shown(rig, &["--output", "json"]).1).expect("JSON");
        let rows = report["authorities"].as_array().expect("a list").clone();
        rows.iter().map(|row| json!([row["role"], row["validating"], row["mutating"]])).collect::<Vec<_>>()
    };
    assert_eq!(roles(&rig), [json!(["current", "yes", "yes"])]);
    let before = rig.kept("tls.crt");
    let output = certs(&rig, &["rotate"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the next CA signs", || !["", &before].contains(&rig.kept("tls.crt").as_str()));
    wait_until("the old CA is still trusted", || roles(&rig) == [json!(["current", "yes", "yes"]), json!(["previous", "yes", "yes"])]);
    assert_eq!(rig.secret()["metadata"]["annotations"].get("tollgate.dev/rotate"), None, "it is done");
    rig.create("faulty", true).expect_refused(&["TG003"]);

    CLUSTER.kubectl(&["delete", "secret", "-n", "tollgate-system", &rig.name]).expect_ok();
    let output = certs(&rig, &["rotate"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read Secret"), "{output:?}");
}
