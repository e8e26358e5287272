//! The way into a cluster for commands that ask it once.

use std::{future::Future, path::PathBuf};

use anyhow::Context;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
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
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let config = match &access.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("cannot use {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await?
        }
        None if access.context.is_some() => Config::from_kubeconfig(&options).await.context("cannot use the kubeconfig")?,
        None => Config::infer().await.context("there is neither a kubeconfig nor a service account")?,
    };
    Client::try_from(config).context("cannot make a Kubernetes client")
}
