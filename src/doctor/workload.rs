//! The Service that the API server calls, what is ready behind it, and which images run there.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{
    hooks::{Endpoint, Installed},
    report::{Notes, VERSION},
};
use crate::cluster::{
    Cluster, ClusterError,
    request::{items, text},
};

/// What is known of each Service.
pub(super) type Workloads = HashMap<Endpoint, Workload>;

/// What runs behind a Service.
#[derive(Debug, Default)]
pub(super) struct Workload {
    /// The Secrets that are mounted: the certificate is in one of them.
    pub(super) secrets: BTreeSet<String>,
    /// What the server is started with, where it issues its certificate itself.
    pub(super) issuing: Option<Issuing>,
    images: BTreeSet<String>,
    /// Whether the server is started with `--toolhive-reads-global`.
    toolhive_reads_global: bool,
}

/// A server with `--certs-secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issuing {
    /// As typed: `[NAMESPACE/]NAME`.
    pub(super) secret: String,
    /// The ServiceAccount of its pods.
    pub(super) account: String,
}

pub(super) async fn look(cluster: &Cluster, installed: &Installed, notes: &mut Notes) -> Workloads {
    let mut workloads = Workloads::new();
    for endpoint in installed.hooks.iter().map(super::hooks::Hook::endpoint) {
        if let Endpoint::Service { namespace, name, port } = &endpoint
            && !workloads.contains_key(&endpoint)
        {
            let called_by = installed.hooks.iter().filter(|hook| hook.endpoint() == endpoint).map(super::hooks::Hook::resource);
            let called_by = called_by.collect::<Vec<_>>().join(" ");
            let workload = look_at_service(cluster, (namespace, name, *port), &called_by, notes).await;
            workloads.insert(endpoint.clone(), workload.unwrap_or_default());
        }
    }
    workloads
}

async fn look_at_service(cluster: &Cluster, service: (&str, &str, u64), called_by: &str, notes: &mut Notes) -> Option<Workload> {
    let (namespace, name, port) = service;
    let at = format!("Service {namespace}/{name}");
    let service = match cluster.get(&format!("/api/v1/namespaces/{namespace}/services/{name}")).await {
        Ok(service) => service,
        Err(ClusterError::Absent(_)) => {
            notes.problem(
                "service",
                format!("{at}, which the webhooks call, is not there"),
                format!("apply the manifests, or correct clientConfig.service; if tollgate was removed: kubectl delete {called_by}"),
            );
            return None;
        }
        Err(trouble) => {
            notes.unknown("service", format!("{at}: {trouble}"), trouble.advice(format!("grant get on services in {namespace}")));
            return None;
        }
    };
    if items(&service, "/spec/ports").iter().any(|known| known.get("port").and_then(Value::as_u64) == Some(port)) {
        notes.ok("service", format!("{at} has port {port}"));
    } else {
        notes.problem("service", format!("{at} has no port {port}, which the webhooks call"), "correct clientConfig.service.port");
    }
    look_at_endpoints(cluster, namespace, name, notes).await;
    let workload = behind(cluster, namespace, &service, notes).await;
    look_at_images(&workload, notes);
    Some(workload)
}

async fn look_at_endpoints(cluster: &Cluster, namespace: &str, name: &str, notes: &mut Notes) {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}");
    let slices = match cluster.list(&path).await {
        Ok(slices) => slices,
        Err(trouble) => {
            return notes.unknown(
                "endpoints",
                format!("of {namespace}/{name}: {trouble}"),
                trouble.advice(format!("grant list on endpointslices in {namespace}")),
            );
        }
    };
    let endpoints = slices.iter().flat_map(|slice| items(slice, "/endpoints"));
    // Ready unless it says otherwise, as the API defines it.
    let (ready, waiting): (Vec<_>, Vec<_>) =
        endpoints.partition(|endpoint| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false));
    match (ready.len(), waiting.len()) {
        (0, waiting) => notes.problem(
            "endpoints",
            format!("no pod behind {namespace}/{name} is ready ({waiting} are not)"),
            format!("kubectl get pods -n {namespace}; a pod's /readyz reports what it waits for"),
        ),
        (ready, _) => notes.ok("endpoints", format!("{ready} ready behind {namespace}/{name}")),
    }
}

/// The pods and Deployments that a Service selects.
async fn behind(cluster: &Cluster, namespace: &str, service: &Value, notes: &mut Notes) -> Workload {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let labels = selector.into_iter().flatten().map(|(key, value)| format!("{key}%3D{}", value.as_str().unwrap_or_default()));
    let query = labels.collect::<Vec<_>>().join(",");
    let mut workload = Workload::default();
    if query.is_empty() {
        return workload;
    }
    for (path, template) in [
        (format!("/api/v1/namespaces/{namespace}/pods?labelSelector={query}"), "/spec"),
        (format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector={query}"), "/spec/template/spec"),
    ] {
        match cluster.list(&path).await {
            Ok(found) => found.iter().filter_map(|object| object.pointer(template)).for_each(|pod| workload.add(pod)),
            Err(trouble) => {
                let todo = trouble.advice(format!("grant list on pods and deployments in {namespace}"));
                notes.unknown("version", format!("what runs behind the Service: {trouble}"), todo);
            }
        }
    }
    workload
}

impl Workload {
    /// Whether the administrator says that ToolHive's operator reads `global`.
    pub(super) fn says_that_toolhive_reads_global(&self) -> bool {
        self.toolhive_reads_global
    }

    fn add(&mut self, pod: &Value) {
        let secrets = items(pod, "/volumes").iter().map(|volume| text(volume, "/secret/secretName")).filter(|name| !name.is_empty());
        self.secrets.extend(secrets.map(str::to_owned));
        // Sidecars do not matter.
        let containers = items(pod, "/containers");
        let ours = containers.iter().find(|container| text(container, "/name") == "tollgate").or(containers.first());
        self.images.extend(ours.map(|container| text(container, "/image").to_owned()));
        self.toolhive_reads_global |= ours.is_some_and(reads_global);
        let account = match text(pod, "/serviceAccountName") {
            "" => "default",
            account => account,
        };
        if let Some(secret) = ours.and_then(certs_secret) {
            self.issuing = Some(Issuing { secret, account: account.to_owned() });
        }
    }
}

fn look_at_images(workload: &Workload, notes: &mut Notes) {
    let versions: BTreeSet<_> = workload.images.iter().filter_map(|image| version_of(image)).collect();
    let images = || workload.images.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match versions.iter().copied().collect::<Vec<_>>().as_slice() {
        [] if workload.images.is_empty() => {}
        [] => notes.ok("version", format!("{}: no tag with a version", images())),
        [VERSION] => notes.ok("version", format!("{VERSION}, as this tollgate")),
        [other] => notes.problem(
            "version",
            format!("{other} runs, and this is tollgate {VERSION}: the checks here may differ from those there"),
            format!("use tollgate {other} here, or roll out {VERSION}"),
        ),
        _ => notes.problem("version", format!("several versions run at once: {}", images()), "see whether a rollout is stuck"),
    }
}

/// Whether a container says so, by a flag or by its variable.
fn reads_global(container: &Value) -> bool {
    let args = items(container, "/command").iter().chain(items(container, "/args")).filter_map(Value::as_str);
    let by_flag = args.into_iter().any(|arg| ["--toolhive-reads-global", "--toolhive-reads-global=true"].contains(&arg));
    let variables = items(container, "/env").iter();
    by_flag
        || variables
            .filter(|variable| text(variable, "/name") == "TOLLGATE_TOOLHIVE_READS_GLOBAL")
            .any(|variable| text(variable, "/value") == "true")
}

/// The Secret that `--certs-secret` names, or its variable.
fn certs_secret(container: &Value) -> Option<String> {
    let args: Vec<_> = items(container, "/command").iter().chain(items(container, "/args")).filter_map(Value::as_str).collect();
    let joined = args.iter().find_map(|arg| arg.strip_prefix("--certs-secret="));
    let apart = || args.iter().skip_while(|arg| **arg != "--certs-secret").nth(1).copied();
    let by_variable = || {
        let variable = items(container, "/env").iter().find(|variable| text(variable, "/name") == "TOLLGATE_CERTS_SECRET")?;
        Some(text(variable, "/value")).filter(|value| !value.is_empty())
    };
    joined.or_else(apart).or_else(by_variable).map(str::to_owned)
}

/// The version in an image's tag: `registry:5000/tollgate:v1.2.3@sha256:...`.
pub(super) fn version_of(image: &str) -> Option<&str> {
    let (_, tag) = image.split('@').next()?.rsplit('/').next()?.split_once(':')?;
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let numbers = version.split(['-', '+']).next()?.split('.');
    (numbers.clone().count() == 3 && numbers.clone().all(|number| number.parse::<u32>().is_ok())).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_an_authority_is_read_from_flag_and_variable() {
        use serde_json::json;
        for container in [
            json!({"args": ["serve", "--certs-secret=here/certs"]}),
            json!({"command": ["tollgate", "serve", "--certs-secret", "here/certs"]}),
            json!({"env": [{"name": "TOLLGATE_CERTS_SECRET", "value": "here/certs"}]}),
        ] {
            assert_eq!(certs_secret(&container).as_deref(), Some("here/certs"), "{container}");
        }
        assert_eq!(certs_secret(&json!({"args": ["serve", "--tls-cert=a"]})), None);
    }

    #[test]
    fn versions_are_read_from_tags() {
        assert_eq!(version_of("tollgate:0.1.0"), Some("0.1.0"));
        assert_eq!(version_of("registry.example.com:5000/team/tollgate:v1.2.3-rc.1@sha256:abc"), Some("1.2.3-rc.1"));
        for unversioned in ["tollgate", "registry:5000/tollgate", "tollgate:latest", "tollgate:1.2", "tollgate@sha256:abc"] {
            assert_eq!(version_of(unversioned), None, "{unversioned}");
        }
    }
}
