//! The way into a cluster for commands that ask it once.

use std::{future::Future, path::PathBuf};

use anyhow::Context;
use kube::Client;

use super::doctor::cluster::Trouble;
use crate::{
    audit::listing::served_versions,
    model::{GROUP, VERSIONS},
    webhook::cluster::connect::find,
};

/// Which cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    /// A kubeconfig; without, as kubectl finds it, or the service account of the pod.
    pub(super) kubeconfig: Option<PathBuf>,
    /// A context of it; without, its current one.
    pub(super) context: Option<String>,
}

/// Runs what asks a cluster.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // The Kubernetes client takes the process' provider; a second one in the tree would make it panic without this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(work)
}

/// A client; nothing is asked yet.
pub(super) async fn connect(access: &Access) -> anyhow::Result<Client> {
    Ok(find(access.kubeconfig.as_deref(), access.context.as_deref())?.client()?)
}

/// The newest version of our group that is served; `None` where the group is not installed.
pub(super) async fn newest_version(client: &Client) -> anyhow::Result<Option<&'static str>> {
    let served = served_versions(client).await.map_err(Trouble::from);
    let served = served.with_context(|| format!("cannot ask what of {GROUP} is served"))?;
    Ok(VERSIONS.into_iter().find(|version| served.iter().any(|served| served == version)))
}
