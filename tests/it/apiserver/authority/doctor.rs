//! The overlay as it is shipped, a server called through its Service, and what the doctor finds when something is broken.

use std::process::Command;

use serde_json::{Value, json};

use super::rig::KINDS;
use crate::{
    apiserver::doctor::Said,
    support::{
        apiserver::{Cluster, Judging, Names, crds},
        port::own_address,
        serve::{Serve, TOLLGATE, wait_until},
    },
};

struct Ward {
    cluster: Cluster,
    serve: Option<Serve>,
}

impl Ward {
    fn new() -> Self {
        let cluster = Cluster::start();
        cluster.install(crds(Judging::Yes, Names::Both));
        let mut ward = Self { cluster, serve: None };
        ward.apply();
        ward.serve();
        ward
    }

    fn apply(&self) {
        let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/overlays/self-managed");
        self.cluster.kubectl(&["apply", "-k", overlay]).expect_ok();
    }

    fn serve(&mut self) {
        let kubeconfig = self.cluster.tollgate_kubeconfig.display().to_string();
        // Not on loopback, where no EndpointSlice may point.
        let listen = format!("{}:0", own_address());
        let serve = Serve::start_listening(&listen, &["--kubeconfig", &kubeconfig, "--certs-secret", "tollgate-system/tollgate-certs"]);
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "tollgate-test", "namespace": "tollgate-system", "labels": {"kubernetes.io/service-name": "tollgate"}},
            "endpoints": [{"addresses": [own_address().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": serve.address.port(), "protocol": "TCP"}],
        });
        self.cluster.apply(&slice).expect_ok();
        self.serve = Some(serve);
    }

    fn said(&self) -> Said {
        let mut command = Command::new(TOLLGATE);
        command.args(["doctor", "--output", "json"]).env("KUBECONFIG", self.cluster.kubeconfig());
        Said::of(&command.output().expect("the binary starts"))
    }

    #[track_caller]
    fn finds(&self, state: &str, check: &str, words: &str, todo: &str) {
        let mut last = None;
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(words, || {
                let said = self.said();
                let is_found = said.has(state, check, words, todo);
                last = Some(said);
                is_found
            });
        }));
        assert!(met.is_ok(), "{words}: {:#}", last.expect("asked").report);
    }

    #[track_caller]
    fn is_well(&self) {
        let mut last = None;
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("all is well", || {
                let said = self.said();
                let is_well = said.code == Some(0);
                last = Some(said);
                is_well
            });
        }));
        assert!(met.is_ok(), "{:#}", last.expect("asked").report);
    }

    fn write_bundle(&self, patch: &Value) {
        for kind in KINDS {
            self.cluster.kubectl(&["patch", kind, "tollgate", "--type=json", "-p", &json!([patch]).to_string()]).expect_ok();
        }
    }
}

#[test]
fn what_an_authority_lacks_is_told_and_what_to_do() {
    let mut ward = Ward::new();
    ward.is_well();
    ward.finds(
        "ok",
        "ca-bundle",
        "caBundle of validate.tollgate.dev holds the CA in Secret tollgate-system/tollgate-certs, which signs",
        "",
    );
    let bundle =
        |ward: &Ward| ward.cluster.kubectl(&["get", KINDS[0], "tollgate", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}"]).stdout;

    // Someone takes the CA away, or puts another in its place: the replicas bring it back.
    let path = "/webhooks/0/clientConfig/caBundle";
    let good = bundle(&ward);
    ward.write_bundle(&json!({"op": "remove", "path": path}));
    wait_until("it is back", || bundle(&ward) == good);
    ward.is_well();
    // Unless there are none.
    ward.serve = None;
    ward.write_bundle(&json!({"op": "remove", "path": path}));
    ward.finds("problem", "ca-bundle", "caBundle of mutate.tollgate.dev is empty: the pods have not written it", "/readyz");
    let other = crate::support::ca::Ca::root("other").pem;
    let other = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other);
    ward.write_bundle(&json!({"op": "add", "path": path, "value": other}));
    ward.finds("problem", "ca-bundle", "does not hold the CA in Secret tollgate-system/tollgate-certs", "/readyz");
    ward.serve();
    ward.is_well();

    ward.cluster.kubectl(&["delete", "clusterrole", "tollgate-certs"]).expect_ok();
    let account = "system:serviceaccount:tollgate-system:tollgate may not";
    let words = format!("{account} get, list, watch, patch ValidatingWebhookConfiguration tollgate");
    ward.finds("problem", "certificate", &words, "rbac.yaml");
    ward.cluster.kubectl(&["delete", "role", "tollgate-certs", "-n", "tollgate-system"]).expect_ok();
    ward.finds("problem", "certificate", &format!("{account} get, list, watch, update Secret tollgate-system/tollgate-certs"), "rbac.yaml");
    ward.apply();
    ward.is_well();

    ward.cluster.kubectl(&["delete", "secret", "tollgate-certs", "-n", "tollgate-system"]).expect_ok();
    ward.finds(
        "problem",
        "certificate",
        "Secret tollgate-system/tollgate-certs, in which the pods keep their CA, is not there",
        "create it, empty",
    );
    ward.serve = None;
    ward.apply();
    ward.finds("problem", "certificate", "holds no CA that can be used", "/readyz");
    ward.serve();
    ward.is_well();
}
