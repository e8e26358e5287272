//! Group commit: calls that arrive while a script is in flight form the next script.
//!
//! ```text
//! fewer than two scripts in flight   the call is sent alone, at once, driven by its own caller: no task, no queue, no delay
//! two in flight                      the call joins the next script, sent when one of them completes, driven by a task
//! ```
//!
//! Batches do not wait for a timer: they grow with the load, down to a single call. A batch holds at most [`MOST_CALLS`] calls,
//! [`MOST_KEYS`] keys and [`MOST_DRAWS`] draws, so that one script blocks Redis for a millisecond or two; later calls go into the batch after
//! it. Callers that gave up before their batch was sent are removed from it: no token is taken for a caller that is gone.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    runner::Runner,
    script::{self, Batch, Outcome, Reply},
};
use crate::limiter::{Cause, Micros, Plan, StoreError};

/// Maximum number of calls in one script.
const MOST_CALLS: usize = 256;
/// Maximum number of keys in one script; a single call may have more. Each costs Redis some 3 to 8 us.
const MOST_KEYS: usize = 256;
/// Maximum number of draws in one script; a single call may have more. On keys that other calls of the batch draw on, each costs 1 to 2 us.
const MOST_DRAWS: usize = 1024;
/// Scripts in flight at once. Redis runs one at a time; the other is already there when it completes, while the callers of the first get
/// their results. More than two would only make the batches smaller.
const MOST_FLYING: usize = 2;

/// The outcome of one call, and Redis' time.
pub(super) type Landed = Result<(Outcome, Micros), StoreError>;

/// The queue for one connection, or for one server's node of a cluster.
#[derive(Debug)]
pub(super) struct Link {
    runner: Arc<Runner>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    flying: usize,
    waiting: VecDeque<Waiting>,
}

/// A batch that has not been sent yet, and its waiting callers.
#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    draws: usize,
    jobs: Vec<Job>,
}

/// A call in a batch.
#[derive(Debug)]
struct Job {
    /// Its position in the batch.
    call: Range<usize>,
    reply: oneshot::Sender<Landed>,
}

/// How a call is sent.
enum Boarding {
    Alone(Flight),
    InLine(oneshot::Receiver<Landed>),
}

/// A script in flight. However it ends, the next one is sent.
struct Flight {
    link: Arc<Link>,
    /// The queue knows that it has ended.
    over: bool,
}

impl Link {
    pub(super) fn new(runner: Arc<Runner>) -> Arc<Self> {
        Arc::new(Self { runner, line: Mutex::default() })
    }

    /// Decides a call.
    pub(super) async fn take(self: &Arc<Self>, plan: &Plan<'_>) -> Landed {
        if plan.draws().len() > script::MOST {
            return Err(StoreError::untaken(Cause::Other, "the call draws on more buckets than a script can address"));
        }
        match self.board(plan) {
            Boarding::Alone(flight) => {
                let mut batch = Batch::default();
                batch.add(plan);
                let landed = self.runner.decide(&batch).await;
                drop(flight);
                landed.and_then(|reply| each(reply).next().ok_or_else(lost))
            }
            Boarding::InLine(reply) => reply.await.unwrap_or_else(|_| Err(lost())),
        }
    }

    fn board(self: &Arc<Self>, plan: &Plan<'_>) -> Boarding {
        let mut line = self.line();
        if line.flying < MOST_FLYING {
            line.flying += 1;
            return Boarding::Alone(Flight { link: Arc::clone(self), over: false });
        }
        let (reply, answer) = oneshot::channel();
        line.wait(plan, reply);
        Boarding::InLine(answer)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Adds a call to the last batch, or to a new one if it does not fit.
    fn wait(&mut self, plan: &Plan<'_>, reply: oneshot::Sender<Landed>) {
        match self.waiting.back_mut() {
            Some(last) if last.has_room_for(plan) => last.add(plan, reply),
            _ => {
                let mut next = Waiting::default();
                next.add(plan, reply);
                self.waiting.push_back(next);
            }
        }
    }
}

impl Waiting {
    fn has_room_for(&self, plan: &Plan<'_>) -> bool {
        let draws = plan.draws().len();
        self.jobs.len() < MOST_CALLS && self.batch.keys() + draws <= MOST_KEYS && self.draws + draws <= MOST_DRAWS
    }

    fn add(&mut self, plan: &Plan<'_>, reply: oneshot::Sender<Landed>) {
        self.draws += plan.draws().len();
        self.jobs.push(Job { call: self.batch.add(plan), reply });
    }

    /// Removes callers that gave up.
    fn leave(mut self) -> Self {
        if self.jobs.iter().any(|job| job.reply.is_closed()) {
            self.jobs.retain(|job| !job.reply.is_closed());
            self.batch.keep(self.jobs.iter().map(|job| job.call.clone()));
        }
        self
    }

    fn land(self, landed: Result<Reply, StoreError>) {
        // Callers that gave up meanwhile are not listening.
        match landed {
            Ok(reply) => std::iter::zip(self.jobs, each(reply)).for_each(|(job, landed)| drop(job.reply.send(Ok(landed)))),
            Err(error) => self.jobs.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone())))),
        }
    }
}

impl Flight {
    /// The next batch to send; `None` if this was the last one.
    fn next(&mut self) -> Option<Waiting> {
        let mut line = self.link.line();
        while let Some(waiting) = line.waiting.pop_front() {
            let leaving = waiting.leave();
            if !leaving.jobs.is_empty() {
                return Some(leaving);
            }
        }
        line.flying -= 1;
        self.over = true;
        None
    }

    /// Sends one batch after the other until no one waits.
    async fn shuttle(mut self, first: Waiting) {
        let mut next = Some(first);
        while let Some(waiting) = next {
            let landed = self.link.runner.decide(&waiting.batch).await;
            waiting.land(landed);
            next = self.next();
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let Some(waiting) = self.next() else { return };
        let next = Self { link: Arc::clone(&self.link), over: false };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(next.shuttle(waiting));
        } else {
            // The runtime is shutting down, and the waiting callers with it: dropping their jobs notifies them, and the next flight finds
            // an empty queue.
            drop(waiting);
            drop(next);
        }
    }
}

/// The outcomes one by one.
fn each(reply: Reply) -> impl Iterator<Item = (Outcome, Micros)> {
    reply.outcomes.into_iter().map(move |outcome| (outcome, reply.at))
}

fn lost() -> StoreError {
    StoreError::unknown(Cause::Other, "the batch was interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Call, plan::tests::policy};

    #[test]
    fn a_batch_is_bounded_by_calls_keys_and_draws() {
        let policy = policy();
        let filled = |tools: &[&str], users: usize| {
            let mut waiting = Waiting::default();
            for call in 0.. {
                let by = (call % users).to_string();
                let plan = policy.plan(&Call::batch(tools).by(&by));
                if !waiting.has_room_for(&plan) {
                    break;
                }
                waiting.add(&plan, oneshot::channel().0);
            }
            (waiting.jobs.len(), waiting.batch.keys(), waiting.draws)
        };
        assert_eq!(filled(&["search"], 100), (MOST_CALLS, 202, MOST_DRAWS), "keys that calls have in common are sent once");
        assert_eq!(filled(&["search"], usize::MAX), (126, 254, 504), "no room for four more keys");
        assert_eq!(filled(&["search", "list"], 1), (204, 5, 1020), "no room for five more draws");
        assert_eq!(filled(&["other"], 1), (MOST_CALLS, 2, 512));
    }
}
