//! Waiting in tests: for a condition, not for a number of milliseconds; and a clock that only a test moves.

use std::{
    pin::pin,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

/// How long anything is waited for. It bounds a hang; nothing here measures speed, and a busy machine may take its time.
pub const LONGEST: Duration = Duration::from_secs(60);
/// The same for an API server, several of which may start at once on a slow machine.
pub const STARTS_WITHIN: Duration = Duration::from_secs(180);
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Polls until something holds. The pauses are real time, also where tokio's clock stands still: what is waited for is outside of it.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        moment().await;
    }
}

/// Awaits something that has to end by itself, with no clock moved.
pub async fn ends<T>(what: &str, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut ended = None;
    eventually(what, async || {
        ended = future.as_mut().now_or_never();
        ended.is_some()
    })
    .await;
    ended.expect("it ended")
}

/// A little real time, in which other tasks and processes go on.
pub async fn moment() {
    tokio::task::spawn_blocking(|| thread::sleep(BETWEEN_LOOKS)).await.expect("no panic");
}

/// tokio's clock, stopped, in a test of one thread. Sockets work as ever.
///
/// A clock that is merely paused jumps to the next deadline whenever all tasks wait, for a socket too. This one does not: tokio's clock
/// stays where it is while a blocking task runs, and one runs for as long as this lives.
pub struct StoppedClock {
    _held: mpsc::Sender<()>,
}

impl StoppedClock {
    pub fn new() -> Self {
        tokio::time::pause();
        let (held, released) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        Self { _held: held }
    }

    /// Moves it on.
    pub async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
    }

    /// Moves it past a deadline that is this far away. Timers are woken at the next whole millisecond.
    pub async fn pass(&self, deadline: Duration) {
        self.advance(deadline + Duration::from_millis(1)).await;
    }
}
