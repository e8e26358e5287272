//! Group commit: calls that arrive while a script is under way become the next script.
//!
//! ```text
//! nobody under way     the call goes out alone, at once, driven by its own caller: no task, no queue, no delay
//! a script under way   the call waits in line; when the script lands, all that wait go out together, driven by a task
//! ```
//!
//! No timer: the batch grows with the load and is one call when there is none. A batch holds at most [`MOST_CALLS`] calls and [`MOST_DRAWS`]
//! draws, so that one script keeps others from Redis for about a millisecond. Who gave up waiting before their batch left is left out: no
//! token is taken for a caller who is gone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{ask::Ask, runner::Runner, script::Outcome};
use crate::limiter::{Cause, Micros, StoreError};

/// Calls in one script, at most.
const MOST_CALLS: usize = 256;
/// Draws in one script, at most; a single call may have more. Each distinct key costs Redis some 4 to 10 us.
const MOST_DRAWS: usize = 256;
/// Scripts under way at once. More than one would only make the batches smaller: Redis runs one at a time.
const MOST_FLYING: usize = 1;

/// The outcome of one call, and the time by Redis' clock.
pub(super) type Landed = Result<(Outcome, Micros), StoreError>;

/// The line of those who wait for one connection, or for one server's node of a cluster.
#[derive(Debug)]
pub(super) struct Link {
    runner: Arc<Runner>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    flying: usize,
    waiting: VecDeque<Job>,
}

/// A call in line.
#[derive(Debug)]
struct Job {
    ask: Ask,
    reply: oneshot::Sender<Landed>,
}

/// How a call goes out.
enum Boarding {
    Alone(Ask, Flight),
    InLine(oneshot::Receiver<Landed>),
}

/// A script under way. However it ends, the next one leaves.
struct Flight {
    link: Arc<Link>,
    /// The line knows that it has ended.
    over: bool,
}

impl Link {
    pub(super) fn new(runner: Arc<Runner>) -> Arc<Self> {
        Arc::new(Self { runner, line: Mutex::default() })
    }

    /// Decides a call.
    pub(super) async fn take(self: &Arc<Self>, ask: Ask) -> Landed {
        match self.board(ask) {
            Boarding::Alone(ask, flight) => {
                let mut landed = self.runner.run(std::slice::from_ref(&ask)).await;
                drop(flight);
                landed.pop().unwrap_or_else(|| Err(lost()))
            }
            Boarding::InLine(reply) => reply.await.unwrap_or_else(|_| Err(lost())),
        }
    }

    fn board(self: &Arc<Self>, ask: Ask) -> Boarding {
        let mut line = self.line();
        if line.flying < MOST_FLYING {
            line.flying += 1;
            return Boarding::Alone(ask, Flight { link: Arc::clone(self), over: false });
        }
        let (reply, answer) = oneshot::channel();
        line.waiting.push_back(Job { ask, reply });
        Boarding::InLine(answer)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Takes those who wait, as far as they fit; none when this flight was the last.
    fn next(&mut self) -> Vec<Job> {
        let mut line = self.link.line();
        let (mut batch, mut draws) = (Vec::with_capacity(line.waiting.len().min(MOST_CALLS)), 0);
        while let Some(job) = line.waiting.pop_front() {
            let with_it = draws + job.ask.draws().len();
            if !batch.is_empty() && !fits(batch.len(), with_it) {
                line.waiting.push_front(job);
                break;
            }
            if !job.reply.is_closed() {
                draws = with_it;
                batch.push(job);
            }
        }
        if batch.is_empty() {
            line.flying -= 1;
            self.over = true;
        }
        batch
    }

    /// Flies one batch after the other until nobody waits.
    async fn shuttle(mut self, mut batch: Vec<Job>) {
        while !batch.is_empty() {
            let (asks, replies): (Vec<Ask>, Vec<_>) = batch.into_iter().map(|job| (job.ask, job.reply)).unzip();
            let landed = self.link.runner.run(&asks).await;
            for (reply, landed) in std::iter::zip(replies, landed) {
                // Who gave up meanwhile does not listen.
                let _ = reply.send(landed);
            }
            batch = self.next();
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let batch = self.next();
        if batch.is_empty() {
            return;
        }
        let next = Self { link: Arc::clone(&self.link), over: false };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(next.shuttle(batch));
        } else {
            // The runtime is gone, and with it those who wait: dropping their jobs tells them, and the next flight finds an empty line.
            drop(batch);
            drop(next);
        }
    }
}

fn fits(calls: usize, draws: usize) -> bool {
    calls < MOST_CALLS && draws <= MOST_DRAWS
}

fn lost() -> StoreError {
    StoreError::unknown(Cause::Other, "the batch was interrupted")
}
