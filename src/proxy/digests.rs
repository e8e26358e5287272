//! The key of the digests by which `GET /buckets` distinguishes users: shared through Redis, so that all proxies on it agree.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    inspect::{DigestKey, InspectError},
    limiter::{Cause, ServerId},
    stores::Buckets,
};

/// How long to wait before asking again after Redis has refused.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Knows the key.
#[derive(Debug)]
pub(super) struct Digests {
    /// Used if none is shared.
    own: DigestKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shared: Option<DigestKey>,
    refused: Option<Instant>,
}

impl Digests {
    pub(super) fn new(own: DigestKey) -> Self {
        Self { own, state: Mutex::default() }
    }

    /// The shared key, or this process' own: for buckets in memory, and if Redis refuses to share one, which is logged once.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(super) async fn key(&self, buckets: &Buckets, server: &ServerId) -> Result<DigestKey, InspectError> {
        if let Some(key) = self.known() {
            return Ok(key);
        }
        let Some(redis) = buckets.shared() else { return Ok(self.own) };
        match redis.digest_key(server, &self.own).await {
            Ok(key) => {
                self.state().shared = Some(key);
                Ok(key)
            }
            Err(error) if matches!(error.cause(), Cause::Auth | Cause::Other) => {
                if self.state().refused.replace(Instant::now()).is_none() {
                    tracing::warn!(%error, "user digests are specific to this proxy: to share them, its Redis user needs ~tollgate:* +get +set");
                }
                Ok(self.own)
            }
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> Option<DigestKey> {
        let state = self.state();
        state.shared.or(state.refused.filter(|at| at.elapsed() < ASK_AGAIN).map(|_| self.own))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
