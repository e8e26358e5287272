//! A real cert-manager on a test's API server: what `tests/neighbours/cert-manager` runs of it, with the definitions that it publishes.

use serde_json::{Value, json};

use super::{
    apiserver::{Cluster, Said},
    find::installed,
    leash::Leashed,
    process::wait_until,
};

/// Of its kinds, those that are at work where no ACME is.
const KINDS: [&str; 4] = ["certificates", "certificaterequests", "issuers", "clusterissuers"];
const SYSTEM: [&str; 2] = ["-n", "tollgate-system"];

/// Installs its definitions, and waits until they are served.
pub fn define(cluster: &Cluster) {
    for kind in KINDS {
        let file = installed("cert-manager", "CERT_MANAGER_VERSION", &format!("crds/cert-manager.io_{kind}.yaml"));
        cluster.kubectl(&["create", "-f", &file.display().to_string()]).expect_ok();
        cluster.wait_established(&format!("{kind}.cert-manager.io"));
    }
    wait_until("cert-manager's kinds are served", || KINDS.iter().all(|kind| cluster.kubectl(&["get", kind, "-A"]).ok));
}

/// Running; ended when dropped.
#[derive(Debug)]
pub struct CertManager<'a> {
    cluster: &'a Cluster,
    leash: Leashed,
}

impl<'a> CertManager<'a> {
    pub fn start(cluster: &'a Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let program = installed("cert-manager", "CERT_MANAGER_VERSION", "cert-manager");
        let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
        Self { cluster, leash: Leashed::start(&folder, &program, &[kubeconfig]) }
    }

    /// Asks for a new certificate before its time, as `cmctl renew` does, and waits until its Secret has it.
    pub fn renew(&self, certificate: &str) {
        let before = self.secret(certificate);
        let renew = || {
            let said = self.cluster.kubectl(&[&["get", "certificate", certificate, "-o", "json"][..], &SYSTEM].concat()).expect_ok();
            let mut object: Value = serde_json::from_str(&said.stdout).expect("JSON");
            let generation = object["metadata"]["generation"].clone();
            let conditions = object["status"]["conditions"].as_array_mut().expect("it was issued");
            conditions.retain(|condition| condition["type"] != "Issuing");
            conditions.push(json!({
                "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "asked for by a test",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation,
            }));
            self.cluster.kubectl_with(&["replace", "--subresource=status", "-f", "-"], &object.to_string()).ok
        };
        wait_until("a status that no controller changes at the same time", renew);
        self.wait_until(&format!("a new certificate in the Secret {certificate}"), || {
            self.secret(certificate)["tls.crt"] != before["tls.crt"]
        });
    }

    /// The data of a Secret; null while it is not there.
    pub fn secret(&self, name: &str) -> Value {
        let Said { stdout, .. } =
            self.cluster.kubectl(&[&["get", "secret", name, "-o", "json", "--ignore-not-found"][..], &SYSTEM].concat()).expect_ok();
        serde_json::from_str::<Value>(&stdout).map(|secret| secret["data"].clone()).unwrap_or_default()
    }

    /// Waits for something that it does.
    pub fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_until(what, holds)));
        assert!(waited.is_ok(), "waited in vain for {what}: {}", self.leash.log_tail());
    }
}
