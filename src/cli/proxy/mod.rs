//! `tollgate proxy`

mod args;
mod front;
mod settings;

use std::sync::Arc;

use anyhow::Context;
use tracing::{info, warn};

pub(super) use self::args::ProxyArgs;
use self::settings::{Resolved, resolve};
use super::{exit::Exit, open_files, output::print, signals::Signals};
use crate::{
    mcp::RejectStatus,
    metrics::{Metrics, Registry},
    proxy::{Parts, Proxy},
};

pub(super) fn run(args: ProxyArgs) -> anyhow::Result<Exit> {
    // Redis and the upstream may both use the process' default cryptography provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Connections are served on threads of their own; this one accepts them, and does what is not for one request.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(async { serve(resolve(args).await?).await })
}

async fn serve(settings: Resolved) -> anyhow::Result<Exit> {
    // Before anything is served, so that a signal is never missed.
    let signals = Signals::watch()?;
    let Resolved { proxy, source, followed, store, callers } = settings;
    open_files::raise(proxy.limits.connections as u64);
    for warning in &source.warnings {
        warn!("{warning}");
    }
    if let Some(unchecked) = proxy.origins.unchecked() {
        info!(listen = %proxy.listen, "{unchecked}");
    }
    if proxy.gate.rejection.status == RejectStatus::Always429 {
        warn!("with --reject-status 429, clients on the Python SDK 1.x lose their session at the first denial; auto avoids this");
    }
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let buckets = store.open(metrics.clone()).await?;
    let (server, upstream) = (source.server.clone(), proxy.upstream.clone());
    let proxy = Proxy::bind(proxy, Parts { source, buckets, callers: callers.start()? }, metrics, registry).await?;
    info!(namespace = server.namespace, server = server.name, "starting");
    let scheme = if proxy.is_tls() { "https" } else { "http" };
    print(&format!(
        "tollgate limits calls of {}/{} on {scheme}://{}{} and forwards them to {upstream}; metrics on http://{}/metrics\n",
        server.namespace,
        server.name,
        proxy.address(),
        proxy.endpoint(),
        proxy.metrics_address(),
    ))?;
    Ok(signals.run(|stop| proxy.run(|in_force| followed.follow(in_force), stop.wait())).await)
}
