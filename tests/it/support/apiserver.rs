//! Private API servers: an etcd and kube-apiservers on free ports, started once per run, ended with the test process.

use std::{
    fmt::Write,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};

use super::{
    find::neighbour,
    leash::Leashed,
    port::free_port,
    process::wait_within,
    serve::{Serve, wait_until},
    time::STARTS_WITHIN,
};

/// A cluster whose CRDs know both names and judge nothing by themselves, so that what refuses is the webhook.
pub static MAIN: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::No, Names::Both));
    cluster
});

/// A running API server.
#[derive(Debug)]
pub struct Cluster {
    apiserver: Mutex<Option<Leashed>>,
    /// Of the API server.
    args: Vec<String>,
    kubeconfig: PathBuf,
    /// As the ServiceAccount of `manifests/base`.
    pub tollgate_kubeconfig: PathBuf,
    /// Of the API server.
    pub address: SocketAddr,
    etcd_url: String,
    /// Ends last, and takes the folder with it.
    _etcd: Leashed,
}

/// What kubectl said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Everything, for messages.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn expect_ok(self) -> Self {
        assert!(self.ok, "kubectl failed: {}", self.all());
        self
    }

    /// Refused, with each of these texts in the message.
    #[track_caller]
    pub fn expect_refused(self, texts: &[&str]) -> Self {
        assert!(!self.ok, "kubectl should have failed: {}", self.all());
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        }
        self
    }
}

impl Cluster {
    /// Starts an etcd and an API server, and waits until it is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further flags of the API server's.
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let (etcd, etcd_url) = start_etcd(&folder);
        let port = free_port();
        let tokens = "admin-token,admin,admin,system:masters\n\
            tollgate-token,system:serviceaccount:tollgate-system:tollgate,tollgate,\"system:serviceaccounts,system:serviceaccounts:tollgate-system\"\n";
        fs::write(folder.join("tokens.csv"), tokens).expect("written");
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(folder.join("sa.key"), key.serialize_pem()).expect("written");
        fs::write(folder.join("sa.pub"), key.public_key_pem()).expect("written");
        let at = |name: &str| folder.join(name).display().to_string();
        let mut args = vec![
            format!("--etcd-servers={etcd_url}"),
            format!("--cert-dir={}", at("certs")),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--service-account-issuer=https://tollgate.test".to_owned(),
            format!("--service-account-key-file={}", at("sa.pub")),
            format!("--service-account-signing-key-file={}", at("sa.key")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Nothing here makes a Service's address lead anywhere; this way the API server dials what its EndpointSlices say.
            "--enable-aggregator-routing=true".to_owned(),
        ];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let url = format!("https://127.0.0.1:{port}");
        let kubeconfig = write_kubeconfig(&folder, &url, "admin");
        let tollgate_kubeconfig = write_kubeconfig(&folder, &url, "tollgate");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let apiserver = Mutex::new(None);
        let cluster = Self { apiserver, args, kubeconfig, tollgate_kubeconfig, address, etcd_url, _etcd: etcd };
        cluster.restart();
        let ready = || cluster.kubectl(&["get", "--raw", "/readyz"]).ok;
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_within(STARTS_WITHIN, "a ready API server", ready)));
        let log = || cluster.apiserver.lock().expect("no panic while held").as_ref().map(Leashed::log_tail);
        assert!(waited.is_ok(), "the API server is not ready: {:?}", log());
        cluster
    }

    /// Starts the API server, after an end without a goodbye where it runs already, on what is stored. Not waited for.
    pub fn restart(&self) {
        let mut apiserver = self.apiserver.lock().expect("no panic while held");
        apiserver.take();
        let folder = tempfile::tempdir().expect("a folder").keep();
        *apiserver = Some(Leashed::start(&folder, &neighbour("kube-apiserver"), &self.args));
    }

    /// Forgets every state of the cluster but the last, as an API server does every five minutes.
    pub fn compact(&self) {
        let etcd = |path: &str, body: &Value| {
            let request = Command::new("curl").args(["-fsS", &format!("{}{path}", self.etcd_url), "-d", &body.to_string()]).output();
            let output = request.expect("curl is there");
            assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
        };
        let revision = etcd("/v3/kv/range", &json!({"key": "AA=="}))["header"]["revision"].clone();
        etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    }

    /// As an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl.
    pub fn kubectl(&self, args: &[&str]) -> Said {
        self.kubectl_with(args, "")
    }

    /// Runs kubectl with something on stdin.
    pub fn kubectl_with(&self, args: &[&str], stdin: &str) -> Said {
        self.run(self.kubectl_command().args(args), stdin)
    }

    /// kubectl, with this cluster's kubeconfig and a home of its own.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(neighbour("kubectl"));
        let home = self.kubeconfig.parent().expect("it is in a folder");
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", home).env("KUBECACHEDIR", home.join("cache"));
        // It ends before its garbage is worth collecting, which takes a third of its time.
        command.env("GOGC", "off");
        command
    }

    pub fn run(&self, command: &mut Command, stdin: &str) -> Said {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
        let mut pipe = child.stdin.take().expect("piped");
        // kubectl may fail before it has read everything.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().expect("kubectl ends");
        Said {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `kubectl apply -f -`
    pub fn apply(&self, object: &Value) -> Said {
        self.kubectl_with(&["apply", "-f", "-"], &object.to_string())
    }

    /// `kubectl apply --server-side -f -`
    pub fn apply_server_side(&self, object: &Value, manager: &str, flags: &[&str]) -> Said {
        let manager = format!("--field-manager={manager}");
        let args: Vec<_> = ["apply", "--server-side", &manager, "-f", "-"].iter().chain(flags).copied().collect();
        self.kubectl_with(&args, &object.to_string())
    }

    /// The stored object, managed fields included.
    #[track_caller]
    pub fn get(&self, object: &Value) -> Value {
        let (kind, name, namespace) = names(object);
        let said = self.kubectl(&["get", &kind, &name, "-n", &namespace, "-o", "json", "--show-managed-fields"]).expect_ok();
        serde_json::from_str(&said.stdout).expect("JSON")
    }

    /// Installs definitions, and waits until they are served.
    pub fn install(&self, definitions: Vec<Value>) {
        for definition in definitions {
            // Replaced, not applied: the text is too long for the annotation, and nothing of an older shape may stay.
            let name = definition["metadata"]["name"].as_str().expect("it has a name").to_owned();
            let verb = if self.kubectl(&["get", "crd", &name]).ok { "replace" } else { "create" };
            self.kubectl_with(&[verb, "-f", "-"], &definition.to_string()).expect_ok();
            self.wait_established(&name);
        }
        wait_until("the kinds are served", || ["mcpservers", "virtualmcpservers"].iter().all(|kind| self.kubectl(&["get", kind, "-A"]).ok));
    }

    /// Waits until a definition is established; `kubectl wait` fails if it looks before there is a status.
    pub fn wait_established(&self, name: &str) {
        let status = "jsonpath={.status.conditions[?(@.type==\"Established\")].status}";
        wait_within(STARTS_WITHIN, &format!("crd/{name} to be established"), || {
            self.kubectl(&["get", "crd", name, "-o", status]).stdout == "True"
        });
    }

    /// A new namespace of a test's own.
    pub fn namespace(&self, about: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{about}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name]).expect_ok();
        name
    }

    /// The same in a namespace with a given name.
    pub fn webhook_in_existing(&self, namespace: &str, args: &[&str]) -> Webhook<'_> {
        if !self.kubectl(&["get", "namespace", namespace]).ok {
            self.kubectl(&["create", "namespace", namespace]).expect_ok();
        }
        self.webhook(namespace, args)
    }

    /// A webhook of a test's own, called for one namespace only, and already seen to be called.
    pub fn webhook(&self, namespace: &str, args: &[&str]) -> Webhook<'_> {
        let serve = Serve::start(args);
        let webhook = Webhook { cluster: self, serve, namespace: namespace.to_owned() };
        webhook.register();
        webhook
    }
}

/// A `tollgate serve` that is registered for one namespace; the registration goes with it.
#[derive(Debug)]
pub struct Webhook<'a> {
    cluster: &'a Cluster,
    pub serve: Serve,
    namespace: String,
}

impl Webhook<'_> {
    /// Registers what `tollgate serve` wrote for registration, under a name and a namespace of this test's own.
    fn register(&self) {
        let yaml = fs::read_to_string(self.serve.webhooks_yaml()).expect("written at start");
        let configurations: Vec<Value> = serde_saphyr::from_multiple(&yaml).expect("YAML");
        for mut configuration in configurations {
            configuration["metadata"]["name"] = json!(self.namespace);
            let webhook = &mut configuration["webhooks"][0];
            let only_here = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [self.namespace]});
            webhook["namespaceSelector"]["matchExpressions"].as_array_mut().expect("the manifest has some").push(only_here);
            // The machine of a test may be busy; the manifest's own 2 s are for machines that serve.
            webhook["timeoutSeconds"] = json!(20);
            self.cluster.kubectl_with(&["create", "-f", "-"], &configuration.to_string()).expect_ok();
        }
        let probe = json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
            "metadata": {"name": "probe", "namespace": self.namespace},
            "spec": {"rateLimiting": {"tools": []}},
        });
        wait_until("the validating webhook is called", || {
            let said = self.cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe.to_string());
            said.stderr.contains("TG003")
        });
        let mut renamed = probe.clone();
        renamed["spec"] = json!({"rateLimiting": {"shared": {"maxTokens": 1, "refillPeriod": "1s"}}, "sessionStorage": {"provider": "redis", "address": "r:1"}});
        wait_until("the mutating webhook is called", || {
            self.cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &renamed.to_string()).stderr.contains("TG101")
                && metric(&self.cluster_metrics(), "hook=\"mutate\"")
        });
    }

    fn cluster_metrics(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(super::https::get(self.serve.metrics, "/metrics")).text()
    }

    /// Takes the registrations away, as when the webhook is uninstalled.
    pub fn unregister(&self) {
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            self.cluster.kubectl(&["delete", kind, &self.namespace, "--ignore-not-found"]).expect_ok();
        }
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.unregister();
        }
    }
}

fn metric(text: &str, labels: &str) -> bool {
    text.lines().any(|line| line.starts_with("tollgate_admission_requests_total{") && line.contains(labels))
}

/// kind.group, name and namespace of an object.
pub fn names(object: &Value) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).expect("it is there").to_owned();
    (format!("{}.toolhive.stacklok.dev", text("/kind").to_lowercase()), text("/metadata/name"), text("/metadata/namespace"))
}

/// Whether definitions keep what they judge by: CEL rules, bounds, required fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    Yes,
    No,
}

/// Which names of the bucket definitions know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Both,
    /// As ToolHive ships them.
    SharedOnly,
}

/// The definitions of `manifests/crds`, with parts taken away.
pub fn crds(judging: Judging, names: Names) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    let files = ["mcpservers.yaml", "virtualmcpservers.yaml"];
    let read = files.map(|file| fs::read_to_string(folder.join(file)).expect("it is shipped"));
    let parsed = read.iter().map(|yaml| serde_saphyr::from_str::<Value>(yaml).expect("YAML"));
    parsed
        .map(|mut definition| {
            strip(&mut definition["spec"]["versions"], judging, names);
            definition
        })
        .collect()
}

fn strip(schema: &mut Value, judging: Judging, names: Names) {
    match schema {
        Value::Object(map) => {
            if judging == Judging::No {
                for rule in ["x-kubernetes-validations", "minimum", "maximum", "minLength", "maxLength"] {
                    map.remove(rule);
                }
                // The key of a list that is a map has to stay required.
                if map.get("required").is_some_and(|required| ![json!(["name"]), json!(["type"]), json!(["spec"])].contains(required)) {
                    map.remove("required");
                }
            }
            if names == Names::SharedOnly && map.get("shared").is_some_and(|shared| shared.get("type").is_some()) {
                map.remove("global");
            }
            map.values_mut().for_each(|value| strip(value, judging, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, judging, names)),
        _ => {}
    }
}

fn start_etcd(folder: &Path) -> (Leashed, String) {
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let args = [
        format!("--data-dir={}", folder.join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ];
    (Leashed::start(folder, &neighbour("etcd"), &args), client)
}

fn write_kubeconfig(folder: &Path, url: &str, user: &str) -> PathBuf {
    let mut yaml = String::from("apiVersion: v1\nkind: Config\ncurrent-context: test\n");
    write!(
        yaml,
        "clusters: [{{name: test, cluster: {{server: \"{url}\", insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: test, user: {{token: {user}-token}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
    )
    .expect("a string takes everything");
    let path = folder.join(format!("{user}.kubeconfig"));
    fs::write(&path, yaml).expect("written");
    path
}
