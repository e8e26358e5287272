//! Keeps a proxy working when its store is down: a deadline for every call, a circuit breaker, and a policy for deciding without the store.
//!
//! | the store | a call |
//! |---|---|
//! | responds | is decided by it |
//! | does not respond within the [deadline](GuardSettings::deadline) (100 ms), including queueing | is decided without it |
//! | fails at once | is decided without it, at once |
//! | has failed [five times](GuardSettings::most_failures) in a row, where calls that fail together count once | is decided without it, and without asking: the breaker is open |
//!
//! While the breaker is open, a background task probes the store every [second](GuardSettings::probe_every), so that no caller waits for
//! it. After a successful probe a single call tries; if that succeeds too, all calls are sent again. A bucket whose key holds something
//! else ([`Cause::Bucket`]) fails its own calls and does not count.
//!
//! [`OnStoreError`] defines what *decided without it* means:
//!
//! | | a call is | for |
//! |---|---|---|
//! | `open` (default, as in ToolHive) | allowed, [`DecidedBy::FailOpen`] | tools that must stay available when Redis is not |
//! | `closed` | not decided: the caller gets the error | tools that must never run unlimited |
//! | `local` | decided by buckets in this process, [`DecidedBy::Local`] | in between: each process allows up to the limits, starting with full buckets |
//!
//! No call is sent twice, and none is decided twice: a call that the store decided too late has taken its tokens there.
//!
//! The log records when the store becomes unavailable, when the cause changes, and when it recovers; individual failures are only counted
//! ([`Observer::failed`]).

mod breaker;

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use self::breaker::{Breaker, Change, Pass};
use super::Memory;
use crate::{
    inspect::{
        Bounds, Inspect, InspectError,
        port::{Listing, Sample},
    },
    limiter::{Cause, DecidedBy, Observer, Plan, ServerId, Store, StoreAnswer, StoreError, Verdict, observe::Unobserved},
};

/// How long a call waits for the store, by default.
pub const DEADLINE: Duration = Duration::from_millis(100);
/// Consecutive failures that open the breaker, by default.
pub const MOST_FAILURES: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// How often an unavailable store is probed, by default.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What happens to calls that the store does not decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnStoreError {
    /// They are allowed.
    #[default]
    Open,
    /// They are not decided: the caller gets the error.
    Closed,
    /// Buckets in this process decide.
    Local,
}

/// The settings of a [`Guard`].
#[derive(Clone)]
pub struct GuardSettings {
    on_store_error: OnStoreError,
    deadline: Duration,
    most_failures: NonZeroU32,
    probe_every: Duration,
    observer: Arc<dyn Observer>,
}

/// A [`Store`] behind a deadline and a breaker. Needs a tokio runtime with time enabled.
#[derive(Debug)]
pub struct Guard<S>(Arc<Inner<S>>);

struct Inner<S> {
    store: S,
    settings: GuardSettings,
    breaker: Mutex<Breaker>,
    local: Option<Memory>,
    /// Calls decided without the store since it became unavailable.
    without: AtomicU64,
}

impl OnStoreError {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Local => "local",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Open => "calls are allowed",
            Self::Closed => "calls are rejected",
            Self::Local => "buckets in this process decide",
        }
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            on_store_error: OnStoreError::default(),
            deadline: DEADLINE,
            most_failures: MOST_FAILURES,
            probe_every: PROBE_EVERY,
            observer: Arc::new(Unobserved),
        }
    }
}

impl GuardSettings {
    /// Sets what happens to calls that the store does not decide.
    #[must_use]
    pub fn on_store_error(self, on_store_error: OnStoreError) -> Self {
        Self { on_store_error, ..self }
    }

    /// Sets how long a call waits for the store, at most: [`DEADLINE`].
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sets how many consecutive failures open the breaker: [`MOST_FAILURES`].
    #[must_use]
    pub fn most_failures(self, most_failures: NonZeroU32) -> Self {
        Self { most_failures, ..self }
    }

    /// Sets how often an unavailable store is probed: [`PROBE_EVERY`].
    #[must_use]
    pub fn probe_every(self, probe_every: Duration) -> Self {
        Self { probe_every, ..self }
    }

    /// Sets the observer of failures and of the store's availability.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }
}

impl fmt::Debug for GuardSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardSettings")
            .field("on_store_error", &self.on_store_error)
            .field("deadline", &self.deadline)
            .field("most_failures", &self.most_failures)
            .field("probe_every", &self.probe_every)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Inner<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("store", &self.store).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S> Guard<S> {
    /// Guards a store.
    pub fn new(store: S, settings: GuardSettings) -> Self {
        let local = (settings.on_store_error == OnStoreError::Local).then(Memory::default);
        let breaker = Mutex::new(Breaker::new(settings.most_failures));
        Self(Arc::new(Inner { store, settings, breaker, local, without: AtomicU64::new(0) }))
    }

    /// The guarded store.
    pub fn store(&self) -> &S {
        &self.0.store
    }

    /// Whether calls are sent to the store: the breaker is closed.
    pub fn is_asking(&self) -> bool {
        self.0.breaker().is_closed()
    }

    /// The buckets that currently decide instead of the store, under [`OnStoreError::Local`].
    pub fn stand_in(&self) -> Option<&Memory> {
        self.0.local.as_ref().filter(|_| !self.is_asking())
    }
}

impl<S: Store + 'static> Store for Guard<S> {
    async fn take(&self, plan: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        let inner = &*self.0;
        let pass = inner.breaker().pass();
        if pass == Pass::Refused {
            return inner.without(plan, || StoreError::untaken(Cause::Connection, "the store has been unavailable and is not asked"));
        }
        let trial = Trial { inner, plan, pass, asked: Instant::now(), over: false };
        let outcome = match timeout(inner.settings.deadline, inner.store.take(plan)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::unknown(Cause::Timeout, format!("no response within {:?}", inner.settings.deadline))),
        };
        match trial.end(&outcome) {
            Some(Change::Closed { after }) => inner.recovered(after),
            Some(change) => {
                if change == Change::Opened
                    && let Err(error) = &outcome
                {
                    inner.became_unavailable(error);
                }
                let cause = outcome.as_ref().err().map_or(Cause::Other, StoreError::cause);
                tokio::spawn(probe(Arc::downgrade(&self.0), inner.settings.probe_every, cause));
            }
            None => {}
        }
        outcome.or_else(|error| inner.without(plan, || error))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.0.store.probe().await
    }
}

/// Bypasses the deadline and the breaker, since an inspection is about this store. [`Guard::stand_in`] returns the buckets of
/// [`OnStoreError::Local`].
impl<S: Inspect> Inspect for Guard<S> {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        self.0.store.read(keys).await
    }

    async fn list(&self, server: &ServerId, bounds: Bounds) -> Result<Listing, InspectError> {
        self.0.store.list(server, bounds).await
    }

    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        self.0.store.reset(key).await
    }
}

impl<S> Inner<S> {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn without(&self, plan: &Plan<'_>, error: impl FnOnce() -> StoreError) -> Result<StoreAnswer, StoreError> {
        self.without.fetch_add(1, Ordering::Relaxed);
        match (self.settings.on_store_error, &self.local) {
            (OnStoreError::Open, _) => {
                Ok(StoreAnswer { verdict: Verdict::Allowed { remaining: None, shadow: None }, source: DecidedBy::FailOpen })
            }
            (OnStoreError::Local, Some(local)) => Ok(StoreAnswer { verdict: local.take_now(plan), source: DecidedBy::Local }),
            (OnStoreError::Closed | OnStoreError::Local, _) => Err(error()),
        }
    }

    fn became_unavailable(&self, error: &StoreError) {
        self.without.store(0, Ordering::Relaxed);
        self.settings.observer.store_is(false);
        let (policy, consequence) = (self.settings.on_store_error.name(), self.settings.on_store_error.consequence());
        tracing::warn!(
            cause = error.cause().name(),
            on_store_error = policy,
            "store unavailable: {error}; until it recovers, {consequence}"
        );
    }

    fn recovered(&self, after: Duration) {
        self.settings.observer.store_is(true);
        let without = self.without.load(Ordering::Relaxed);
        tracing::info!(away_ms = after.as_millis(), calls_without = without, "store recovered");
    }
}

/// A call in progress, whose outcome goes to the breaker; a caller that leaves before the outcome has no effect.
struct Trial<'a, 'p, S> {
    inner: &'a Inner<S>,
    plan: &'a Plan<'p>,
    pass: Pass,
    asked: Instant,
    over: bool,
}

impl<S> Trial<'_, '_, S> {
    fn end(mut self, outcome: &Result<StoreAnswer, StoreError>) -> Option<Change> {
        self.over = true;
        let (inner, pass) = (self.inner, self.pass);
        match outcome {
            Ok(StoreAnswer { source: DecidedBy::Store, .. }) => inner.breaker().succeeded(Instant::now()),
            // Says nothing about the store's health.
            Ok(_) => {
                self.over = false;
                None
            }
            Err(error) => {
                inner.settings.observer.failed(self.plan, error);
                if error.cause() == Cause::Bucket {
                    inner.breaker().succeeded(Instant::now())
                } else {
                    inner.breaker().failed(pass, self.asked, Instant::now())
                }
            }
        }
    }
}

impl<S> Drop for Trial<'_, '_, S> {
    fn drop(&mut self) {
        if !self.over && self.pass == Pass::Try {
            self.inner.breaker().abandoned();
        }
    }
}

/// Probes until a probe succeeds, or the guard is dropped. `logged` is the cause that was logged last; a different one is logged again.
async fn probe<S: Store>(guarded: Weak<Inner<S>>, every: Duration, mut logged: Cause) {
    loop {
        sleep(every).await;
        let Some(inner) = guarded.upgrade() else { return };
        if !inner.breaker().is_open() {
            return;
        }
        match timeout(every, inner.store.probe()).await {
            Ok(Ok(())) => return inner.breaker().probed(),
            Ok(Err(error)) if error.cause() != logged => {
                logged = error.cause();
                tracing::warn!(cause = logged.name(), "store still unavailable, cause changed: {error}");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
