//! One shared connection, made on first use and again after it breaks.
//!
//! Connecting happens in a task of its own, so that a caller that gives up does not cancel it, and all callers meanwhile wait for the same
//! attempt. After a failed attempt there is a pause, in which calls fail at once with the same error.
//!
//! Behind Sentinels, the current master is looked up every second: a master that was replaced while still running accepts writes, which are
//! lost, until it learns of its replacement some ten seconds later.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    fault,
    live::{Live, Master, Target},
};
use crate::limiter::{Cause, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often the master is looked up.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Maintains a connection.
#[derive(Debug)]
pub(super) struct Connector {
    target: Target,
    state: Mutex<State>,
    /// Completed attempts.
    made: AtomicU64,
}

#[derive(Debug)]
enum State {
    /// Not used yet, or the last connection broke.
    Idle,
    /// The channel closes when the attempt is over.
    Connecting {
        over: watch::Receiver<()>,
        pause: Duration,
    },
    Connected(Connected),
    Failed {
        error: StoreError,
        pause: Duration,
        until: Instant,
    },
}

/// A connection, and its generation.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) live: Live,
    number: u64,
}

impl State {
    fn holds(&self, connected: &Connected) -> bool {
        matches!(self, Self::Connected(current) if current.number == connected.number)
    }
}

impl Connector {
    pub(super) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { target, state: Mutex::new(State::Idle), made: AtomicU64::new(0) })
    }

    /// The connection, made if necessary.
    pub(super) async fn connected(self: &Arc<Self>) -> Result<Connected, StoreError> {
        loop {
            let mut over = match self.now_or_attempt() {
                Ok(now) => return now,
                Err(over) => over,
            };
            // An error means that the attempt is over as well: nothing is ever sent.
            let _ = over.changed().await;
        }
    }

    /// Drops a broken connection, unless it has been replaced already.
    pub(super) fn drop_connection(&self, broken: &Connected) {
        let mut state = self.state();
        if state.holds(broken) {
            *state = State::Idle;
        }
    }

    fn holds(&self, connected: &Connected) -> bool {
        self.state().holds(connected)
    }

    /// The current connection, or the attempt to wait for.
    fn now_or_attempt(self: &Arc<Self>) -> Result<Result<Connected, StoreError>, watch::Receiver<()>> {
        let mut state = self.state();
        let pause = match &*state {
            State::Connected(connected) => return Ok(Ok(connected.clone())),
            State::Connecting { over, .. } => return Err(over.clone()),
            State::Failed { error, until, .. } if Instant::now() < *until => return Ok(Err(error.clone())),
            State::Failed { pause, .. } => (*pause * 2).min(LONGEST_PAUSE),
            State::Idle => FIRST_PAUSE,
        };
        let (attempt, over) = watch::channel(());
        *state = State::Connecting { over: over.clone(), pause };
        tokio::spawn(Attempt { connector: Arc::clone(self), _ends: attempt }.make());
        Err(over)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One attempt to connect. However it ends, no state remains in which others would wait for it.
struct Attempt {
    connector: Arc<Connector>,
    _ends: watch::Sender<()>,
}

impl Attempt {
    async fn make(self) {
        let made = self.connector.target.connect().await;
        let number = self.connector.made.fetch_add(1, Ordering::Relaxed);
        let made = made.map(|(live, master)| (Connected { live, number }, master));
        if let Ok((connected, Some(master))) = &made {
            tokio::spawn(follow(Arc::downgrade(&self.connector), connected.clone(), master.clone()));
        }
        let mut state = self.connector.state();
        let pause = if let State::Connecting { pause, .. } = &*state { *pause } else { FIRST_PAUSE };
        *state = match made {
            Ok((connected, _)) => State::Connected(connected),
            Err(error) => State::Failed { error: fault::of_connecting(&error), pause, until: Instant::now() + pause },
        };
    }
}

/// Drops a connection when its master is replaced.
async fn follow(connector: Weak<Connector>, connected: Connected, master: Master) {
    loop {
        sleep(BETWEEN_LOOKS).await;
        let Some(connector) = connector.upgrade() else { return };
        if !connector.holds(&connected) {
            return;
        }
        // Sentinels that are unreachable, or know no master, say nothing about this one.
        if connector.target.master().await.is_some_and(|now| now != master) {
            return connector.drop_connection(&connected);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut state = self.connector.state();
        if let State::Connecting { pause, .. } = &*state {
            let pause = *pause;
            let error = StoreError::untaken(Cause::Connection, "the attempt to connect was interrupted");
            drop(mem::replace(&mut *state, State::Failed { error, pause, until: Instant::now() }));
        }
    }
}
