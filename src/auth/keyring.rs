//! Caches the issuer's keys, refreshed in the background: callers only wait for the issuer when a key is missing.
//!
//! Only one task reads keys, so at most one request is in flight:
//!
//! ```text
//! start ──> read ──ok──> sleep until the keys should be read again ──┐
//!            ^ │                                                     │
//!            │ └─failed─> sleep 1 s, 2 s, .. 30 s ───────────────────┤
//!            └──────────── woken early by an unknown key <───────────┘
//! ```
//!
//! What happens to a caller whose token matches no cached key (an unknown `kid`, or a new key under an old `kid`), by the state of the
//! task:
//!
//! | last read | now | the caller |
//! |---|---|---|
//! | succeeded | asleep, and not woken within the [cool-down](super::VerifierSettings::cool_down) | wakes it, and waits |
//! | succeeded | asleep, woken recently | is rejected at once |
//! | succeeded, or first read | reading | waits |
//! | failed | any state | is rejected at once: the issuer is unreachable |
//!
//! The wait ends when the read completes, or after the [patience](super::VerifierSettings::patience). Keys that cannot be refreshed stay in
//! use for the [`stale_for`](super::VerifierSettings::stale_for) period; after that, every token is rejected.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    fetch::{Fetched, Source},
    fetch_error::FetchError,
    keys::KeySet,
    rejection::Rejection,
    settings::VerifierSettings,
    token::Token,
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Minimum interval between reads, whatever `Cache-Control` says.
const LEAST_FRESH: Duration = Duration::from_secs(10);

/// Holds the keys. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct Keyring {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    /// Counts completed reads.
    ended: watch::Sender<u64>,
    wake: Notify,
    issuer: String,
    began: Instant,
    refresh_every: Duration,
    stale_for: Duration,
    cool_down: Duration,
    patience: Duration,
    fetch_timeout: Duration,
}

/// Keys as read.
#[derive(Debug)]
pub(super) struct Held {
    keys: KeySet,
    /// Changes whenever the keys change.
    pub(super) generation: u64,
    read_at: Instant,
    usable_for: Duration,
}

impl Held {
    /// How much longer they may be used.
    fn left(&self) -> Duration {
        self.usable_for.saturating_sub(self.read_at.elapsed())
    }
}

#[derive(Debug)]
struct State {
    is_reading: bool,
    /// Consecutive failed reads.
    failures: u32,
    /// Whether usable keys have ever been read.
    had_keys: bool,
    /// When an unknown key last woke the task.
    woken_at: Option<Instant>,
}

impl Keyring {
    /// Starts reading. Needs a tokio runtime.
    pub(super) fn start(source: Source, settings: &VerifierSettings) -> Self {
        let shared = Arc::new(Shared {
            held: ArcSwapOption::empty(),
            state: Mutex::new(State { is_reading: true, failures: 0, had_keys: false, woken_at: None }),
            ended: watch::Sender::new(0),
            wake: Notify::new(),
            issuer: settings.issuer.clone(),
            began: Instant::now(),
            refresh_every: settings.refresh_every,
            stale_for: settings.stale_for,
            cool_down: settings.cool_down,
            patience: settings.patience,
            fetch_timeout: settings.fetch_timeout,
        });
        let task = tokio::spawn(Arc::clone(&shared).keep_reading(source)).abort_handle();
        Self { shared, task }
    }

    /// The cached keys, unless they are too old.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.shared.held.load_full().filter(|held| !held.left().is_zero())
    }

    /// Whether usable keys have ever been read, even if they are too old by now.
    pub(super) fn has_had_keys(&self) -> bool {
        self.shared.state().had_keys
    }

    /// Time since the keys were last read; before the first read, since the start.
    pub(super) fn age(&self) -> Duration {
        self.shared.held.load().as_ref().map_or(self.shared.began, |held| held.read_at).elapsed()
    }

    /// Verifies that one of the issuer's keys signed the token; returns the generation of the keys used.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<u64, Rejection> {
        let mut ended = self.shared.ended.subscribe();
        let before = self.held();
        let rejection = match by(before.as_deref(), token) {
            Ok(generation) => return Ok(generation),
            Err(rejection) => rejection,
        };
        if self.shared.ask_to_read() {
            // Whether the wait succeeded or timed out, use the keys that are cached now.
            let _ = timeout(self.shared.patience, ended.changed()).await;
        }
        let after = self.held();
        let is_same = before.zip(after.as_ref()).is_some_and(|(before, after)| before.generation == after.generation);
        match if is_same { Err(rejection) } else { by(after.as_deref(), token) } {
            Err(Rejection::UnknownKey) if self.shared.is_away() => Err(Rejection::IssuerAway),
            judged => judged,
        }
    }

    /// Waits until the first attempt to read the keys has completed.
    pub(super) async fn settled(&self) {
        let mut ended = self.shared.ended.subscribe();
        // The channel stays open while `self` holds the sender.
        let _ = ended.wait_for(|times| *times > 0).await;
    }
}

fn by(held: Option<&Held>, token: &Token<'_>) -> Result<u64, Rejection> {
    let held = held.ok_or(Rejection::IssuerAway)?;
    held.keys.verify(token).map(|()| held.generation)
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn keep_reading(self: Arc<Self>, source: Source) {
        loop {
            let read = timeout(self.fetch_timeout, source.fetch()).await.unwrap_or(Err(FetchError::Late(self.fetch_timeout)));
            let pause = match read {
                Ok(fetched) => self.keep(fetched),
                Err(error) => self.failed(&error),
            };
            self.ended.send_modify(|times| *times += 1);
            // Woken, or the interval has passed.
            let _ = timeout(pause, self.wake.notified()).await;
            self.state().is_reading = true;
        }
    }

    /// Stores the keys that were read; returns when to read again.
    fn keep(&self, Fetched { keys, fresh_for }: Fetched) -> Duration {
        let fresh_for = fresh_for.unwrap_or(self.refresh_every).max(LEAST_FRESH).min(self.refresh_every);
        let (count, before) = (keys.len(), self.held.load());
        let is_same = before.as_ref().is_some_and(|before| before.keys == keys);
        let generation = before.as_ref().map_or(0, |before| before.generation + u64::from(!is_same));
        let usable_for = fresh_for.saturating_add(self.stale_for);
        self.held.store(Some(Arc::new(Held { keys, generation, read_at: Instant::now(), usable_for })));
        let failures = {
            let mut state = self.ended_reading();
            state.had_keys |= count > 0;
            std::mem::take(&mut state.failures)
        };
        match (failures, is_same) {
            _ if count == 0 && !is_same => warn!(issuer = self.issuer, "the issuer has no usable keys: every token is rejected"),
            (0, true) => {}
            (0, false) => info!(issuer = self.issuer, keys = count, "the issuer's keys changed"),
            (_, _) => info!(issuer = self.issuer, keys = count, failures, "the issuer's keys are readable again"),
        }
        fresh_for
    }

    /// Records a failure; returns how long to wait before the next attempt.
    fn failed(&self, error: &FetchError) -> Duration {
        let failures = {
            let mut state = self.ended_reading();
            state.failures = state.failures.saturating_add(1);
            state.failures
        };
        if failures == 1 {
            let left = self.held.load().as_ref().map_or(Duration::ZERO, |held| held.left());
            warn!(issuer = self.issuer, old_keys_for_s = left.as_secs(), "the issuer's keys cannot be read: {error}");
        }
        FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE)
    }

    /// Requests a read, if it may help and is due; returns whether one is in progress.
    fn ask_to_read(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let may_wake = state.woken_at.is_none_or(|woken_at| now.duration_since(woken_at) >= self.cool_down);
        if state.failures > 0 {
            return false;
        }
        if !state.is_reading && may_wake {
            (state.is_reading, state.woken_at) = (true, Some(now));
            self.wake.notify_one();
        }
        state.is_reading
    }

    fn is_away(&self) -> bool {
        self.state().failures > 0
    }

    fn ended_reading(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.is_reading = false;
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
