//! A real Prometheus: it scrapes what a test says, every second, and answers queries.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde_json::{Value, json};

use super::{find::neighbour, https::get, leash::Leashed, port::free_port, time::eventually};

/// `honored` keeps the labels of what it scrapes, as docs/alerts.md asks for; `pods` does not, as monitors do by default.
const CONFIG: &str = "\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yaml]
scrape_configs:
  - {job_name: pods, file_sd_configs: [{files: [pods.json], refresh_interval: 1s}]}
  - {job_name: honored, honor_labels: true, file_sd_configs: [{files: [honored.json], refresh_interval: 1s}]}
";

/// A running Prometheus; ended when dropped.
pub struct Prometheus {
    address: SocketAddr,
    folder: PathBuf,
    pods: Mutex<Vec<Value>>,
    honored: Mutex<Vec<Value>>,
    _process: Leashed,
}

impl Prometheus {
    /// Starts with the rules of a file's text, and nothing to scrape.
    pub async fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        for (file, text) in [("prometheus.yaml", CONFIG), ("alerts.yaml", rules), ("pods.json", "[]"), ("honored.json", "[]")] {
            fs::write(folder.join(file), text).expect("the folder is ours");
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let flag = |name: &str, path: &str| format!("--{name}={}", folder.join(path).display());
        let args = [flag("config.file", "prometheus.yaml"), flag("storage.tsdb.path", "data"), format!("--web.listen-address={address}")];
        let process = Leashed::start(&folder, &neighbour("prometheus"), &args);
        let prometheus = Self { address, folder, pods: Mutex::default(), honored: Mutex::default(), _process: process };
        eventually("Prometheus to be ready", async || {
            tokio::net::TcpStream::connect(address).await.is_ok() && get(address, "/-/ready").await.status == 200
        })
        .await;
        prometheus
    }

    /// Scrapes a pod too, under the labels that the operator's monitors give to a target.
    pub fn scrape(&self, namespace: &str, pod: &str, metrics: SocketAddr) {
        self.add("pods.json", &self.pods, namespace, pod, metrics);
    }

    /// The same, but what names an object keeps the object's namespace.
    pub fn scrape_honoring(&self, namespace: &str, pod: &str, metrics: SocketAddr) {
        self.add("honored.json", &self.honored, namespace, pod, metrics);
    }

    fn add(&self, file: &str, targets: &Mutex<Vec<Value>>, namespace: &str, pod: &str, metrics: SocketAddr) {
        let mut targets = targets.lock().expect("no panic while held");
        targets.push(json!({"targets": [metrics], "labels": {"namespace": namespace, "pod": pod}}));
        write(&self.folder, file, &json!(*targets));
    }

    /// The values that a query gives now, without those that are not numbers.
    pub async fn values(&self, query: &str) -> Vec<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(self.address, &format!("/api/v1/query?query={encoded}")).await;
        let said = answer.json();
        assert_eq!(said["status"], "success", "{query}: {said}");
        let values = said["data"]["result"].as_array().expect("a vector").iter();
        values.filter_map(|series| series["value"][1].as_str()?.parse().ok()).filter(|value: &f64| !value.is_nan()).collect()
    }

    /// The names of the alerts that fire.
    pub async fn firing(&self) -> BTreeSet<String> {
        let said = get(self.address, "/api/v1/alerts").await.json();
        let firing = said["data"]["alerts"].as_array().expect("a list").iter().filter(|alert| alert["state"] == "firing");
        firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect()
    }
}

/// In one step, since Prometheus reads whenever a file changes.
fn write(folder: &Path, file: &str, targets: &Value) {
    let new = folder.join(format!("{file}.new"));
    fs::write(&new, targets.to_string()).expect("the folder is ours");
    fs::rename(new, folder.join(file)).expect("the folder is ours");
}
