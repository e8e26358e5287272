//! The callers: each calls again as soon as it gets a response.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::task::{JoinSet, coop};

use super::{
    parties::Party,
    scenario::{Outcome, Place, Scenario},
};

/// Callers that drain and make buckets before anything is measured.
const PREPARERS: usize = 64;

/// Who calls, and what they are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    callers: usize,
    users: usize,
    is_allowed: bool,
    /// Of so many calls one is timed.
    timed_of: usize,
}

/// The outcome of a round.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: usize,
    /// Of the calls that were timed.
    pub(super) latencies: Vec<Duration>,
    /// From the first question to the last answer.
    pub(super) elapsed: Duration,
}

impl Load {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let timed_of = if scenario.place == Place::Redis { 1 } else { 64 };
        Self { callers: scenario.callers, users: scenario.users, is_allowed: scenario.outcome == Outcome::Allow, timed_of }
    }
}

/// Calls by every user, until each bucket is there and, where calls are to be denied, empty.
pub(super) async fn prepare<P: Party>(party: &Arc<P>, scenario: &Scenario) -> anyhow::Result<()> {
    let (users, outcome) = (scenario.users, scenario.outcome);
    let mut preparers = JoinSet::new();
    for first in 0..PREPARERS.min(users) {
        let party = Arc::clone(party);
        preparers.spawn(async move {
            for user in (first..users).step_by(PREPARERS) {
                ensure!(party.decide(user).await?, "{} denies the first call", party.name());
                ensure!(outcome == Outcome::Allow || !party.decide(user).await?, "{} allows the second call of one", party.name());
            }
            Ok(())
        });
    }
    while let Some(prepared) = preparers.join_next().await {
        prepared??;
    }
    Ok(())
}

/// Keeps the callers calling for a while.
pub(super) async fn run<P: Party>(party: &Arc<P>, load: &Load, duration: Duration) -> anyhow::Result<Tally> {
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for index in 0..load.callers {
        callers.spawn(caller(Arc::clone(party), *load, Users::new(index, load.users), Arc::clone(&stop)));
    }
    tokio::time::sleep(duration).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Tally::default();
    while let Some(tally) = callers.join_next().await {
        let tally = tally??;
        all.calls += tally.calls;
        all.latencies.extend(tally.latencies);
    }
    all.elapsed = began.elapsed();
    Ok(all)
}

async fn caller<P: Party>(party: Arc<P>, load: Load, mut users: Users, stop: Arc<AtomicBool>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let user = users.next();
        let asked = tally.calls.is_multiple_of(load.timed_of).then(Instant::now);
        let is_allowed = party.decide(user).await?;
        tally.latencies.extend(asked.map(|asked| asked.elapsed()));
        ensure!(is_allowed == load.is_allowed, "{} {} a call", party.name(), if is_allowed { "allows" } else { "denies" });
        tally.calls += 1;
        // Who never has to wait would keep the others from calling.
        coop::consume_budget().await;
    }
    Ok(tally)
}

/// Random users, cheap and the same in each round.
struct Users {
    state: u64,
    users: u64,
}

impl Users {
    fn new(caller: usize, users: usize) -> Self {
        Self { state: (caller as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), users: users as u64 }
    }

    /// Marsaglia's xorshift64*, scaled by the high half of a product.
    fn next(&mut self) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((random * self.users) >> 32) as usize
    }
}
