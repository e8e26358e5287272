//! A stand-in for ToolHive's operator, in our own words: what it does to objects, and what it renders from them.
//!
//! It decodes an object into types of its own, which know `shared` and, as published, no `global`; adds its finalizer to an `MCPServer` by a
//! merge patch with the resourceVersion; renders the limits that it decoded into a ConfigMap, which is all that a proxy would read; and then
//! writes its status by a patch of the subresource. Objects are never updated as a whole.

use std::{
    collections::HashSet,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};
use tollgate::model::{operator::FINALIZERS, period::Period, subject::Kind};

use super::apiserver::Cluster;

/// Which names the operator's type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// As published.
    SharedOnly,
    /// As no published version.
    Both,
}

/// A running operator; it stops when dropped, and leaves behind what it wrote.
#[derive(Debug)]
pub struct Operator {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// Works on one namespace from now on.
    pub fn start(cluster: &Cluster, namespace: &str, reads: Reads) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (kubeconfig, namespace) = (cluster.kubeconfig().to_owned(), namespace.to_owned());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work(&kubeconfig, &namespace, reads, &stopped));
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().expect("dropped once").join();
        assert!(ended.is_ok() || thread::panicking(), "the operator failed");
    }
}

/// Until it is stopped: looks at every object, and does what is due. A conflict is tried again with what is stored then.
async fn work(kubeconfig: &Path, namespace: &str, reads: Reads, stopped: &Receiver<()>) {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("written");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("of a cluster");
    let client = Client::try_from(config).expect("a client");
    // As after every start, everything is rendered anew.
    let mut done = Done::default();
    while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
        for kind in Kind::ALL {
            let resource = resource("toolhive.stacklok.dev", "v1beta1", kind.name(), kind.plural());
            let of_kind = Controller {
                kind,
                reads,
                objects: Api::namespaced_with(client.clone(), namespace, &resource),
                config_maps: Api::namespaced_with(client.clone(), namespace, &resource_of_config_maps()),
            };
            // An API server that is busy, or has new definitions, is asked again.
            let Ok(objects) = of_kind.objects.list(&ListParams::default()).await else { continue };
            for object in objects {
                let _ = of_kind.reconcile(&object, &mut done).await;
            }
        }
        // It polls, where the real one watches.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn resource_of_config_maps() -> ApiResource {
    resource("", "v1", "ConfigMap", "configmaps")
}

/// Uids and generations that were rendered.
type Done = HashSet<(Option<String>, Option<i64>)>;

/// What works on the objects of one kind.
struct Controller {
    kind: Kind,
    reads: Reads,
    objects: Api<DynamicObject>,
    config_maps: Api<DynamicObject>,
}

impl Controller {
    async fn reconcile(&self, object: &DynamicObject, done: &mut Done) -> kube::Result<()> {
        let finalizers = object.metadata.finalizers.as_deref().unwrap_or_default();
        let is_ours = |finalizer: &String| finalizer == FINALIZERS[0];
        let has_ours = finalizers.iter().any(is_ours);
        if object.metadata.deletion_timestamp.is_some() {
            let others: Vec<_> = finalizers.iter().filter(|finalizer| !is_ours(finalizer)).collect();
            return if has_ours { self.put_finalizers(object, &json!(others)).await } else { Ok(()) };
        }
        if self.kind == Kind::McpServer && !has_ours {
            let with_ours: Vec<_> = finalizers.iter().map(String::as_str).chain([FINALIZERS[0]]).collect();
            // The write makes a new version, which is looked at next time.
            return self.put_finalizers(object, &json!(with_ours)).await;
        }
        let version = (object.metadata.uid.clone(), object.metadata.generation);
        if done.contains(&version) {
            return Ok(());
        }
        let limits = self.decode(object);
        self.render(object, &limits).await?;
        self.report(object, limits.is_null()).await?;
        done.insert(version);
        Ok(())
    }

    async fn put_finalizers(&self, object: &DynamicObject, finalizers: &Value) -> kube::Result<()> {
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.metadata.resource_version}});
        let params = PatchParams { field_manager: Some("thv-operator".to_owned()), ..PatchParams::default() };
        self.objects.patch(name(object), &params, &Patch::Merge(&patch)).await.map(drop)
    }

    /// The limits as far as the operator's own types hold them.
    fn decode(&self, object: &DynamicObject) -> Value {
        let place = if self.kind == Kind::McpServer { "/spec/rateLimiting" } else { "/spec/config/rateLimiting" };
        let Some(limits) = object.data.pointer(place).filter(|limits| !limits.is_null()) else { return Value::Null };
        let limits = limits.clone();
        let typed = match self.reads {
            Reads::SharedOnly => serde_json::from_value::<Limits<OneName>>(limits).map(|limits| json!(limits)),
            Reads::Both => serde_json::from_value::<Limits<TwoNames>>(limits).map(|limits| json!(limits)),
        };
        typed.expect("tests store limits that can be decoded")
    }

    async fn render(&self, object: &DynamicObject, limits: &Value) -> kube::Result<()> {
        let (name, namespace) = (name(object), object.metadata.namespace.as_deref().expect("namespaced"));
        let (suffix, key, component, text) = match self.kind {
            Kind::McpServer => ("runconfig", "runconfig.json", "run-config", run_config(object, namespace, limits)),
            Kind::VirtualMcpServer => ("vmcp-config", "config.yaml", "vmcp-config", vmcp_config(name, limits)),
        };
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": format!("{name}-{suffix}"), "namespace": namespace,
                "labels": {"toolhive.stacklok.io/component": component, "toolhive.stacklok.io/managed-by": "toolhive-operator"},
                "ownerReferences": [{
                    "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": self.kind.name(), "name": name,
                    "uid": object.metadata.uid, "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "data": {key: text},
        });
        let params = PatchParams { field_manager: Some("thv-operator".to_owned()), force: true, ..PatchParams::default() };
        self.config_maps.patch(&format!("{name}-{suffix}"), &params, &Patch::Apply(&config_map)).await.map(drop)
    }

    /// The operator is content with what it decoded, whatever it lost.
    async fn report(&self, object: &DynamicObject, is_unlimited: bool) -> kube::Result<()> {
        let reason = if is_unlimited { "RateLimitNotApplicable" } else { "RateLimitConfigValid" };
        let condition = json!({
            "type": "RateLimitConfigValid", "status": "True", "reason": reason, "message": "rate limit configuration",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": object.metadata.generation,
        });
        let mut status = json!({"observedGeneration": object.metadata.generation});
        if self.kind == Kind::McpServer {
            status["conditions"] = json!([condition]);
        }
        let params = PatchParams { field_manager: Some("thv-operator".to_owned()), ..PatchParams::default() };
        self.objects.patch_status(name(object), &params, &Patch::Merge(&json!({"status": status}))).await.map(drop)
    }
}

fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().expect("stored objects have names")
}

fn run_config(object: &DynamicObject, namespace: &str, limits: &Value) -> String {
    let name = name(object);
    let mut config = json!({
        "schema_version": "v0.1.0", "name": name, "image": object.data["spec"]["image"], "transport": "streamable-http",
        "mcpserver_generation": object.metadata.generation, "middleware_configs": [{"type": "auth", "parameters": {}}],
    });
    if !limits.is_null() {
        let parameters = json!({"namespace": namespace, "server_name": name, "config": limits, "redis_addr": "redis:6379"});
        config["middleware_configs"].as_array_mut().expect("a list").push(json!({"type": "ratelimit", "parameters": parameters}));
        config["rate_limit_config"] = limits.clone();
        config["rate_limit_namespace"] = json!(namespace);
    }
    serde_json::to_string_pretty(&config).expect("JSON")
}

/// In YAML, a period is a map: the operator's YAML library knows no text for it.
fn vmcp_config(name: &str, limits: &Value) -> String {
    let mut config = json!({"name": name, "groupRef": "g", "incomingAuth": {"type": "oidc"}});
    if !limits.is_null() {
        config["rateLimiting"] = limits.clone();
        periods_as_maps(&mut config["rateLimiting"]);
    }
    serde_saphyr::to_string(&config).expect("YAML")
}

fn periods_as_maps(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "refillPeriod" {
                    *value = json!({"duration": value});
                } else {
                    periods_as_maps(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(periods_as_maps),
        _ => {}
    }
}

/// Limits, and those of a tool, with the names that `N` has.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits<N> {
    #[serde(flatten)]
    buckets: N,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<N>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Tool<N> {
    name: String,
    #[serde(flatten)]
    buckets: N,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct OneName {
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Bucket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<Bucket>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct TwoNames {
    #[serde(skip_serializing_if = "Option::is_none")]
    global: Option<Bucket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Bucket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<Bucket>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    max_tokens: i32,
    #[serde(deserialize_with = "period", serialize_with = "as_text")]
    refill_period: Period,
}

fn period<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// As Go writes it: `60s` comes out as `1m0s`.
fn as_text<S: Serializer>(period: &Period, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(period)
}
