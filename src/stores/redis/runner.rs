//! Runs one batch: connect if necessary, send the script's hash, send the whole script if Redis does not know it.

use std::{sync::Arc, time::Instant};

use redis::{Cmd, ErrorKind, Script, ServerErrorKind, Value};

use super::{
    connector::{Connected, Connector},
    fault::{self, Fault},
    script::{self, Batch, Reply},
};
use crate::limiter::{Observer, StoreError};

/// Runs batches on one connection.
pub(super) struct Runner {
    connector: Arc<Connector>,
    /// The script, which knows its hash.
    script: Script,
    observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl Runner {
    pub(super) fn new(connector: Arc<Connector>, observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self { connector, script: Script::new(script::SOURCE), observer })
    }

    /// Decides a batch. Returns one outcome for each call, in order.
    pub(super) async fn decide(&self, batch: &Batch) -> Result<Reply, StoreError> {
        let mut connected = self.connector.connected().await?;
        let sent = Instant::now();
        match self.send(&mut connected, batch).await {
            Ok(reply) => {
                self.observer.batch(batch.len(), sent.elapsed());
                Ok(reply)
            }
            Err(fault) => Err(self.settle_fault(&connected, fault)),
        }
    }

    /// Whether Redis responds at all.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.query(&redis::cmd("PING")).await.map(drop)
    }

    /// Sends a command other than the script.
    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, StoreError> {
        let mut connected = self.connector.connected().await?;
        let answer = connected.live.query(command).await;
        answer.map_err(|error| self.settle_fault(&connected, fault::of_script(&error)))
    }

    /// The same to the node that has a key, for a command that names none.
    pub(super) async fn query_where(&self, key: &str, command: &Cmd) -> Result<Value, StoreError> {
        let mut connected = self.connector.connected().await?;
        let answer = connected.live.query_where(key, command).await;
        answer.map_err(|error| self.settle_fault(&connected, fault::of_script(&error)))
    }

    fn settle_fault(&self, connected: &Connected, fault: Fault) -> StoreError {
        if fault.drop_connection {
            self.connector.drop_connection(connected);
        }
        fault.error
    }

    async fn send(&self, connected: &mut Connected, batch: &Batch) -> Result<Reply, Fault> {
        let mut answer = connected.live.query(&batch.command("EVALSHA", self.script.get_hash())).await;
        // After a restart, a failover or SCRIPT FLUSH. An unknown script did not run.
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            answer = connected.live.query(&batch.command("EVAL", script::SOURCE)).await;
        }
        let answer: Value = answer.map_err(|error| fault::of_script(&error))?;
        script::read(&answer, batch.len()).ok_or_else(fault::malformed)
    }
}
