//! The rights that are shipped: they suffice (every test here runs with them), and they are no more than that.

use std::collections::BTreeSet;

use serde_json::json;

use super::rig::{CLUSTER, Rig};
use crate::support::serve::wait_until;

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// The verbs that the ServiceAccount has on a resource, or on one object of it.
fn verbs(group: &str, resource: &str, name: &str, namespace: &str) -> BTreeSet<&'static str> {
    let asked = VERBS.map(|verb| {
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:tollgate-system:tollgate", "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace},
            },
        })
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": asked});
    let said = CLUSTER.kubectl_with(&["create", "-o", "jsonpath={.status.allowed} ", "-f", "-"], &list.to_string()).expect_ok();
    let allowed: Vec<_> = said.stdout.split_whitespace().map(|allowed| allowed == "true").collect();
    assert_eq!(allowed.len(), VERBS.len(), "{said:?}");
    VERBS.into_iter().zip(allowed).filter_map(|(verb, allowed)| allowed.then_some(verb)).collect()
}

const HOOKS: &str = "admissionregistration.k8s.io";

#[test]
fn they_are_for_two_configurations_and_one_secret() {
    let rig = Rig::new("rights", &[]);
    let own = || verbs("", "secrets", &rig.name, "tollgate-system");
    wait_until("the rights are in force", || !own().is_empty());
    assert_eq!(own(), BTreeSet::from(["get", "list", "update", "watch"]));
    for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        assert_eq!(verbs(HOOKS, kind, &rig.name, ""), BTreeSet::from(["get", "list", "patch", "watch"]), "{kind}");
        assert_eq!(verbs(HOOKS, kind, "others", ""), BTreeSet::new(), "{kind}");
        assert_eq!(verbs(HOOKS, kind, "", ""), BTreeSet::new(), "{kind}, whatever its name");
    }
    assert_eq!(verbs("", "secrets", "others", "tollgate-system"), BTreeSet::new());
    assert_eq!(verbs("", "secrets", "", "tollgate-system"), BTreeSet::new());
    assert_eq!(verbs("", "secrets", &rig.name, "default"), BTreeSet::new());

    // A configuration that was deleted cannot be brought back.
    let kubeconfig = CLUSTER.tollgate_kubeconfig.display().to_string();
    CLUSTER.kubectl(&["delete", "validatingwebhookconfiguration", &rig.name]).expect_ok();
    let object = format!(
        r#"{{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {{"name": "{}"}}}}"#,
        rig.name
    );
    let apply = ["apply", "--server-side", "--field-manager=tollgate", "-f", "-", "--kubeconfig", &kubeconfig];
    CLUSTER.kubectl_with(&apply, &object).expect_refused(&["cannot create resource \"validatingwebhookconfigurations\""]);
}
