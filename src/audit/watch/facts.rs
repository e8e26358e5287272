//! The sign-in configs that servers refer to, followed. Secrets are not looked at: a process that stays should not be able to list them.

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
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, info, warn};

use super::{Scope, api, resource};
use crate::{
    audit::around::Around,
    config::{rules::References, subject::RefKind},
};

/// What is known of the configs.
#[derive(Debug)]
pub(super) struct Facts {
    lists: Vec<List>,
    /// Counts what was learnt; those who judged by less judge again.
    learnt: watch::Receiver<u64>,
}

/// The configs of one kind in one namespace, or in all.
struct List {
    kind: RefKind,
    namespace: Option<String>,
    resource: ApiResource,
    objects: Store<DynamicObject>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the list was had, or refused: until then nobody should judge.
    answered: AtomicBool,
    /// Whether the list is whole.
    complete: AtomicBool,
}

impl Facts {
    /// Begins to follow.
    pub(super) fn follow(client: &Client, scope: &Scope, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let (tell, learnt) = watch::channel(0);
        let kinds = [RefKind::OidcConfig, RefKind::ExternalAuthConfig];
        let all = kinds.into_iter().flat_map(|kind| scope.namespaces().map(move |namespace| (kind, namespace)));
        let lists = all.map(|(kind, namespace)| {
            let resource = resource(&scope.version, kind.name(), kind.plural());
            let writer = Writer::new(resource.clone());
            let state = Arc::new(State::default());
            let list = List {
                kind,
                namespace: namespace.map(str::to_owned),
                resource: resource.clone(),
                objects: writer.as_reader(),
                state: state.clone(),
            };
            tasks.spawn(keep(api(client.clone(), namespace, &resource), writer, kind, state, tell.clone()));
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

    fn list(&self, kind: RefKind, namespace: &str) -> Option<&List> {
        let covers = |list: &&List| list.kind == kind && list.namespace.as_deref().is_none_or(|of| of == namespace);
        self.lists.iter().find(covers).filter(|list| list.state.complete.load(Ordering::Acquire))
    }
}

async fn keep(api: Api<DynamicObject>, writer: Writer<DynamicObject>, kind: RefKind, state: Arc<State>, tell: watch::Sender<u64>) {
    let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
            Ok(watcher::Event::InitDone) => state.complete.store(true, Ordering::Release),
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {}
            Err(error) if is_refused(&error) && !state.answered.load(Ordering::Acquire) => {
                warn!(kind = kind.name(), %error, "cannot be listed: what refers to it is not judged");
            }
            // An API server that is away leaves what was last known: verdicts do not waver with it.
            Err(error) => {
                debug!(kind = kind.name(), %error, "watch failed; trying again");
                continue;
            }
        }
        if !state.answered.swap(true, Ordering::AcqRel) {
            info!(kind = kind.name(), known = state.complete.load(Ordering::Acquire), "following what limits refer to");
        }
        tell.send_modify(|learnt| *learnt += 1);
    }
}

/// Whether the API server answered, and will not list: no permission, or no such kind.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if [401, 403, 404].contains(&status.code))
}

impl References for Facts {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        let list = self.list(kind, namespace)?;
        Some(list.objects.get(&list.named(namespace, name)).is_some())
    }
}

impl Around for Facts {
    fn external_auth_type(&self, namespace: &str, name: &str) -> Option<String> {
        let list = self.list(RefKind::ExternalAuthConfig, namespace)?;
        let object = list.objects.get(&list.named(namespace, name))?;
        object.data.pointer("/spec/type")?.as_str().map(str::to_owned)
    }
}

impl List {
    fn named(&self, namespace: &str, name: &str) -> ObjectRef<DynamicObject> {
        ObjectRef::new_with(name, self.resource.clone()).within(namespace)
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("kind", &self.kind).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
