//! All objects of a few kinds, followed, in one namespace or in all.
//!
//! An API server that goes away leaves what was last known.

use std::{pin::pin, sync::Arc};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, TypeMeta},
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher,
    },
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, warn};

use super::{
    ClusterError,
    watch::{api, ours, refusal},
};

/// A kind of our group, and the same as in paths.
pub type KindName = (&'static str, &'static str);

/// Objects, followed until this is dropped.
#[derive(Debug)]
pub struct Objects {
    lists: Vec<List>,
    learnt: watch::Receiver<u64>,
    _following: JoinSet<()>,
}

#[derive(Debug)]
struct List {
    plural: &'static str,
    objects: Store<DynamicObject>,
    state: watch::Receiver<State>,
}

/// What became of the first list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Listed,
    /// The API server does not list it for us: the status.
    Refused(u16, String),
}

impl Objects {
    /// Begins to follow.
    pub fn follow(client: &Client, version: &str, namespace: Option<&str>, kinds: &[KindName]) -> Self {
        let (learn, learnt) = watch::channel(0);
        let learn = Arc::new(learn);
        let mut following = JoinSet::new();
        let lists = kinds.iter().map(|(kind, plural)| {
            let resource = ours(version, kind, plural);
            let (writer, (states, state)) = (Writer::new(resource.clone()), watch::channel(State::Unknown));
            let list = List { plural, objects: writer.as_reader(), state };
            following.spawn(keep(api(client.clone(), namespace, &resource), resource, writer, states, Arc::clone(&learn)));
            list
        });
        Self { lists: lists.collect(), learnt, _following: following }
    }

    /// Waits until each kind was listed. A kind that is not served has no objects.
    ///
    /// # Errors
    /// When the API server does not list one of them for us: which, and why.
    pub async fn listed(&mut self) -> Result<(), (&'static str, ClusterError)> {
        for List { plural, state, .. } in &mut self.lists {
            let state = state.wait_for(|state| *state != State::Unknown).await.map(|state| state.clone());
            match state {
                Ok(State::Refused(status, error)) if status != 404 => return Err((plural, refused(status, error))),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until something may have changed.
    pub async fn changed(&mut self) {
        if self.learnt.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// All of them, as last seen.
    pub fn all(&self) -> Vec<Value> {
        let objects = self.lists.iter().flat_map(|list| list.objects.state());
        // An object that cannot be written as JSON counts as absent.
        objects.filter_map(|object| serde_json::to_value(&*object).ok()).collect()
    }
}

fn refused(status: u16, error: String) -> ClusterError {
    match status {
        403 => ClusterError::Forbidden(error),
        _ => ClusterError::Failed(error),
    }
}

async fn keep(
    api: Api<DynamicObject>,
    resource: ApiResource,
    writer: Writer<DynamicObject>,
    states: watch::Sender<State>,
    learn: Arc<watch::Sender<u64>>,
) {
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    let whole = move |object: &mut DynamicObject| {
        object.types.get_or_insert_with(|| types.clone());
        object.metadata.managed_fields = None;
    };
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff().modify(whole).reflect(writer));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
            Ok(watcher::Event::InitDone) => {
                states.send_replace(State::Listed);
            }
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {}
            Err(error) => {
                let status = refusal(&error).filter(|_| *states.borrow() == State::Unknown);
                match status {
                    Some(status) => {
                        warn!(kind = resource.kind, %error, "cannot be listed");
                        states.send_replace(State::Refused(status, error.to_string()));
                    }
                    None => debug!(kind = resource.kind, %error, "watch failed; trying again"),
                }
                continue;
            }
        }
        learn.send_modify(|learnt| *learnt += 1);
    }
}
