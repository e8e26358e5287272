//! The runtime of a command that asks a cluster or Redis once: everything runs on this thread.

use std::future::Future;

use anyhow::Context;

/// Runs asynchronous work to its end.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // The Redis client takes the provider of the process; a second one in the tree would make it panic without this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(work)
}
