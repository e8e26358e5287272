//! ToolHive's operator: is it at work, in which version, and is what would be stored what it reads?
//!
//! Its proxies enforce what it renders, and as published it renders `shared` only. It is seen by its finalizers on objects, and by its
//! Deployment, which has an image or a variable that nothing else has.

use serde_json::{Value, json};

use super::{
    report::Notes,
    workload::{Workload, Workloads, version_of},
};
use crate::{
    cluster::{
        Cluster, ClusterError,
        list::{Pages, Resource, newest_version},
        operator::kinds,
        request::{items, text},
    },
    model::{
        GROUP,
        operator::is_operators,
        subject::{Kind, ScopeKey},
    },
};

const CHECK: &str = "operator";
/// Objects of a page.
const LIMIT: u16 = 500;
/// The newest version of which it is known that it does not read `global`.
const NEWEST_KNOWN: [u32; 3] = [0, 63, 0];
/// Set for the operator's own container, whatever its image is called.
const MARK: &str = "TOOLHIVE_RUNNER_IMAGE";
const FLAG: &str = "--toolhive-reads-global";

/// Where dry-run creates are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    pub(super) namespace: &'a str,
    pub(super) version: &'a str,
}

/// What there is of the operator.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// An object with its finalizer.
    on: Option<String>,
    /// How many objects were looked at.
    objects: usize,
    deployments: Vec<Deployed>,
    /// What could not be listed, why, and what to grant.
    unread: Vec<(ClusterError, &'static str)>,
}

#[derive(Debug)]
struct Deployed {
    /// `namespace/name`
    at: String,
    image: String,
    is_scaled_down: bool,
}

impl Seen {
    /// Looks for the operator, as far as lists may be read.
    pub(super) async fn of(cluster: &Cluster) -> Self {
        let mut seen = Self::default();
        // Where nothing of the group is served, or that cannot be asked, the look at the CRDs says so.
        if let Ok(Some(version)) = newest_version(&cluster.client).await {
            seen.finalizers(cluster, version).await;
            seen.deployments(cluster).await;
        }
        seen
    }

    /// Whether it renders what objects hold.
    pub(super) fn is_at_work(&self) -> bool {
        self.on.is_some() || self.deployments.iter().any(|deployed| !deployed.is_scaled_down)
    }

    /// Reports whether it is at work; where it is and a webhook is installed, also what manifests would be stored as.
    pub(super) async fn look(&self, cluster: &Cluster, probe: Option<Probe<'_>>, workloads: &Workloads, notes: &mut Notes) {
        if !self.is_at_work() {
            return self.absent(notes);
        }
        notes.ok(CHECK, format!("ToolHive's operator is at work: {}", self.shown()));
        let is_assumed = workloads.values().any(Workload::says_that_toolhive_reads_global);
        if self.judge_reading(is_assumed, notes)
            && let Some(probe) = probe
        {
            probe.look(cluster, notes).await;
        }
    }

    /// What it reads; whether `shared` has to be there.
    fn judge_reading(&self, is_assumed: bool, notes: &mut Notes) -> bool {
        let running = self.deployments.iter().filter(|deployed| !deployed.is_scaled_down);
        let versions: Vec<_> = running.map(|deployed| version_of(&deployed.image).and_then(numbers)).collect();
        let is_old = versions.iter().flatten().any(|version| *version <= NEWEST_KNOWN);
        let is_newer = !versions.is_empty() && versions.iter().all(|version| version.is_some_and(|version| version > NEWEST_KNOWN));
        let newest = NEWEST_KNOWN.map(|number| number.to_string()).join(".");
        match (is_assumed, is_old, is_newer) {
            (true, true, _) => notes.problem(
                CHECK,
                format!(
                    "tollgate serve assumes that it reads global ({FLAG}), and no version up to {newest} does: it enforces no such limit"
                ),
                format!("remove {FLAG}, or upgrade ToolHive's operator to a version that reads global"),
            ),
            (true, false, _) => notes.ok(CHECK, format!("tollgate serve assumes that it reads global ({FLAG})")),
            (false, _, true) => {
                let says = format!("no version up to {newest} reads global; if this one does, {FLAG} lets --shared-alias auto rename");
                notes.ok(CHECK, says);
            }
            (false, _, false) => {
                let follows = "--shared-alias auto and mirror keep shared beside global";
                notes.ok(CHECK, format!("it does not read global, as no version up to {newest}: {follows}"));
            }
        }
        !is_assumed
    }

    /// Until the first finalizer.
    async fn finalizers(&mut self, cluster: &Cluster, version: &str) {
        let api = format!("/apis/{GROUP}/{version}");
        for (kind, plural) in kinds() {
            let resource = Resource { api: &api, plural, namespace: None, names_only: true, labels: "" };
            let mut pages = Pages::of(&cluster.client, resource, LIMIT);
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        self.objects += page.len();
                        self.on = page.iter().find_map(|object| finalizer_on(kind, object));
                    }
                    Ok(None) | Err(ClusterError::Absent(_)) => break,
                    Err(trouble) => {
                        self.unread.push((trouble, plural));
                        break;
                    }
                }
                if self.on.is_some() {
                    return;
                }
            }
        }
    }

    async fn deployments(&mut self, cluster: &Cluster) {
        let resource = Resource { api: "/apis/apps/v1", plural: "deployments", namespace: None, names_only: false, labels: "" };
        let mut pages = Pages::of(&cluster.client, resource, LIMIT);
        loop {
            match pages.next().await {
                Ok(Some(page)) => self.deployments.extend(page.iter().filter_map(Deployed::read)),
                Ok(None) => return,
                Err(trouble) => return self.unread.push((trouble, "deployments")),
            }
        }
    }

    /// How it is seen. A finalizer alone may have outlived it.
    fn shown(&self) -> String {
        let mut shown: Vec<_> = self.deployments.iter().map(Deployed::shown).collect();
        shown.extend(self.on.iter().map(|on| format!("{on} has its finalizer")));
        let is_unread = self.unread.iter().any(|(_, what)| *what == "deployments");
        shown.extend(is_unread.then(|| "its Deployment may not be read".to_owned()));
        shown.join(", ")
    }

    fn absent(&self, notes: &mut Notes) {
        for (trouble, what) in &self.unread {
            notes.unknown(CHECK, format!("whether ToolHive's operator is at work: {trouble}"), format!("grant list on {what}"));
        }
        if self.unread.is_empty() {
            let objects = self.objects;
            notes.ok(
                CHECK,
                format!("ToolHive's operator is not at work: no Deployment of it, and its finalizer on none of {objects} objects"),
            );
        }
    }
}

/// `kind namespace/name`, where an object has a finalizer of the operator's.
fn finalizer_on(kind: &str, object: &Value) -> Option<String> {
    let has_one = items(object, "/metadata/finalizers").iter().filter_map(Value::as_str).any(is_operators);
    has_one.then(|| format!("{kind} {}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name")))
}

impl Deployed {
    fn read(deployment: &Value) -> Option<Self> {
        let containers = items(deployment, "/spec/template/spec/containers");
        let ours = containers.iter().find(|container| {
            let has_mark = items(container, "/env").iter().any(|variable| text(variable, "/name") == MARK);
            has_mark || repository(text(container, "/image")).ends_with("/toolhive/operator")
        })?;
        Some(Self {
            at: format!("{}/{}", text(deployment, "/metadata/namespace"), text(deployment, "/metadata/name")),
            image: text(ours, "/image").to_owned(),
            is_scaled_down: deployment.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0),
        })
    }

    fn shown(&self) -> String {
        let Self { at, image, is_scaled_down } = self;
        let version = version_of(image).map(|version| format!(", version {version}")).unwrap_or_default();
        let of = if *is_scaled_down { "is scaled to 0, of" } else { "runs" };
        format!("Deployment {at} {of} {image}{version}")
    }
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let tag = name.rfind('/').map_or(0, |at| at + 1);
    let colon = name.get(tag..).and_then(|last| last.find(':')).map(|at| at + tag);
    colon.and_then(|colon| name.get(..colon)).unwrap_or(name)
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Vec<_> = version.split(['-', '+']).next()?.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

impl Probe<'_> {
    /// By dry-run creates: would a manifest be stored with a name that the operator reads?
    async fn look(self, cluster: &Cluster, notes: &mut Notes) {
        let mut well = Vec::new();
        for scope in [ScopeKey::Shared, ScopeKey::Global] {
            let key = scope.key();
            match self.stored(cluster, scope).await {
                Some(stored) if stored.get(ScopeKey::Shared.key()).is_some() => well.push(key),
                Some(stored) if stored.get(ScopeKey::Global.key()).is_some() => {
                    let says =
                        format!("a manifest that says {key} is stored as global alone: ToolHive's operator would not enforce its limit");
                    notes.problem(
                        CHECK,
                        says,
                        "run tollgate serve with --shared-alias auto or mirror, and find what is stored already by tollgate audit",
                    );
                }
                // Refused, or dropped by the CRD: the other checks report that.
                _ => {}
            }
        }
        if !well.is_empty() {
            notes.ok(CHECK, format!("a manifest that says {} is stored with shared, which it reads", well.join(" or ")));
        }
    }

    /// The limits of a server as they would be stored.
    async fn stored(self, cluster: &Cluster, scope: ScopeKey) -> Option<Value> {
        let path = format!(
            "/apis/{GROUP}/{}/namespaces/{}/{}?dryRun=All&fieldManager=tollgate-doctor&fieldValidation=Ignore",
            self.version,
            self.namespace,
            Kind::McpServer.plural()
        );
        let object = json!({
            "apiVersion": format!("{GROUP}/{}", self.version), "kind": Kind::McpServer.name(), "metadata": {"generateName": "tollgate-doctor-"},
            "spec": {
                "image": "tollgate.invalid/doctor", "transport": "streamable-http",
                "sessionStorage": {"provider": "redis", "address": "tollgate-doctor.invalid:6379"},
                "rateLimiting": {scope.key(): {"maxTokens": 1, "refillPeriod": "1m0s"}},
            },
        });
        let answer = cluster.create(&path, &object).await.ok().filter(|answer| (200..300).contains(&answer.code))?;
        answer.body.pointer("/spec/rateLimiting").cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_split() {
        let cases = [
            ("ghcr.io/stacklok/toolhive/operator:v0.44.0", "ghcr.io/stacklok/toolhive/operator"),
            ("mirror:5000/toolhive/operator", "mirror:5000/toolhive/operator"),
            ("mirror:5000/toolhive/operator:v1@sha256:abc", "mirror:5000/toolhive/operator"),
            ("operator:1", "operator"),
        ];
        for (image, name) in cases {
            assert_eq!(repository(image), name, "{image}");
        }
        assert_eq!(numbers("0.44.0"), Some([0, 44, 0]));
        assert!(numbers("0.64.0-rc.1") > Some(NEWEST_KNOWN) && numbers("0.9.1") < Some(NEWEST_KNOWN));
        assert_eq!(numbers("1.2"), None);
    }

    #[test]
    fn a_deployment_is_known_by_image_or_variable() {
        let deployment = |container: Value, replicas: u64| {
            json!({
                "metadata": {"namespace": "t", "name": "d"},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": "sidecar"}, container]}}},
            })
        };
        let read = |container: Value| Deployed::read(&deployment(container, 1)).map(|deployed| deployed.shown());
        let by_image = read(json!({"image": "ghcr.io/stacklok/toolhive/operator:v0.44.0"}));
        assert_eq!(by_image.as_deref(), Some("Deployment t/d runs ghcr.io/stacklok/toolhive/operator:v0.44.0, version 0.44.0"));
        let by_mark = read(json!({"image": "corp/thv@sha256:abc", "env": [{"name": "TOOLHIVE_RUNNER_IMAGE", "value": "x"}]}));
        assert_eq!(by_mark.as_deref(), Some("Deployment t/d runs corp/thv@sha256:abc"));
        assert_eq!(read(json!({"image": "ghcr.io/stacklok/toolhive/proxyrunner:v0.44.0"})), None);
        let down = Deployed::read(&deployment(json!({"image": "x/toolhive/operator"}), 0));
        assert!(down.is_some_and(|deployed| deployed.is_scaled_down));
    }
}
