//! Replicas of one webhook, an empty Secret, both configurations without a `caBundle`, and creates that all have to be answered.

use std::{collections::BTreeSet, path::Path, process::Command, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    apiserver::{Cluster, Judging, Names, crds},
    balancer::Balancer,
    find::neighbour,
    https::get,
    load::server,
    serve::{Serve, wait_until},
};

/// A cluster of these tests' own.
pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    cluster.kubectl(&["create", "namespace", "tollgate-system"]).expect_ok();
    cluster
});

pub const KINDS: [&str; 2] = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];

/// One installation.
pub struct Rig {
    /// Of the namespace whose servers are checked, and of both configurations. The Secret has it, too, in `tollgate-system`.
    pub name: String,
    pub front: Balancer,
    pub replicas: Vec<Serve>,
    flags: Vec<String>,
}

/// What `manifests/overlays/self-managed` renders.
pub fn shipped() -> Vec<Value> {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/overlays/self-managed");
    let output = Command::new(neighbour("kubectl")).arg("kustomize").arg(overlay).output().expect("kubectl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8_lossy(&output.stdout)).expect("YAML")
}

impl Rig {
    /// Installs what is shipped under a name of its own. No replica runs yet.
    pub fn new(about: &str, flags: &[&str]) -> Self {
        let name = CLUSTER.namespace(about);
        let rig =
            Self { name, front: Balancer::start(), replicas: Vec::new(), flags: flags.iter().map(|flag| (*flag).to_owned()).collect() };
        rig.install();
        rig
    }

    fn install(&self) {
        for mut object in shipped() {
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            if kind.ends_with("WebhookConfiguration") {
                object["metadata"]["name"] = json!(self.name);
                let hook = &mut object["webhooks"][0];
                let path = hook["clientConfig"]["service"]["path"].as_str().expect("a path").to_owned();
                hook["clientConfig"] = json!({"url": format!("https://{}{path}", self.front.address)});
                let only_here = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [self.name]});
                hook["namespaceSelector"]["matchExpressions"].as_array_mut().expect("some").push(only_here);
                // The machine of a test may be busy. And every call counts here, not only those of the validating webhook.
                hook["timeoutSeconds"] = json!(20);
                hook["failurePolicy"] = json!("Fail");
            } else if object["metadata"]["name"] == "tollgate-certs" {
                object["metadata"]["name"] = json!(self.name);
                if let Some(rule) = object.pointer_mut("/rules/0") {
                    rule["resourceNames"] = json!([self.name]);
                }
                if let Some(role) = object.get_mut("roleRef") {
                    role["name"] = json!(self.name);
                }
            } else if !["ClusterRole", "ClusterRoleBinding", "ServiceAccount"].contains(&kind.as_str()) {
                continue;
            }
            CLUSTER.apply(&object).expect_ok();
        }
    }

    /// Starts a replica, which may do what the ServiceAccount may.
    pub fn start(&mut self) {
        let (kubeconfig, secret) = (CLUSTER.tollgate_kubeconfig.display().to_string(), format!("tollgate-system/{}", self.name));
        let own = ["--kubeconfig", &kubeconfig, "--certs-secret", &secret, "--certs-configurations", &self.name, "--drain", "1s"];
        let flags: Vec<_> = own.into_iter().chain(self.flags.iter().map(String::as_str)).collect();
        let serve = Serve::start(&flags);
        self.front.add(serve.address, serve.metrics);
        self.replicas.push(serve);
    }

    /// Starts replicas, and waits until all are ready.
    pub fn started(about: &str, replicas: usize, flags: &[&str]) -> Self {
        let mut rig = Self::new(about, flags);
        (0..replicas).for_each(|_| rig.start());
        rig.wait_ready();
        rig
    }

    pub fn wait_ready(&self) {
        wait_until("all replicas are ready", || self.front.ready() == self.replicas.len());
        // The API server has read the configurations, too.
        wait_until("the webhooks are called", || self.create("probe", true).stderr.contains("TG003"));
    }

    /// Ends a replica at once.
    pub fn kill(&mut self, which: usize) {
        let serve = self.replicas.remove(which);
        serve.signal("KILL");
        self.front.remove(serve.address);
    }

    /// A dry-run create by kubectl.
    pub fn create(&self, name: &str, is_faulty: bool) -> crate::support::apiserver::Said {
        CLUSTER.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &server(&self.name, name, is_faulty).to_string())
    }

    pub fn secret(&self) -> Value {
        let said = CLUSTER.kubectl(&["get", "secret", &self.name, "-n", "tollgate-system", "-o", "json"]).expect_ok();
        serde_json::from_str(&said.stdout).expect("JSON")
    }

    /// A key of the Secret.
    pub fn kept(&self, key: &str) -> String {
        let encoded = self.secret()["data"][key].as_str().unwrap_or_default().to_owned();
        String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text")
    }

    /// Merges into the Secret, as an administrator.
    pub fn patch_secret(&self, patch: &Value) {
        CLUSTER.kubectl(&["patch", "secret", &self.name, "-n", "tollgate-system", "--type=merge", "-p", &patch.to_string()]).expect_ok();
    }

    /// The `caBundle` of a configuration, PEM.
    pub fn bundle(&self, kind: &str) -> String {
        let said = CLUSTER.kubectl(&["get", kind, &self.name, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}"]).expect_ok();
        String::from_utf8(STANDARD.decode(said.stdout).expect("base64")).expect("text")
    }

    pub fn readyz(&self, which: usize) -> String {
        asked(self.replicas[which].metrics, "/readyz")
    }

    pub fn metrics(&self, which: usize) -> String {
        asked(self.replicas[which].metrics, "/metrics")
    }
}

fn asked(address: std::net::SocketAddr, path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(get(address, path)).text()
}

/// The CAs that were seen to sign.
pub fn signers(seen: &mut BTreeSet<String>, rig: &Rig) -> usize {
    seen.insert(rig.kept("tls.crt"));
    seen.len()
}
