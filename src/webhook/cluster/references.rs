//! Which sign-in configs and Secrets exist: watched by name, never read.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use tokio::task::JoinSet;
use tracing::{debug, info};

use crate::config::{GROUP, VERSIONS, rules::References, subject::RefKind};

/// Names that are known, by kind and by the namespace that is watched; the empty one stands for all.
pub(super) struct Known(HashMap<(RefKind, String), Watched>);

struct Watched {
    resource: ApiResource,
    names: Store<PartialObjectMeta<DynamicObject>>,
    /// Whether the list is whole. Without permission it never is.
    complete: Arc<AtomicBool>,
}

/// Begins to watch.
pub(super) fn follow(client: &Client, secrets_in: &[String], tasks: &mut JoinSet<()>) -> Known {
    let ours = |kind: RefKind| {
        let gvk = GroupVersionKind::gvk(GROUP, VERSIONS[0], kind.name());
        ((kind, String::new()), ApiResource::from_gvk_with_plural(&gvk, kind.plural()))
    };
    let configs = [ours(RefKind::OidcConfig), ours(RefKind::ExternalAuthConfig)];
    let secret = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", RefKind::Secret.name()), RefKind::Secret.plural());
    let secrets = secrets_in.iter().map(|namespace| ((RefKind::Secret, namespace.clone()), secret.clone()));
    let watched = configs.into_iter().chain(secrets).map(|(key, resource)| {
        let watched = watch(client, &key.1, resource, tasks);
        (key, watched)
    });
    Known(watched.collect())
}

fn watch(client: &Client, namespace: &str, resource: ApiResource, tasks: &mut JoinSet<()>) -> Watched {
    let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let writer = Writer::new(resource.clone());
    let names = writer.as_reader();
    let complete = Arc::new(AtomicBool::new(false));
    let (plural, is_complete) = (resource.plural.clone(), complete.clone());
    tasks.spawn(async move {
        let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::InitDone) => {
                    if !is_complete.swap(true, Ordering::AcqRel) {
                        info!(resource = plural, "watching what limits refer to");
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // A list that could not be had, or was lost, says nothing about what exists.
                    let lost = matches!(error, watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_));
                    if lost && is_complete.swap(false, Ordering::AcqRel) {
                        info!(resource = plural, "lost sight of what limits refer to");
                    }
                    debug!(resource = plural, %error, "watch failed; trying again");
                }
            }
        }
    });
    Watched { resource, names, complete }
}

impl References for Known {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        let watched = self.0.get(&(kind, String::new())).or_else(|| self.0.get(&(kind, namespace.to_owned())))?;
        let object = ObjectRef::new_with(name, watched.resource.clone()).within(namespace);
        watched.complete.load(Ordering::Acquire).then(|| watched.names.get(&object).is_some())
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
