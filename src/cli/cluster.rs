//! Commands that ask a cluster once run on this thread.

use std::future::Future;

use anyhow::Context;

/// Runs what asks a cluster.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(work)
}
