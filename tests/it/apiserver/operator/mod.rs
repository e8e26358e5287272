//! The limit that is stored is the limit that is enforced: a stand-in for ToolHive's operator renders what it decodes, `tollgate serve` is
//! called, kubectl creates, edits and drops, and after each step the rendered limits are those of the manifest.

mod audit;
mod doctor;
mod enforced;

use std::{collections::BTreeMap, process::Command, sync::LazyLock};

use serde_json::{Value, json};
use tollgate::model::bucket::Bucket;

use super::{installed::apply_rbac, places::Place};
use crate::{
    check::Ran,
    support::{
        apiserver::{Cluster, Judging, Names, Webhook, crds},
        https,
        serve::{TOLLGATE, wait_until},
    },
};

/// A cluster whose CRDs know both names, as upstream's with `global` added, or our own.
static BOTH: LazyLock<Cluster> = LazyLock::new(|| cluster(Names::Both));
/// A cluster whose CRDs know `shared` alone, as published.
static PUBLISHED: LazyLock<Cluster> = LazyLock::new(|| cluster(Names::SharedOnly));

fn cluster(names: Names) -> Cluster {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, names));
    apply_rbac(&cluster);
    cluster
}

/// The places that the operator reads.
const READ: [Place; 3] = [Place::Server, Place::Tool, Place::VirtualConfig];

/// A webhook that reads what is installed, as the manifests' ServiceAccount, and is ready.
fn webhook<'a>(cluster: &'a Cluster, namespace: &str, args: &[&str]) -> Webhook<'a> {
    let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
    let webhook = cluster.webhook(namespace, &[&["--kubeconfig", &kubeconfig, "--schema-poll", "200ms"], args].concat());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    wait_until("the webhook is ready", || runtime.block_on(https::get(webhook.serve.metrics, "/readyz")).status == 200);
    webhook
}

const MIRROR: [&str; 2] = ["--shared-alias", "mirror"];

/// `tool/scope` and what the bucket says, of each limit; both names are one scope.
type Limits = BTreeMap<String, String>;

fn limits(block: Option<&Value>) -> Limits {
    let Some(block) = block else { return Limits::new() };
    let tools = block["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let levels = tools.iter().map(|tool| (tool["name"].as_str().expect("named"), tool)).chain([("", block)]);
    let buckets = levels.flat_map(|(name, level)| {
        ["shared", "global", "perUser"].into_iter().filter_map(move |key| {
            let bucket = level.get(key).filter(|bucket| !bucket.is_null())?;
            let scope = if key == "perUser" { key } else { "all" };
            Some((format!("{name}/{scope}"), says(bucket)))
        })
    });
    buckets.fold(Limits::new(), |mut limits, (key, says)| {
        let other = limits.insert(key, says.clone());
        assert!(other.is_none_or(|other| other == says), "two names disagree: {block}");
        limits
    })
}

/// A bucket in words; the operator's YAML has a map for a period.
fn says(bucket: &Value) -> String {
    let mut bucket = bucket.clone();
    if let Some(duration) = bucket["refillPeriod"].get("duration").cloned() {
        bucket["refillPeriod"] = duration;
    }
    let bucket = Bucket::read(&bucket).unwrap_or_else(|faults| panic!("{faults:?}: {bucket}"));
    format!("{} per {}", bucket.max_tokens, bucket.refill_period)
}

/// What there is in a namespace, read at once.
struct State(Vec<Value>);

impl State {
    fn of(cluster: &Cluster, namespace: &str) -> Self {
        let said = cluster.kubectl(&["get", "mcpservers,virtualmcpservers,configmaps", "-n", namespace, "-o", "json"]).expect_ok();
        let list: Value = serde_json::from_str(&said.stdout).expect("JSON");
        Self(list["items"].as_array().expect("a list").clone())
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    fn object(&self, place: Place) -> &Value {
        let kind = if matches!(place, Place::VirtualConfig | Place::VirtualSpec) { "VirtualMCPServer" } else { "MCPServer" };
        self.find(kind, place.name()).expect("it is stored")
    }

    /// Whether the operator has rendered what is stored.
    fn is_rendered(&self, place: Place) -> bool {
        let object = self.object(place);
        object["status"]["observedGeneration"] == object["metadata"]["generation"]
    }

    /// The limits in the operator's ConfigMap.
    fn rendered(&self, place: Place) -> Limits {
        if place == Place::VirtualConfig {
            let text = &self.find("ConfigMap", &format!("{}-vmcp-config", place.name())).expect("rendered")["data"]["config.yaml"];
            let config: Value = serde_saphyr::from_str(text.as_str().expect("text")).expect("YAML");
            return limits(config.get("rateLimiting"));
        }
        let text = &self.find("ConfigMap", &format!("{}-runconfig", place.name())).expect("rendered")["data"]["runconfig.json"];
        let config: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        limits(config.get("rate_limit_config"))
    }
}

/// The state in which the operator has rendered all that is stored at these places.
fn rendered(cluster: &Cluster, namespace: &str, places: &[Place]) -> State {
    let mut state = State(Vec::new());
    wait_until("everything is rendered", || {
        state = State::of(cluster, namespace);
        places.iter().all(|place| state.is_rendered(*place))
    });
    state
}

/// How kubectl applies.
#[derive(Clone, Copy, Debug)]
enum Way {
    ClientSide,
    ServerSide,
}

impl Way {
    fn apply(self, cluster: &Cluster, manifests: Vec<Value>) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        match self {
            Self::ClientSide => cluster.apply(&list),
            Self::ServerSide => cluster.apply_server_side(&list, "kubectl", &[]),
        }
        .expect_ok();
    }
}

fn run_audit(cluster: &Cluster, args: &[&str]) -> Ran {
    let mut command = Command::new(TOLLGATE);
    command.arg("audit").args(args).env("KUBECONFIG", cluster.kubeconfig()).current_dir("/");
    Ran::of(command.output().expect("the binary starts"))
}

/// `kind/name rule path` of each finding.
fn found(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let row = |found: &Value| {
        let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        format!("{}/{} {} {}", text("/object/kind"), text("/object/name"), text("/rule"), text("/path"))
    };
    let mut rows: Vec<_> = json["findings"].as_array().expect("a list").iter().map(row).filter(|row| !row.contains("TG106")).collect();
    rows.sort();
    rows
}
