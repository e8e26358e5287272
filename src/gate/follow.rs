//! Changes of limits while a front runs: a new configuration takes effect if it is valid.
//!
//! Streams and buckets are unaffected; what needs a restart (another server, Redis or authentication) is logged and not changed. A file is compared by
//! content every second, since kubelet swaps a symlink under mounted files.

use std::{
    fmt::Display,
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{MissedTickBehavior, interval};

use super::Gate;
use crate::manifest::server::{LimitedServer, LimitedServerError};

const POLL: Duration = Duration::from_secs(1);

/// A file and how it is read.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Where it is.
    pub path: PathBuf,
    /// Which server of several.
    pub name: Option<String>,
    /// Where a manifest has no namespace.
    pub namespace: String,
    /// Its text when the front started.
    pub text: Vec<u8>,
}

/// Follows a file; never returns.
pub async fn file(mut followed: Followed, mut in_force: InForce) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures: u32 = 0;
    loop {
        ticks.tick().await;
        let text = match tokio::fs::read(&followed.path).await {
            Ok(text) => text,
            Err(error) => {
                failures = failures.saturating_add(1);
                // A file that is missing for a moment is being replaced.
                if failures == 2 {
                    tracing::warn!(from = %followed.path.display(), %error, "cannot read the file; keeping the current limits");
                    in_force.readable(false);
                }
                continue;
            }
        };
        failures = 0;
        in_force.readable(true);
        if text != followed.text {
            in_force.read_again(&followed.path.display(), LimitedServer::read(&text, followed.name.as_deref(), &followed.namespace));
            followed.text = text;
        }
    }
}

/// The limits of a server at a running front, and the means to replace them.
#[derive(Debug)]
pub struct InForce {
    gate: Arc<Gate>,
    source: LimitedServer,
    /// What was read last, if it could not be used.
    refused: Option<Result<LimitedServer, LimitedServerError>>,
    is_readable: bool,
    current: Gauge<i64, AtomicI64>,
}

impl InForce {
    /// The limits of `source`, with which the gate was made.
    pub fn new(gate: Arc<Gate>, source: LimitedServer) -> Self {
        Self { gate, source, refused: None, is_readable: true, current: Gauge::default() }
    }

    /// Sets this gauge to 1 while the limits in force are those of their origin, and to 0 while that cannot be read or used.
    #[must_use]
    pub fn exporting(self, current: Gauge<i64, AtomicI64>) -> Self {
        current.set(1);
        Self { current, ..self }
    }

    /// Whether the origin of the limits can be read, so that a change of it would be noticed.
    pub fn readable(&mut self, is_readable: bool) {
        self.is_readable = is_readable;
        self.export();
    }

    /// Applies a new configuration, unless it is the current one. An invalid one is logged once; `from` names its origin.
    pub fn read_again(&mut self, from: &dyn Display, read: Result<LimitedServer, LimitedServerError>) {
        if self.refused.as_ref() == Some(&read) {
            return;
        }
        self.refused = None;
        self.apply(from, read);
        self.export();
    }

    fn apply(&mut self, from: &dyn Display, read: Result<LimitedServer, LimitedServerError>) {
        match read {
            Ok(new) if new == self.source => {}
            Ok(new) if runs_as(&new, &self.source) => self.take_over(new),
            Ok(new) => {
                tracing::warn!(%from, "a change of server, Redis or authentication needs a restart; keeping the current limits");
                self.refuse(Ok(new));
            }
            Err(error) => {
                tracing::warn!(%from, error = %in_a_line(&error), "new configuration is invalid, keeping the current limits");
                self.refuse(Err(error));
            }
        }
    }

    fn take_over(&mut self, new: LimitedServer) {
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        self.gate.reload(&new);
        tracing::info!(tools = new.limits.tools.len(), "limits reloaded");
        self.source = new;
    }

    fn refuse(&mut self, read: Result<LimitedServer, LimitedServerError>) {
        self.gate.metrics.reloaded(false);
        self.refused = Some(read);
    }

    fn export(&self) {
        self.current.set((self.is_readable && self.refused.is_none()).into());
    }
}

/// An error on one line, since each line of the log is one event.
fn in_a_line(error: &LimitedServerError) -> String {
    match error {
        LimitedServerError::Violations(violations) => format!("the limits cannot work: {}", violations.join("; ")),
        other => other.to_string(),
    }
}

/// Whether everything that needs a restart is unchanged.
pub fn runs_as(new: &LimitedServer, old: &LimitedServer) -> bool {
    (&new.server, &new.storage, &new.sign_in) == (&old.server, &old.storage, &old.sign_in)
}
