//! Callers under a fault, and what they saw.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tollgate::{
    limiter::{Call, Cause, DecidedBy, Decision, Limiter, Observer, Plan, Policy, ServerId, Store as _, StoreError},
    stores::{Guard, GuardSettings, Redis, guard::DEADLINE, redis::RedisSettings},
};

use crate::{
    limiter::conformance::{bucket, server},
    support::{redis::Server, time::eventually},
};

/// What a call may take beyond its deadline, and beyond the longest time for which the machine did not let a thread run.
const SLACK: Duration = Duration::from_millis(400);
/// How long the thread sleeps that measures that time.
const TICK: Duration = Duration::from_millis(5);
/// A deadline so long that a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(3);
pub const CALLERS: usize = 8;
/// Calls that may wait in vain: each caller five times before the breaker opens, since calls that fail together are one failure, and then
/// one call a probe.
pub const MOST_WAITING: usize = 6 * CALLERS;
const TOKENS: u32 = 100_000_000;
/// So long that what comes back meanwhile does not count.
const PERIOD: &str = "2000000h";

/// How long a fault lasts: that is what is tested, so nothing ends it earlier.
pub async fn lasts(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A limiter under load, and who counts.
pub struct Load {
    limiter: Arc<Limiter<Guard<Redis>>>,
    deadline: Duration,
    reported: Arc<Reports>,
    clock: Arc<Clock>,
    callers: JoinSet<Vec<Seen>>,
}

/// The time of a test, until it is over.
struct Clock {
    begun: Instant,
    over: AtomicBool,
    /// The start of the last call that the store decided, in microseconds.
    decided_us: AtomicU64,
    /// The longest time for which a thread that wanted to run did not, in microseconds.
    stalled_us: AtomicU64,
}

/// One call, as its caller saw it.
struct Seen {
    asked: Duration,
    took: Duration,
    decided: Result<Decision, StoreError>,
}

/// What the guard reported.
#[derive(Default)]
struct Reports {
    /// Failures after which the token may be gone.
    unknown: AtomicU64,
    /// Calls that waited in vain until the deadline.
    timeouts: AtomicU64,
    causes: Mutex<BTreeSet<&'static str>>,
    /// What failures said.
    errors: Mutex<BTreeSet<String>>,
    /// Whether the store was answering, at each change.
    changes: Mutex<Vec<bool>>,
}

/// What came of it all.
pub struct Figures {
    fault: &'static str,
    seen: Vec<Seen>,
    began: Duration,
    went: Duration,
    unknown: u64,
    waited: u64,
    stalled: Duration,
    pub causes: BTreeSet<&'static str>,
    pub errors: BTreeSet<String>,
    changes: Vec<bool>,
}

/// What Redis keeps of the tokens that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    All,
    /// A tail may be lost: replicas are behind.
    Most,
}

impl Observer for Reports {
    fn failed(&self, _: &Plan<'_>, error: &StoreError) {
        self.unknown.fetch_add(u64::from(error.may_have_taken()), Ordering::SeqCst);
        self.timeouts.fetch_add(u64::from(error.cause() == Cause::Timeout), Ordering::SeqCst);
        self.causes.lock().expect("whole").insert(error.cause().name());
        self.errors.lock().expect("whole").insert(error.to_string());
    }

    fn store_is(&self, answering: bool) {
        self.changes.lock().expect("whole").push(answering);
    }
}

impl Load {
    /// Callers behind a guard as it is by default, whom the store decides by now.
    pub async fn start(settings: &RedisSettings) -> Self {
        Self::start_with(settings, DEADLINE).await
    }

    /// The same behind a guard with another deadline.
    pub async fn start_with(settings: &RedisSettings, deadline: Duration) -> Self {
        let load = Self::start_without(settings, deadline);
        load.wait_until_decided("before the fault").await;
        load
    }

    /// The same, whether there is a Redis or not.
    pub fn start_without(settings: &RedisSettings, deadline: Duration) -> Self {
        let reported = Arc::new(Reports::default());
        let guard = GuardSettings::default().deadline(deadline).observer(Arc::clone(&reported) as Arc<dyn Observer>);
        let store = Guard::new(Redis::new(settings).expect("good settings"), guard);
        let policy = Policy::new(&server_id(), &server(bucket(TOKENS, PERIOD), None));
        let limiter = Arc::new(Limiter::new(store, policy));
        let clock = Clock::start();
        let callers = std::iter::repeat_with(|| call(Arc::clone(&limiter), Arc::clone(&clock))).take(CALLERS).collect();
        Self { limiter, deadline, reported, clock, callers }
    }

    /// Runs a fault, which has come and gone when its future ends. Then waits until the store decides again, and stops.
    pub async fn under(mut self, fault: &'static str, happens: impl AsyncFnOnce(&Self)) -> Figures {
        let timeouts = || self.reported.timeouts.load(Ordering::SeqCst);
        let (began, waited_before) = (self.clock.begun.elapsed(), timeouts());
        happens(&self).await;
        let (went, waited) = (self.clock.begun.elapsed(), timeouts() - waited_before);
        self.wait_until_decided(fault).await;
        // Some load on the store that is back, for figures.
        lasts(Duration::from_millis(200)).await;
        self.clock.over.store(true, Ordering::SeqCst);
        let mut seen = Vec::new();
        while let Some(of_caller) = self.callers.join_next().await {
            seen.extend(of_caller.expect("no caller panics"));
        }
        let unknown = self.reported.unknown.load(Ordering::SeqCst);
        let causes = self.reported.causes.lock().expect("whole").clone();
        let errors = self.reported.errors.lock().expect("whole").clone();
        let changes = self.reported.changes.lock().expect("whole").clone();
        let stalled = Duration::from_micros(self.clock.stalled_us.load(Ordering::SeqCst));
        let figures = Figures { fault, seen, began, went, unknown, waited, stalled, causes, errors, changes };
        figures.check(self.deadline);
        figures
    }

    /// Why the store would not answer now.
    pub async fn probe(&self) -> Option<StoreError> {
        self.limiter.store().probe().await.err()
    }

    /// Waits until the store decides calls that are asked from now on.
    async fn wait_until_decided(&self, when: &str) {
        let now = self.clock.begun.elapsed();
        eventually(&format!("the store to decide, {when}"), async || {
            Duration::from_micros(self.clock.decided_us.load(Ordering::SeqCst)) > now && self.limiter.store().is_asking()
        })
        .await;
    }
}

impl Clock {
    fn start() -> Arc<Self> {
        let clock = Self { begun: Instant::now(), over: false.into(), decided_us: 0.into(), stalled_us: 0.into() };
        let clock = Arc::new(clock);
        let measured = Arc::downgrade(&clock);
        thread::spawn(move || {
            while let Some(clock) = measured.upgrade().filter(|clock| !clock.over.load(Ordering::SeqCst)) {
                let slept = Instant::now();
                thread::sleep(TICK);
                let stalled = slept.elapsed().saturating_sub(TICK).as_micros();
                clock.stalled_us.fetch_max(u64::try_from(stalled).expect("a short test"), Ordering::SeqCst);
            }
        });
        clock
    }
}

async fn call(limiter: Arc<Limiter<Guard<Redis>>>, clock: Arc<Clock>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !clock.over.load(Ordering::SeqCst) {
        let asked = clock.begun.elapsed();
        let decided = limiter.decide(&Call::of("t")).await;
        if matches!(&decided, Ok(decision) if decision.source() == DecidedBy::Store) {
            clock.decided_us.fetch_max(u64::try_from(asked.as_micros()).expect("a short test"), Ordering::SeqCst);
        }
        seen.push(Seen { asked, took: clock.begun.elapsed() - asked, decided });
        // The pace of one caller, so that eight of them leave the machine to Redis.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    seen
}

impl Seen {
    fn source(&self) -> Option<DecidedBy> {
        self.decided.as_ref().ok().map(Decision::source)
    }
}

impl Figures {
    #[allow(clippy::print_stdout, reason = "the row is for people")]
    fn check(&self, deadline: Duration) {
        println!("{self}");
        let slowest = self.slowest();
        let stalled = self.stalled;
        assert!(slowest <= deadline + stalled + SLACK, "{}: a call took {slowest:?}; the machine stalled for {stalled:?}", self.fault);
        for seen in &self.seen {
            assert!(seen.decided.as_ref().is_ok_and(Decision::is_allowed), "{}: {:?}", self.fault, seen.decided);
        }
        // A machine that stalls for the deadline may open the breaker once more, even at the end.
        let in_turn = std::iter::zip(&self.changes, [false, true].into_iter().cycle()).all(|(change, expected)| *change == expected);
        assert!(in_turn, "{}: away and back in turn: {:?}", self.fault, self.changes);
    }

    /// What is missing from the bucket is what was allowed, and at most a token for each call of which nobody knows the outcome.
    #[allow(clippy::print_stdout, reason = "the row is for people")]
    pub async fn check_tokens(&self, server: &Server, kept: Kept) -> (u64, u64) {
        let left: f64 = server.ask(&format!("HGET {} tokens", server_id().global_key())).await;
        let taken = (f64::from(TOKENS) - left).round() as u64;
        let allowed = self.seen.iter().filter(|seen| seen.source() == Some(DecidedBy::Store)).count() as u64;
        println!("    tokens: {allowed} calls allowed by the store, {taken} taken, {} calls of unknown outcome", self.unknown);
        assert!(taken <= allowed + self.unknown, "{}: {taken} taken for {allowed} calls and {} unknown", self.fault, self.unknown);
        assert!(taken >= allowed || kept == Kept::Most, "{}: {taken} taken for {allowed} calls", self.fault);
        (allowed, taken)
    }

    /// Calls during the fault that were decided without the store.
    pub fn without(&self) -> usize {
        self.during().filter(|seen| seen.source() != Some(DecidedBy::Store)).count()
    }

    /// Calls during the fault.
    pub fn calls(&self) -> usize {
        self.during().count()
    }

    /// Calls during the fault that waited in vain until the deadline. Others without the store waited for nothing.
    pub fn waited(&self) -> usize {
        usize::try_from(self.waited).expect("a short test")
    }

    fn during(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|seen| (self.began..self.went).contains(&seen.asked))
    }

    fn slowest(&self) -> Duration {
        self.seen.iter().map(|seen| seen.took).max().unwrap_or_default()
    }

    /// From the end of the fault to the first answer of the store to a call that was asked after it.
    fn recovered(&self) -> Duration {
        let after = self.seen.iter().filter(|seen| seen.asked >= self.went && seen.source() == Some(DecidedBy::Store));
        after.map(|seen| seen.asked + seen.took).min().unwrap_or(Duration::MAX).saturating_sub(self.went)
    }

    fn median_without(&self) -> Duration {
        let mut took: Vec<_> = self.during().filter(|seen| seen.source() != Some(DecidedBy::Store)).map(|seen| seen.took).collect();
        took.sort();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lasted, causes) = (self.went - self.began, self.causes.iter().copied().collect::<Vec<_>>().join(", "));
        write!(
            f,
            "{}: lasted {lasted:.1?}, {} calls, {} without the store (median {:.1?}, {} waited), slowest {:.1?}, decided again after {:.1?}, away {} times, causes [{causes}]",
            self.fault,
            self.calls(),
            self.without(),
            self.median_without(),
            self.waited(),
            self.slowest(),
            self.recovered(),
            self.changes.len() / 2,
        )
    }
}

pub fn server_id() -> ServerId {
    ServerId::new("ns", "mcp")
}
