//! The way into a cluster for commands that ask it once.

use std::{
    future::Future,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::doctor::cluster::Trouble;
use crate::{
    audit::listing::served_versions,
    config::{GROUP, VERSIONS},
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
    Client::try_from(config(access.kubeconfig.as_deref(), access.context.as_deref()).await?).context("cannot make a Kubernetes client")
}

/// The newest version of our group that is served; `None` where the group is not installed.
pub(super) async fn newest_version(client: &Client) -> anyhow::Result<Option<&'static str>> {
    let served = served_versions(client).await.map_err(Trouble::from);
    let served = served.with_context(|| format!("cannot ask what of {GROUP} is served"))?;
    Ok(VERSIONS.into_iter().find(|version| served.iter().any(|served| served == version)))
}

/// As kubectl would: the kubeconfig that is named, `$KUBECONFIG`, `~/.kube/config`; then the service account of the pod.
pub(super) async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    // Not as a chain: these errors tell their sources themselves.
    match (kubeconfig, context) {
        (Some(path), _) => {
            let shown = |error| anyhow!("cannot use {}: {error}", path.display());
            let kubeconfig = Kubeconfig::read_from(path).map_err(shown)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(shown)
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| anyhow!("cannot use the kubeconfig: {error}")),
        (None, None) => Config::infer().await.map_err(|error| anyhow!("there is no cluster to look at, name a --kubeconfig: {error}")),
    }
}
