//! One object of the cluster, followed: what is known of it, and whether it is still so. And what every watch names: resources and APIs.
//!
//! Where a watch breaks, the object is listed afresh: API servers end watches as they like, so only a list that fails says that the
//! cluster is unreachable, and one that succeeds that it is back. Lists and watches carry the object's name as a field selector, which is what
//! lets RBAC grant them by `resourceNames`.

use std::{fmt, pin::Pin};

use futures_util::{Stream, StreamExt};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::DynamicResourceScope,
    runtime::watcher::{self, DefaultBackoff, watch_object},
};
use serde_json::Value;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::ClusterError;
use crate::model::GROUP;

/// Which object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectKey<'a> {
    /// The version of our group by which it is read.
    pub version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The kind as in paths.
    pub plural: &'a str,
    /// Where it is.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

type News = Pin<Box<dyn Stream<Item = Result<Option<DynamicObject>, watcher::Error>> + Send>>;

/// An object that was there.
pub struct WatchedObject {
    /// As last seen.
    pub value: Value,
    /// `KIND NAMESPACE/NAME`
    pub label: String,
    /// Where it is.
    pub namespace: String,
    api: Api<DynamicObject>,
    name: String,
    /// `None` after a failure, until the next try.
    news: Option<News>,
    pauses: DefaultBackoff,
    is_deleted: bool,
    is_lost: bool,
}

impl WatchedObject {
    /// Starts following; `None` if the object or its kind does not exist.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn begin(client: Client, key: ObjectKey<'_>) -> Result<Option<Self>, ClusterError> {
        let ObjectKey { version, kind, plural, namespace, name } = key;
        let api = Api::namespaced_with(client, namespace, &ours(version, kind, plural));
        let mut news = news(&api, name);
        let found = match news.next().await.transpose().map_err(refused) {
            Err(ClusterError::Absent(_)) => None,
            found => found?.flatten(),
        };
        Ok(found.map(|object| Self {
            value: json(&object),
            label: format!("{kind} {namespace}/{name}"),
            namespace: namespace.to_owned(),
            api,
            name: name.to_owned(),
            news: Some(news),
            pauses: DefaultBackoff::default(),
            is_deleted: false,
            is_lost: false,
        }))
    }

    /// Waits until the object, or whether it can be read, may have changed. One that is deleted, or cannot be read, keeps its last state; that
    /// is logged once.
    pub async fn changed(&mut self) {
        loop {
            match self.next().await {
                Ok(found) => {
                    let was_current = self.is_current();
                    if std::mem::take(&mut self.is_lost) {
                        info!(object = self.label, "seen in the cluster again");
                    }
                    if self.is_there(found) || self.is_current() != was_current {
                        return;
                    }
                }
                Err(error @ watcher::Error::InitialListFailed(_)) => {
                    if !std::mem::replace(&mut self.is_lost, true) {
                        let error = refused(error);
                        warn!(object = self.label, %error, "cannot read the object in the cluster; keeping its last state");
                        return;
                    }
                }
                Err(error) => debug!(object = self.label, %error, "watch failed; trying again"),
            }
        }
    }

    /// Whether the object exists and can be read, so that the last state is the present one.
    pub fn is_current(&self) -> bool {
        !self.is_deleted && !self.is_lost
    }

    /// What the cluster says next. May be dropped and called again.
    async fn next(&mut self) -> Result<Option<DynamicObject>, watcher::Error> {
        if self.news.is_none() {
            sleep(self.pauses.next().unwrap_or_default()).await;
        }
        let news = self.news.get_or_insert_with(|| news(&self.api, &self.name));
        let next = news.next().await.transpose();
        if !matches!(next, Ok(Some(_))) {
            self.news = None;
        }
        next.map(Option::flatten)
    }

    /// Takes what was found, if anything was.
    fn is_there(&mut self, found: Option<DynamicObject>) -> bool {
        match found {
            Some(object) => {
                if std::mem::take(&mut self.is_deleted) {
                    info!(object = self.label, "in the cluster again");
                }
                self.value = json(&object);
                true
            }
            None => {
                if !std::mem::replace(&mut self.is_deleted, true) {
                    warn!(object = self.label, "deleted in the cluster; keeping its last state");
                }
                false
            }
        }
    }
}

impl fmt::Debug for WatchedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedObject").field("label", &self.label).finish_non_exhaustive()
    }
}

/// A kind of our group.
pub fn ours(version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, version, kind), plural)
}

/// A kind of webhook configurations.
pub fn webhook_configurations(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind), plural)
}

/// A kind of Kubernetes itself.
pub fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}

/// The objects of a kind: in one namespace, or in all.
pub fn api<K>(client: Client, namespace: Option<&str>, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

/// The status by which the API server refuses to list or to watch; `None` for any other error.
pub fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            Some(status.code)
        }
        _ => None,
    }
}

fn news(api: &Api<DynamicObject>, name: &str) -> News {
    Box::pin(watch_object(api.clone(), name))
}

pub(super) fn refused(error: watcher::Error) -> ClusterError {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => error.into(),
        error => ClusterError::Failed(error.to_string()),
    }
}

/// An object that is not JSON counts as missing.
fn json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
