//! SIGTERM and SIGINT: the first stops gracefully, the second immediately.

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
    /// Starts listening. Do this before serving anything, so that no signal is missed.
    pub(super) fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `serve` until it has stopped. The first signal resolves the future that it is given, the second abandons it.
    pub(super) async fn run<R: Future<Output = ()>>(mut self, serve: impl FnOnce(StopRequest) -> R) -> Exit {
        let (stop, requested) = oneshot::channel();
        let mut run = pin!(serve(StopRequest(requested)));
        tokio::select! {
            () = run.as_mut() => return Exit::Clean,
            () = self.received() => drop(stop),
        }
        tokio::select! {
            () = run => Exit::Clean,
            () = self.received() => {
                warn!("second stop signal: stopping immediately");
                Exit::Failed
            }
        }
    }
}

/// For work that is not async: becomes true at the first signal. The second ends the process immediately.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for signals")?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::watch()?
    };
    let flag = Arc::new(AtomicBool::new(false));
    let stop = flag.clone();
    thread::spawn(move || {
        runtime.block_on(signals.received());
        stop.store(true, Ordering::Relaxed);
        runtime.block_on(signals.received());
        end_at_once();
    });
    Ok(flag)
}

#[expect(clippy::exit, reason = "the work may never check its flag again")]
fn end_at_once() {
    std::process::exit(Exit::Failed as i32);
}

/// Resolves when a signal asks to stop.
#[derive(Debug)]
pub(super) struct StopRequest(oneshot::Receiver<()>);

impl StopRequest {
    pub(super) async fn wait(self) {
        // The other half is dropped, never used.
        let _ = self.0.await;
    }
}
