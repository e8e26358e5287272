//! Which sign-in configs and Secrets exist: watched by name, never read.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, DefaultBackoff, watcher},
    },
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::watch::{api, core, ours};
use crate::{
    model::{VERSIONS, subject::RefKind},
    rules::References,
};

/// How long after a list its watch may fail to start.
const SETTLED: Duration = Duration::from_secs(1);

/// Names that are known, by kind and by the namespace that is watched; the empty one stands for all.
pub struct KnownReferences(HashMap<(RefKind, String), Watched>);

struct Watched {
    resource: ApiResource,
    names: Store<PartialObjectMeta<DynamicObject>>,
    /// Whether the list is whole. Without permission it never is.
    complete: Arc<AtomicBool>,
}

/// Begins to watch.
pub fn follow(client: &Client, secrets_in: &[String], tasks: &mut JoinSet<()>) -> KnownReferences {
    let config = |kind: RefKind| ((kind, String::new()), ours(VERSIONS[0], kind.name(), kind.plural()));
    let configs = [config(RefKind::OidcConfig), config(RefKind::ExternalAuthConfig)];
    let secret = core(RefKind::Secret.name(), RefKind::Secret.plural());
    let secrets = secrets_in.iter().map(|namespace| ((RefKind::Secret, namespace.clone()), secret.clone()));
    let watched = configs.into_iter().chain(secrets).map(|(key, resource)| {
        let watched = watch(client, &key.1, resource, tasks);
        (key, watched)
    });
    KnownReferences(watched.collect())
}

fn watch(client: &Client, namespace: &str, resource: ApiResource, tasks: &mut JoinSet<()>) -> Watched {
    let api = api(client.clone(), Some(namespace).filter(|namespace| !namespace.is_empty()), &resource);
    let writer = Writer::new(resource.clone());
    let names = writer.as_reader();
    let complete = Arc::new(AtomicBool::new(false));
    tasks.spawn(keep(api, writer, Sight { resource: resource.plural.clone(), complete: complete.clone(), is_reported: false }));
    Watched { resource, names, complete }
}

/// Lists and watches without end. A watch that cannot be started (rights, or an API server that restarts) begins with a list again.
async fn keep(api: Api<PartialObjectMeta<DynamicObject>>, mut writer: Writer<PartialObjectMeta<DynamicObject>>, mut sight: Sight) {
    let mut pauses = DefaultBackoff::default();
    loop {
        let mut events = std::pin::pin!(watcher(api.clone(), watcher::Config::default()));
        let mut is_listed = false;
        loop {
            // That a watch has started is not an event: it is known by the first one, or by no error for a moment.
            let event = if is_listed && !sight.is_whole() { timeout(SETTLED, events.next()).await } else { Ok(events.next().await) };
            match event {
                Err(_) => sight.gained(),
                Ok(None) => break,
                Ok(Some(Ok(event))) => {
                    writer.apply_watcher_event(&event);
                    match event {
                        watcher::Event::InitDone => is_listed = true,
                        watcher::Event::Apply(_) | watcher::Event::Delete(_) => sight.gained(),
                        watcher::Event::Init | watcher::Event::InitApply(_) => {}
                    }
                }
                Ok(Some(Err(error))) => {
                    debug!(resource = sight.resource, %error, "watch failed; trying again");
                    let begins_anew = sight.failed(&error);
                    sleep(pauses.next().unwrap_or_default()).await;
                    if begins_anew {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether the names of a resource are all known, and what was logged about it.
struct Sight {
    resource: String,
    complete: Arc<AtomicBool>,
    is_reported: bool,
}

impl Sight {
    fn is_whole(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    fn gained(&mut self) {
        if !self.complete.swap(true, Ordering::AcqRel) {
            self.is_reported = false;
            info!(resource = self.resource, "watching what limits refer to");
        }
    }

    /// A list or a watch that could not be had says nothing about what exists; whether it was one.
    fn failed(&mut self, error: &watcher::Error) -> bool {
        let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else { return false };
        if self.complete.swap(false, Ordering::AcqRel) {
            info!(resource = self.resource, "lost sight of what limits refer to");
        }
        match cause {
            // A kind that is not installed is not a problem, and an unavailable cluster is reported elsewhere.
            kube::Error::Api(status) if status.code != 404 && !std::mem::replace(&mut self.is_reported, true) => {
                warn!(resource = self.resource, %error, "cannot watch what limits refer to: TG106 does not report it until that works");
            }
            _ => {}
        }
        true
    }
}

impl References for KnownReferences {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        let watched = self.0.get(&(kind, String::new())).or_else(|| self.0.get(&(kind, namespace.to_owned())))?;
        let object = ObjectRef::new_with(name, watched.resource.clone()).within(namespace);
        watched.complete.load(Ordering::Acquire).then(|| watched.names.get(&object).is_some())
    }
}

impl fmt::Debug for KnownReferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
