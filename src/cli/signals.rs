//! SIGTERM and SIGINT: once to stop in an orderly way, twice to stop at once.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::warn;

use super::exit::Exit;

/// The signals that end a command.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to wait for them. Do so before anything is served, so that none is missed.
    pub(super) fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs what serves until it is told to stop, by the future that it is given, and has; or until it is told so twice.
    pub(super) async fn run<R: Future<Output = ()>>(mut self, serve: impl FnOnce(ToldToStop) -> R) -> Exit {
        let (stop, told) = oneshot::channel();
        let mut run = pin!(serve(ToldToStop(told)));
        tokio::select! {
            () = run.as_mut() => return Exit::Clean,
            () = self.told() => drop(stop),
        }
        tokio::select! {
            () = run => Exit::Clean,
            () = self.told() => {
                warn!("told to stop twice: stopping at once");
                Exit::Failed
            }
        }
    }
}

/// For work that is not async: becomes true when it is time to stop. BucketsReport so twice, the process ends at once.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for signals")?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::watch()?
    };
    let flag = Arc::new(AtomicBool::new(false));
    let told = flag.clone();
    thread::spawn(move || {
        runtime.block_on(signals.told());
        told.store(true, Ordering::Relaxed);
        runtime.block_on(signals.told());
        end_at_once();
    });
    Ok(flag)
}

#[expect(clippy::exit, reason = "the work may never look at its flag again")]
fn end_at_once() {
    std::process::exit(Exit::Failed as i32);
}

/// Resolves when it is time to stop.
#[derive(Debug)]
pub(super) struct ToldToStop(oneshot::Receiver<()>);

impl ToldToStop {
    pub(super) async fn wait(self) {
        // The other half is dropped, never used.
        let _ = self.0.await;
    }
}
