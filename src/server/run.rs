//! From start to end: serving, draining, closed; the same for every server.

use std::{future::Future, time::Duration};

use axum::Router;
use tokio::{sync::watch, time::sleep};
use tracing::{error, info};

use super::{Listener, Phase};

/// The life of a server.
#[derive(Debug)]
pub struct Life {
    phase: watch::Sender<Phase>,
    /// `None` where no clients have to go elsewhere first.
    drain: Option<Duration>,
}

impl Life {
    /// A life in its first phase. When it is to end, everything is served for `drain` before nothing new is accepted.
    pub fn new(drain: Option<Duration>) -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), drain }
    }

    /// How far it has come.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Works until `shutdown` resolves, drains, and waits for `work`, which ends by itself once [`Life::phase`] is [`Phase::Closing`].
    /// The operations end last, so that the end can be watched from outside.
    pub async fn run(
        self,
        work: impl Future<Output = ()> + Send + 'static,
        operations: Listener,
        endpoints: Router,
        shutdown: impl Future<Output = ()>,
    ) {
        let stop_operations = watch::Sender::new(Phase::Serving);
        let operations = tokio::spawn(operations.serve(endpoints, stop_operations.subscribe()));
        let work = tokio::spawn(work);
        shutdown.await;
        match self.drain {
            Some(drain) => {
                info!(?drain, "stop signal received: no longer ready, still serving");
                self.phase.send_replace(Phase::Draining);
                sleep(drain).await;
            }
            None => info!("stop signal received"),
        }
        self.phase.send_replace(Phase::Closing);
        if let Err(panic) = work.await {
            error!(%panic, "the server ended badly");
        }
        stop_operations.send_replace(Phase::Closing);
        let _ = operations.await;
    }
}
