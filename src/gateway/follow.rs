//! Follows the file that limits come from: read again when its text changes, taken over when it is good.
//!
//! Compared by content every second, since kubelet swaps a symlink under mounted files. Streams and buckets go on; what needs a restart
//! (another server, Redis or sign-in) is said and left as it was.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Gateway, Served, source::Source};

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
    pub text: String,
}

/// Follows for ever.
pub(super) async fn follow(gateway: Arc<Gateway>, mut followed: Followed, mut source: Source) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A file that is gone for a moment is being replaced.
        let Ok(text) = tokio::fs::read_to_string(&followed.path).await else { continue };
        if text == followed.text {
            continue;
        }
        let path = followed.path.display();
        match Source::read(&text, followed.name.as_deref(), &followed.namespace) {
            Ok(new) => gateway.take_over(&mut source, new),
            Err(error) => {
                gateway.metrics.reloaded(false);
                tracing::warn!(%path, %error, "the file changed and cannot be used; the old limits stay in force");
            }
        }
        followed.text = text;
    }
}

impl Gateway {
    /// Takes over other limits for the same server.
    pub(super) fn take_over(&self, source: &mut Source, new: Source) {
        if new == *source {
            return;
        }
        if (&new.server, &new.storage, &new.sign_in) != (&source.server, &source.storage, &source.sign_in) {
            self.metrics.reloaded(false);
            tracing::warn!("another server, Redis or sign-in needs a restart; the old limits stay in force");
            return;
        }
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        self.limiter.reload(self.shadowed(&new));
        self.served.store(Arc::new(Served::of(&new, self.optimizer)));
        self.metrics.reloaded(true);
        tracing::info!(tools = new.limits.tools.len(), "other limits are in force");
        *source = new;
    }
}
