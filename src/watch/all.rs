//! All servers of a namespace, or of the whole cluster, watched.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{DEADLINE, WatchError, api_servers};
use crate::{
    cluster::{Access, list::newest_version, objects::Objects},
    manifest::server::{LimitedServer, LimitedServerError},
    model::subject::{Kind, RefKind},
};

/// Changes that come together are read together.
const PAUSE: Duration = Duration::from_millis(50);

/// The servers of a cluster, watched.
#[derive(Debug)]
pub struct AllServers {
    objects: Objects,
    /// The cluster's API server, by the names that it goes by.
    pub api_servers: Vec<String>,
}

/// A server: its object's label, and what was read.
pub type ServerRead = (String, Result<LimitedServer, LimitedServerError>);

/// Finds all servers of a namespace, or of all, and watches them and what says how their callers sign in.
///
/// # Errors
/// When they cannot be listed.
pub async fn all(namespace: Option<&str>, access: &Access) -> Result<AllServers, WatchError> {
    let cluster = access.find()?;
    let api_servers = api_servers(&cluster.config.cluster_url);
    let client = cluster.client()?;
    let found = async {
        let version = newest_version(&client).await.map_err(WatchError::Versions)?.ok_or(WatchError::NotServed)?;
        let kinds = Kind::ALL.map(|kind| (kind.name(), kind.plural()));
        let kinds = [&kinds[..], &[(RefKind::OidcConfig.name(), RefKind::OidcConfig.plural())]].concat();
        let mut objects = Objects::follow(&client, version, namespace, &kinds);
        objects.listed().await.map_err(|(plural, error)| WatchError::Unreadable { plural, error })?;
        Ok::<_, WatchError>(objects)
    };
    let objects = timeout(DEADLINE, found).await.map_err(|_| WatchError::Late)??;
    Ok(AllServers { objects, api_servers })
}

impl AllServers {
    /// Waits for the next change.
    pub async fn changed(&mut self) {
        self.objects.changed().await;
        sleep(PAUSE).await;
    }

    /// All servers as they are now. Objects without limits are servers, whose calls all pass.
    pub fn read(&self) -> Vec<ServerRead> {
        let objects = self.objects.all();
        let text =
            |object: &serde_json::Value, at: &str| object.pointer(at).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let (servers, configs): (Vec<_>, Vec<_>) = objects.iter().partition(|object| Kind::from_name(&text(object, "/kind")).is_some());
        let read = servers.into_iter().map(|object| {
            let [kind, namespace, name] = ["/kind", "/metadata/namespace", "/metadata/name"].map(|at| text(object, at));
            let described = |server| configs.iter().fold(server, |server: LimitedServer, config| server.described_by(config, "default"));
            (format!("{kind} {namespace}/{name}"), LimitedServer::of_object(object).map(described))
        });
        read.collect()
    }
}
