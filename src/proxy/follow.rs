//! Limits change while the proxy runs: what is read anew is taken over when it is good.
//!
//! Streams and buckets go on; what needs a restart (another server, Redis or sign-in) is said and left as it was. A file is compared by
//! content every second, since kubelet swaps a symlink under mounted files.

use std::{fmt::Display, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Gateway, Served};
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
    /// Its text, as the proxy began with it.
    pub text: Vec<u8>,
}

/// Follows a file for ever.
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
                    tracing::warn!(from = %followed.path.display(), %error, "cannot be read any more; the limits stay in force");
                }
                continue;
            }
        };
        failures = 0;
        if text != followed.text {
            in_force.read_again(&followed.path.display(), LimitedServer::read(&text, followed.name.as_deref(), &followed.namespace));
            followed.text = text;
        }
    }
}

/// The limits of a proxy that runs, and the way to put others in their place.
#[derive(Debug)]
pub struct InForce {
    gateway: Arc<Gateway>,
    source: LimitedServer,
    /// What was read last, where it could not be used.
    refused: Option<Result<LimitedServer, LimitedServerError>>,
}

impl InForce {
    pub(super) fn new(gateway: Arc<Gateway>, source: LimitedServer) -> Self {
        Self { gateway, source, refused: None }
    }

    /// Takes over what was read anew, unless it is what is in force. What cannot be used is told once, by where it is `from`.
    pub fn read_again(&mut self, from: &dyn Display, read: Result<LimitedServer, LimitedServerError>) {
        if self.refused.as_ref() == Some(&read) {
            return;
        }
        self.refused = None;
        match read {
            Ok(new) if new == self.source => {}
            Ok(new) if runs_as(&new, &self.source) => self.take_over(new),
            Ok(new) => {
                tracing::warn!(%from, "another server, Redis or sign-in needs a restart; the old limits stay in force");
                self.refuse(Ok(new));
            }
            Err(error) => {
                tracing::warn!(%from, error = %in_a_line(&error), "changed, and cannot be used; the old limits stay in force");
                self.refuse(Err(error));
            }
        }
    }

    fn take_over(&mut self, new: LimitedServer) {
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        let gateway = &self.gateway;
        gateway.limiter.reload(gateway.shadowed(&new));
        gateway.served.store(Arc::new(Served::of(&new, gateway.optimizer)));
        gateway.metrics.reloaded(true);
        tracing::info!(tools = new.limits.tools.len(), "other limits are in force");
        self.source = new;
    }

    fn refuse(&mut self, read: Result<LimitedServer, LimitedServerError>) {
        self.gateway.metrics.reloaded(false);
        self.refused = Some(read);
    }
}

/// An error for the log, where each line is an event of its own.
fn in_a_line(error: &LimitedServerError) -> String {
    match error {
        LimitedServerError::Violations(violations) => format!("the limits cannot work: {}", violations.join("; ")),
        other => other.to_string(),
    }
}

/// Whether all that a proxy has to be started with is the same.
fn runs_as(new: &LimitedServer, old: &LimitedServer) -> bool {
    (&new.server, &new.storage, &new.sign_in) == (&old.server, &old.storage, &old.sign_in)
}
