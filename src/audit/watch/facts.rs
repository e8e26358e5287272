//! The sign-in configs that servers refer to, and what ToolHive's operator rendered for them, followed. Secrets are not looked at: a
//! process that stays should not be able to list them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{Stream, StreamExt, stream::unfold};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::Deserialize;
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, info, warn};

use super::WatchScope;
use crate::{
    audit::{
        Around,
        rendered::{Of, Rendered, SELECTOR},
    },
    cluster::watch::{api, core, ours},
    model::subject::RefKind,
    rules::References,
};

/// What is known of the configs and of what was rendered.
#[derive(Debug)]
pub(super) struct Facts {
    lists: Vec<List>,
    /// Counts what was learnt; those who judged by less judge again.
    learnt: watch::Receiver<u64>,
}

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Sign-in configs.
    Configs(RefKind),
    /// ConfigMaps of ToolHive's operator, each reduced to the limits in it.
    Rendered,
}

/// The objects of one kind in one namespace, or in all.
struct List {
    what: What,
    namespace: Option<String>,
    resource: ApiResource,
    objects: Store<DynamicObject>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the list was received, or refused: until then no object should be checked.
    answered: AtomicBool,
    /// Whether the list is whole.
    complete: AtomicBool,
}

impl Facts {
    /// Begins to follow.
    pub(super) fn follow(client: &Client, scope: &WatchScope, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let (news, learnt) = watch::channel(0);
        let all = What::ALL.into_iter().flat_map(|what| scope.namespaces().map(move |namespace| (what, namespace)));
        let lists = all.map(|(what, namespace)| {
            let resource = what.resource(&scope.version);
            let writer = Writer::new(resource.clone());
            let state = Arc::new(State::default());
            let list = List {
                what,
                namespace: namespace.map(str::to_owned),
                resource: resource.clone(),
                objects: writer.as_reader(),
                state: state.clone(),
            };
            tasks.spawn(keep(api(client.clone(), namespace, &resource), writer, what, state, news.clone()));
            list
        });
        Arc::new(Self { lists: lists.collect(), learnt })
    }

    /// Waits until each list was had or refused.
    pub(super) async fn answered(&self) {
        let all = |_: &u64| self.lists.iter().all(|list| list.state.answered.load(Ordering::Acquire));
        // The tellers go only when everything ends.
        let _ = self.learnt.clone().wait_for(all).await;
    }

    /// Yields whenever something was learnt.
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        unfold(self.learnt.clone(), |mut learnt| async move {
            learnt.changed().await.ok()?;
            Some(((), learnt))
        })
    }

    fn list(&self, what: What, namespace: &str) -> Option<&List> {
        let covers = |list: &&List| list.what == what && list.namespace.as_deref().is_none_or(|of| of == namespace);
        self.lists.iter().find(covers).filter(|list| list.state.complete.load(Ordering::Acquire))
    }
}

impl What {
    const ALL: [Self; 3] = [Self::Configs(RefKind::OidcConfig), Self::Configs(RefKind::ExternalAuthConfig), Self::Rendered];

    fn resource(self, version: &str) -> ApiResource {
        match self {
            Self::Configs(kind) => ours(version, kind.name(), kind.plural()),
            Self::Rendered => core("ConfigMap", "configmaps"),
        }
    }

    fn selection(self) -> watcher::Config {
        match self {
            Self::Configs(_) => watcher::Config::default(),
            Self::Rendered => watcher::Config::default().labels(SELECTOR),
        }
    }

    /// What cannot be done without the list.
    fn without(self) -> &'static str {
        match self {
            Self::Configs(_) => "what refers to it is not judged",
            Self::Rendered => "limits are not compared with what is enforced",
        }
    }

    /// Keeps no more of an object than is asked for.
    fn reduce(self, object: &mut DynamicObject) {
        if self == Self::Rendered {
            let rendered = serde_json::to_value(&*object).ok().and_then(|config_map| Rendered::read(&config_map));
            object.data = serde_json::to_value(rendered.map(|(_, rendered)| rendered)).unwrap_or_default();
            object.metadata.annotations = None;
        }
        object.metadata.managed_fields = None;
    }
}

async fn keep(api: Api<DynamicObject>, writer: Writer<DynamicObject>, what: What, state: Arc<State>, news: watch::Sender<u64>) {
    let events = watcher(api, what.selection()).default_backoff().modify(move |object| what.reduce(object)).reflect(writer);
    let kind = match what {
        What::Configs(kind) => kind.name(),
        What::Rendered => "ConfigMap",
    };
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
            Ok(watcher::Event::InitDone) => state.complete.store(true, Ordering::Release),
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {}
            Err(error) if is_refused(&error) && !state.answered.load(Ordering::Acquire) => {
                warn!(kind, %error, "cannot be listed: {}", what.without());
            }
            // While the API server is unavailable, what was last known stays in use, so that verdicts do not waver.
            Err(error) => {
                debug!(kind, %error, "watch failed; trying again");
                continue;
            }
        }
        if !state.answered.swap(true, Ordering::AcqRel) {
            info!(kind, known = state.complete.load(Ordering::Acquire), "following what limits refer to");
        }
        news.send_modify(|learnt| *learnt += 1);
    }
}

/// Whether the API server answered, and will not list: no permission, or no such kind.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if [401, 403, 404].contains(&status.code))
}

impl References for Facts {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        let list = self.list(What::Configs(kind), namespace)?;
        Some(list.objects.get(&list.named(namespace, name)).is_some())
    }
}

impl Around for Facts {
    fn external_auth_type(&self, namespace: &str, name: &str) -> Option<String> {
        let list = self.list(What::Configs(RefKind::ExternalAuthConfig), namespace)?;
        let object = list.objects.get(&list.named(namespace, name))?;
        object.data.pointer("/spec/type")?.as_str().map(str::to_owned)
    }

    fn rendered(&self, of: &Of) -> Option<Rendered> {
        let list = self.list(What::Rendered, &of.namespace)?;
        let object = list.objects.get(&list.named(&of.namespace, &of.config_map()))?;
        Rendered::deserialize(&object.data).ok()
    }
}

impl List {
    fn named(&self, namespace: &str, name: &str) -> ObjectRef<DynamicObject> {
        ObjectRef::new_with(name, self.resource.clone()).within(namespace)
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("what", &self.what).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
