//! A kubelet on paper: it runs the containers of `tollgate`'s pods as processes, on nodes that are objects and nothing else.
//!
//! Each pod gets an address of its own (`support::network`), the token of its account where client libraries look for it, probes as its manifest
//! has them, a status, and at the end SIGTERM and its grace period. Pods without a node are bound to one, which is a scheduler's work. There are
//! neither images, nor volumes, nor users and limits.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    time::{sleep, timeout},
};
use tollgate::cluster::{self, Access};

use super::{
    apiserver::Cluster,
    network,
    process::Process,
    serve::{TOLLGATE, clean},
};
use crate::chart::text;

pub const NODES: [&str; 2] = ["paper-1", "paper-2"];
const TICK: Duration = Duration::from_millis(200);

/// Has a folder of its own where pods find their accounts, and is root in there.
const MOUNTED: &str = r#"
mount -t tmpfs none /var/run && mkdir -p /var/run/secrets/kubernetes.io && cp -r "$1" /var/run/secrets/kubernetes.io/serviceaccount
cd / && shift && exec "$@"
"#;

/// Runs until it is dropped; then its pods are killed.
#[derive(Debug)]
pub struct Kubelet {
    _runtime: Runtime,
}

/// What pods are run with.
struct Node {
    cluster: cluster::Cluster,
    apiserver: SocketAddr,
    /// PEM of the API server's certificate and its CA.
    ca: PathBuf,
}

impl Kubelet {
    pub fn start(of: &Cluster) -> Self {
        for name in NODES {
            of.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).expect_ok();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let access = Access { kubeconfig: Some(of.kubeconfig().to_owned()), context: None };
        let ca = of.kubeconfig().with_file_name("certs").join("apiserver.crt");
        let cluster = cluster::Cluster::connect(&access).expect("a client");
        runtime.spawn(run(Arc::new(Node { cluster, apiserver: of.address, ca })));
        drop(_inside);
        Self { _runtime: runtime }
    }
}

async fn run(node: Arc<Node>) {
    let mut known = BTreeSet::new();
    for last in (10..).chain(std::iter::repeat(u8::MAX)) {
        // The next new pod has this address.
        let pod = loop {
            sleep(TICK).await;
            let pods = node.cluster.list("/api/v1/pods").await.unwrap_or_default();
            for pod in pods.iter().filter(|pod| text(pod, "/spec/nodeName").is_empty()) {
                bind(&node.cluster, pod, &pods).await;
            }
            let is_new = |pod: &Value| !text(pod, "/spec/nodeName").is_empty() && known.insert(text(pod, "/metadata/uid").to_owned());
            if let Some(pod) = pods.into_iter().find(is_new) {
                break pod;
            }
        };
        tokio::spawn(Running::start(node.clone(), pod, network::address(last)));
    }
}

/// To the node with the fewest pods, of those that take any.
async fn bind(cluster: &cluster::Cluster, pod: &Value, pods: &[Value]) {
    let count = |node: &Value| pods.iter().filter(|pod| text(pod, "/spec/nodeName") == text(node, "/metadata/name")).count();
    let nodes = cluster.list("/api/v1/nodes").await.unwrap_or_default();
    let open = nodes.iter().filter(|node| node["spec"]["unschedulable"] != true);
    let Some(node) = open.min_by_key(|node| count(node)) else { return };
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let target = json!({"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"]});
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
    let _ = cluster.create(&format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"), &binding).await;
}

/// A probe of a container, and how it went so far.
struct Probe {
    path: String,
    address: SocketAddr,
    period: Duration,
    longest: Duration,
    threshold: u64,
    due: Instant,
    failures: u64,
}

impl Probe {
    fn of(container: &Value, name: &str, address: Ipv4Addr) -> Option<Self> {
        let probe = container.get(name)?;
        let wanted = &probe["httpGet"]["port"];
        let port = container["ports"].as_array()?.iter().find(|port| port["name"] == *wanted)?["containerPort"].as_u64()?;
        let number = |key: &str, default| probe[key].as_u64().unwrap_or(default);
        Some(Self {
            path: text(probe, "/httpGet/path").to_owned(),
            address: (address, u16::try_from(port).ok()?).into(),
            period: Duration::from_secs(number("periodSeconds", 10)),
            longest: Duration::from_secs(number("timeoutSeconds", 1)),
            threshold: number("failureThreshold", 3),
            due: Instant::now(),
            failures: 0,
        })
    }

    /// Yes or no, where it is time to ask and the answer counts.
    async fn ask(&mut self) -> Option<bool> {
        if Instant::now() < self.due {
            return None;
        }
        self.due = Instant::now() + self.period;
        let is_ok = timeout(self.longest, answers(self.address, &self.path)).await.is_ok_and(|answer| answer.unwrap_or_default());
        self.failures = if is_ok { 0 } else { self.failures + 1 };
        if is_ok { Some(true) } else { (self.failures >= self.threshold).then_some(false) }
    }
}

async fn answers(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// A pod that runs.
struct Running {
    api: Api<Pod>,
    pod: Value,
    address: Ipv4Addr,
    process: Process,
    _account: TempDir,
    is_started: bool,
    is_ready: bool,
}

impl Running {
    async fn start(node: Arc<Node>, pod: Value, address: Ipv4Addr) {
        let account = account(&node, &pod).await;
        let mut command = clean("unshare", &account);
        let args = pod["spec"]["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        command.args(["--mount", "sh", "-ec", MOUNTED, "sh"]).arg(account.path()).arg(TOLLGATE);
        // The other pods have the same ports, and this machine's one network.
        command.args(args.map(|arg| arg.replace("[::]", &address.to_string())));
        serve_api(&mut command, node.apiserver);
        let mut process = Process::start(&mut command);
        if text(&pod, "/spec/restartPolicy") != "Never" {
            process.ignore_stdout();
        }
        let api = Api::namespaced(node.cluster.client.clone(), text(&pod, "/metadata/namespace"));
        Self { api, pod, address, process, _account: account, is_started: false, is_ready: false }.run().await;
    }

    /// Until the pod is gone.
    async fn run(mut self) {
        let container = self.pod["spec"]["containers"][0].clone();
        let [mut startup, mut readiness, mut liveness] =
            ["startupProbe", "readinessProbe", "livenessProbe"].map(|name| Probe::of(&container, name, self.address));
        self.report("Running", &json!({"running": {}})).await;
        loop {
            sleep(TICK).await;
            if !self.process.is_running() {
                return self.ended().await;
            }
            match self.api.get_opt(self.name()).await {
                Ok(Some(pod)) if pod.metadata.deletion_timestamp.is_some() => return self.terminate().await,
                Ok(None) => return,
                _ => {}
            }
            let before = (self.is_started, self.is_ready);
            if !self.is_started {
                self.is_started = answer(&mut startup).await.unwrap_or(false);
            } else {
                self.is_ready = answer(&mut readiness).await.unwrap_or(self.is_ready);
                assert_ne!(answer(&mut liveness).await, Some(false), "{} is not alive: {}", self.name(), self.process.log());
            }
            if before != (self.is_started, self.is_ready) {
                self.report("Running", &json!({"running": {}})).await;
            }
        }
    }

    fn name(&self) -> &str {
        text(&self.pod, "/metadata/name")
    }

    /// SIGTERM, and SIGKILL when its time is over.
    async fn terminate(mut self) {
        let grace = Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
        let deadline = Instant::now() + grace;
        self.process.signal("TERM");
        while self.process.is_running() && Instant::now() < deadline {
            sleep(TICK).await;
        }
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let _ = self.api.delete(self.name(), &at_once).await;
    }

    /// A container that ended by itself stays ended: of those here, only the test's is meant to.
    #[allow(clippy::print_stdout, reason = "what a pod said belongs to the log of a proof")]
    async fn ended(mut self) {
        let code = self.process.wait().code().unwrap_or(137);
        let mut said = self.process.log();
        while text(&self.pod, "/spec/restartPolicy") == "Never" && said.len() < 64 * 1024 {
            let line = self.process.line();
            if line.is_empty() {
                break;
            }
            said.push_str(&line);
        }
        println!("{} ended with {code}:\n{said}", self.name());
        self.is_ready = false;
        self.report(if code == 0 { "Succeeded" } else { "Failed" }, &json!({"terminated": {"exitCode": code}})).await;
        while !self.api.get_opt(self.name()).await.is_ok_and(|pod| pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())) {
            sleep(TICK).await;
        }
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let _ = self.api.delete(self.name(), &at_once).await;
    }

    async fn report(&self, phase: &str, state: &Value) {
        let container = &self.pod["spec"]["containers"][0];
        let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        let status = json!({"status": {
            "phase": phase, "podIP": self.address, "podIPs": [{"ip": self.address}],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", self.is_ready), condition("Ready", self.is_ready),
            ],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "paper", "restartCount": 0,
                "started": self.is_started, "ready": self.is_ready, "state": state,
            }],
        }});
        // Once more where the API server was busy; then the next change tries again.
        for _ in 0..2 {
            if self.api.patch_status(self.name(), &PatchParams::default(), &Patch::Strategic(&status)).await.is_ok() {
                break;
            }
        }
    }
}

async fn answer(probe: &mut Option<Probe>) -> Option<bool> {
    match probe {
        Some(probe) => probe.ask().await,
        None => Some(true),
    }
}

/// A folder with the token of a pod's account, if it wants it.
async fn account(node: &Node, pod: &Value) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (namespace, account) = (text(pod, "/metadata/namespace"), text(pod, "/spec/serviceAccountName"));
    if pod["spec"]["automountServiceAccountToken"] != true {
        return folder;
    }
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]});
    let spec = json!({"expirationSeconds": 3600, "boundObjectRef": bound});
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = node.cluster.create(&path, &request).await.expect("the API server answers");
    let token = text(&answer.body, "/status/token");
    assert!(!token.is_empty(), "no token for {namespace}/{account}: {}", answer.body);
    let ca = fs::read_to_string(&node.ca).expect("the API server wrote it");
    for (name, content) in [("token", token), ("namespace", namespace), ("ca.crt", &ca)] {
        fs::write(folder.path().join(name), content).expect("written");
    }
    folder
}

/// As a kubelet does for the Service `kubernetes`.
fn serve_api(command: &mut Command, address: SocketAddr) {
    command.env("HOME", "/").env("KUBERNETES_SERVICE_HOST", address.ip().to_string());
    command.env("KUBERNETES_SERVICE_PORT", address.port().to_string());
}
