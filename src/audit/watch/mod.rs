//! `tollgate audit --watch`: a small controller that judges objects whenever they, or what they refer to, change.
//!
//! It follows lists (no polling), exports what it finds as metrics, and on request maintains the condition `RateLimitConfigValid` of each
//! object by server-side apply of the status subresource. Replicas need no leader:
//!
//! - a verdict depends on the object and its neighbours alone, so that replicas of one version agree;
//! - nothing is written that stands already;
//! - a write names the resourceVersion that was judged: of two replicas one writes, the other is refused and finds the condition done;
//! - a write is not forced. Where another manager (ToolHive's operator writes the same condition of `MCPServer`) owns it with another value,
//!   it stays theirs: two controllers that overrule each other would never rest. Such writes are counted.
//!
//! | file | what lives there |
//! |---|---|
//! | [`condition`] | what the condition should say |
//! | `facts` | the sign-in configs, and what ToolHive's operator rendered, followed |
//! | `counts` | metrics |

pub mod condition;
mod counts;
mod facts;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{
        controller::{Action, Config, Controller},
        reflector::Store,
        watcher,
    },
};
use serde_json::json;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::{condition::Validity, counts::Counts, facts::Facts};
use super::judge;
use crate::{
    cluster::watch::{api, ours},
    model::subject::{Kind, Subject},
    server::{
        BindError, ConnectionLimits, Life, Listener, closing,
        operations::{Check, router},
    },
};

/// The field manager of the conditions, the same for all replicas.
pub const MANAGER: &str = "tollgate-audit";

/// Objects judged, and conditions written, at once.
const CONCURRENCY: u16 = 4;
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Clone, Debug)]
pub struct WatchScope {
    /// The served version of our group by which objects are read.
    pub version: String,
    /// Only these namespaces; none stands for all.
    pub namespaces: Vec<String>,
}

impl WatchScope {
    /// Each namespace to watch; `None` for all at once.
    fn namespaces(&self) -> impl Iterator<Item = Option<&str>> {
        let all = self.namespaces.is_empty().then_some(None);
        all.into_iter().chain(self.namespaces.iter().map(|namespace| Some(namespace.as_str())))
    }
}

/// A watch that is bound and not yet running.
#[derive(Debug)]
pub struct Watch {
    scope: WatchScope,
    writes_conditions: bool,
    operations: Listener,
}

impl Watch {
    /// Binds the socket of `/healthz`, `/readyz` and `/metrics`.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn bind(scope: WatchScope, writes_conditions: bool, metrics_listen: SocketAddr) -> Result<Self, BindError> {
        let operations = Listener::bind(metrics_listen, None, ConnectionLimits::default()).await?;
        Ok(Self { scope, writes_conditions, operations })
    }

    /// Where the metrics are.
    pub fn address(&self) -> SocketAddr {
        self.operations.address()
    }

    /// Watches until `shutdown` resolves; writes under way are finished.
    pub async fn run(self, client: Client, shutdown: impl Future<Output = ()>) {
        let life = Life::new(None);
        let mut tasks = JoinSet::new();
        let facts = Facts::follow(&client, &self.scope, &mut tasks);
        let counts = Arc::new(Counts::new());
        let (mut stores, mut controllers) = (Vec::new(), JoinSet::new());
        for (kind, namespace) in Kind::ALL.into_iter().flat_map(|kind| self.scope.namespaces().map(move |namespace| (kind, namespace))) {
            let resource = ours(&self.scope.version, kind.name(), kind.plural());
            let api = api(client.clone(), namespace, &resource);
            let mut phase = life.phase();
            let controller = Controller::new_with(api, watcher::Config::default(), resource.clone())
                .with_config(Config::default().concurrency(CONCURRENCY))
                .reconcile_all_on(facts.changes())
                .graceful_shutdown_on(async move { closing(&mut phase).await });
            stores.push((kind, controller.store()));
            let (facts, counts, client) = (facts.clone(), counts.clone(), client.clone());
            let look = Arc::new(Look { kind, resource, client, facts, counts, writes_conditions: self.writes_conditions });
            controllers.spawn(async move {
                // Who judges by half the facts takes back what he wrote.
                look.facts.answered().await;
                controller.run(reconcile, retry, look).for_each(|result| async move { log(result) }).await;
            });
        }
        let stores = Arc::new(stores);
        let listed = stores.clone();
        let endpoints = router(move || vec![check(&listed)], move || counts.encode(&stores));
        let mut phase = life.phase();
        let work = async move {
            closing(&mut phase).await;
            tasks.shutdown().await;
            let _ = tokio::time::timeout(RETRY, async { while controllers.join_next().await.is_some() {} }).await;
            controllers.shutdown().await;
        };
        life.run(work, self.operations, endpoints, shutdown).await;
    }
}

/// How one kind is looked at.
struct Look {
    kind: Kind,
    resource: ApiResource,
    client: Client,
    facts: Arc<Facts>,
    counts: Arc<Counts>,
    writes_conditions: bool,
}

async fn reconcile(object: Arc<DynamicObject>, look: Arc<Look>) -> Result<Action, kube::Error> {
    let value = serde_json::to_value(&*object).map_err(kube::Error::SerdeError)?;
    let subject = Subject::new(look.kind, &value);
    let findings = judge(subject, &*look.facts);
    let verdict = Validity::of(subject, &findings);
    look.counts.judged(look.kind, &object, &verdict, &findings);
    let writes = look.writes_conditions && object.metadata.deletion_timestamp.is_none();
    if let Some(condition) = verdict.due(&value, Timestamp::now()).filter(|_| writes) {
        look.write(&object, &json!(condition)).await?;
    }
    Ok(Action::await_change())
}

impl Look {
    async fn write(&self, object: &DynamicObject, condition: &serde_json::Value) -> Result<(), kube::Error> {
        let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref().unwrap_or_default());
        let patch = json!({
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": object.metadata.resource_version},
            "status": {"conditions": [condition]},
        });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api: Api<DynamicObject> = api(self.client.clone(), namespace, &self.resource);
        let written = api.patch_status(name, &params, &Patch::Apply(&patch)).await;
        let result = match &written {
            Ok(_) => "written",
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let mut causes = status.details.iter().flat_map(|details| &details.causes);
                match causes.find(|cause| cause.reason == "FieldManagerConflict") {
                    Some(cause) => {
                        debug!(
                            kind = self.kind.name(),
                            namespace, name, cause.message, "another manager owns the condition; leaving it unchanged"
                        );
                        "foreign"
                    }
                    // A newer object is on its way here.
                    None => "outdated",
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => "gone",
            Err(_) => "failed",
        };
        self.counts.wrote(result);
        if result == "failed" { written.map(drop) } else { Ok(()) }
    }
}

fn retry(_: Arc<DynamicObject>, error: &kube::Error, look: Arc<Look>) -> Action {
    warn!(kind = look.kind.name(), %error, "cannot write a condition; trying again");
    Action::requeue(RETRY)
}

/// Errors of a watch repeat themselves, at the pace of its backoff.
fn log<T, Q: std::error::Error + 'static>(result: Result<T, kube::runtime::controller::Error<kube::Error, Q>>) {
    match result {
        Ok(_) | Err(kube::runtime::controller::Error::ObjectNotFound(_) | kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => warn!(%error, "watch failed; trying again"),
    }
}

type Stores = Vec<(Kind, Store<DynamicObject>)>;

/// Whether every list was read.
fn check(stores: &Stores) -> Check {
    let unlisted = stores.iter().find(|(_, store)| store.wait_until_ready().now_or_never().is_none());
    match unlisted {
        None => Check::new("every list was read", true),
        Some((kind, _)) => Check::new(format!("{} not listed yet", kind.plural()), false),
    }
}
