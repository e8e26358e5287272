//! `tollgate serve`

mod args;
mod authority;
mod greeting;
mod settings;
mod surroundings;

use std::time::Duration;

use anyhow::Context;
use tracing::info;

pub(super) use self::args::ServeArgs;
use self::{
    greeting::greeting,
    settings::{ServeSettings, resolve},
};
use super::{exit::Exit, open_files, output::print, signals::Signals};
use crate::webhook::Server;

pub(super) fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    let settings = resolve(args)?;
    open_files::raise(settings.server.limits.connections as u64);
    // A thread that has handled a large review keeps its memory until it ends.
    let keep = Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(keep).build().context("cannot start")?;
    let exit = runtime.block_on(serve(settings));
    // Not dropped: that would wait for reviews whose callers have gone.
    runtime.shutdown_background();
    exit
}

async fn serve(settings: ServeSettings) -> anyhow::Result<Exit> {
    let ServeSettings { mut server, crd_global, operator_reads_global, surroundings, authority, dev } = settings;
    // Before anything is served, so that a signal is never missed.
    let signals = Signals::watch()?;
    let assumption = surroundings.assumption(crd_global);
    info!(shared_alias = server.mode.name(), crd_global = assumption, cluster = %surroundings, "starting");
    let (world, _following) = surroundings.enter(crd_global, operator_reads_global, server.tls.client_ca.is_some()).await?;
    if let Some(authority) = authority {
        server.authority = Some(authority.connect().await?);
    }
    let server = Server::bind(server, world).await?;
    print(&greeting(&server, dev.as_ref())?)?;
    Ok(signals.run(|stop| server.run(stop.wait())).await)
}
