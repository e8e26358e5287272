//! `tollgate authz`

mod args;
mod files;
mod settings;

use std::sync::Arc;

use anyhow::{Context, bail};
use tracing::{info, warn};

pub(super) use self::args::AuthzArgs;
use self::settings::{Resolved, resolve};
use super::{exit::Exit, open_files, output::print, signals::Signals};
use crate::{
    authz::Authz,
    metrics::{Metrics, Registry},
};

pub(super) fn run(args: AuthzArgs) -> anyhow::Result<Exit> {
    // Redis and issuers may both use the process' default cryptography provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?.block_on(serve(args))
}

async fn serve(args: AuthzArgs) -> anyhow::Result<Exit> {
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let Resolved { authz, source, shop } = resolve(args, metrics.clone()).await?;
    // Before anything is served, so that a signal is never missed.
    let signals = Signals::watch()?;
    open_files::raise(authz.limits.connections as u64);
    let mut authz = Authz::bind(authz, shop, metrics, registry).await?;
    let in_force = authz.in_force();
    in_force.read_again(source.first()?).await;
    match in_force.refused() {
        Some(why) if !source.is_lenient() => bail!("{why}"),
        _ => {}
    }
    let servers = in_force.len();
    if servers == 0 {
        warn!("no server is known yet");
    }
    info!(servers, "starting");
    let (address, metrics) = (authz.address(), authz.metrics_address());
    print(&format!("tollgate decides calls of {servers} servers for Envoy on grpc://{address}; metrics on http://{metrics}/metrics\n"))?;
    Ok(signals.run(|stop| authz.run(|in_force| source.follow(in_force), stop.wait())).await)
}
