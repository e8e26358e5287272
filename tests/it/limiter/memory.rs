//! The memory store: the suite by a clock of the test's own, its bound, and threads that meet in it.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use proptest::prelude::*;
use tollgate::{
    limiter::{Call, Micros, Policy, ServerId, Verdict},
    stores::{
        Memory,
        clock::{Clock, SteadyClock},
    },
};

use super::{
    conformance::{self, Bench, bucket, policy, server},
    histories::{History, Model, Step, histories},
};

/// Stands still until it is moved.
#[derive(Clone)]
pub struct StillClock(Arc<AtomicU64>);

impl StillClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_787_000_000_000_000)))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_micros()).expect("a short time"), Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

pub struct InMemory {
    store: Arc<Memory<StillClock>>,
    clock: StillClock,
}

impl Bench for InMemory {
    type Store = Memory<StillClock>;

    const LAG: Duration = Duration::ZERO;

    async fn start() -> Self {
        let clock = StillClock::new();
        Self { store: Arc::new(Memory::with_capacity(NonZeroUsize::MAX, clock.clone())), clock }
    }

    fn store(&self) -> Arc<Self::Store> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }
}

conformance::conformance!(InMemory);

proptest! {
    #[test]
    fn every_history_is_as_settle_has_it(history in histories()) {
        replay(&history)?;
    }
}

/// What others write is left out: there are no others.
fn replay(history: &History) -> Result<(), TestCaseError> {
    let policy = history.policy(&ServerId::new("ns", "mcp"));
    let (clock, mut model) = (StillClock::new(), Model::new(policy.clone()));
    let store = Memory::with_capacity(NonZeroUsize::MAX, clock.clone());
    for step in &history.steps {
        match step {
            Step::Move(us) => model.pass(*us),
            Step::Calls(calls) => {
                clock.0.store(model.now.0, Ordering::SeqCst);
                for asked in calls {
                    prop_assert_eq!(store.take_now(&asked.plan(&policy)), model.decide(asked), "{:?}", asked);
                }
            }
            Step::Write(..) | Step::Forget(_) => {}
        }
    }
    Ok(())
}

fn sized(capacity: usize, clock: &StillClock) -> Memory<StillClock> {
    Memory::with_capacity(NonZeroUsize::new(capacity).expect("room for something"), clock.clone())
}

fn call(store: &Memory<StillClock>, policy: &Policy, user: &str) -> bool {
    matches!(store.take_now(&policy.plan(&Call::of("t").by(user))), Verdict::Allowed { .. })
}

#[test]
fn full_buckets_are_forgotten() {
    let (clock, policy) = (StillClock::new(), policy(&server(bucket(1_000_000, "1s"), bucket(2, "1m"))));
    let store = sized(1_000_000, &clock);
    for user in 0..200_000 {
        assert!(call(&store, &policy, &format!("user-{user}")));
        clock.pass(Duration::from_millis(30));
    }
    assert!(store.len() < 5 * 1001, "1001 buckets are in use at any time, {} are kept", store.len());
    assert_eq!(store.evicted(), 0);
}

#[test]
fn users_without_end_stay_within_the_cap() {
    for capacity in [1, 7, 64, 1000, 5000] {
        let (clock, policy) = (StillClock::new(), policy(&server(bucket(1_000_000, "1h"), bucket(2, "1h"))));
        let store = sized(capacity, &clock);
        for user in 0..20_000 {
            assert!(call(&store, &policy, &format!("user-{user}")));
            clock.pass(Duration::from_micros(10));
        }
        assert!(store.len() <= capacity.next_multiple_of(64) + 1, "{} buckets, {capacity} asked for", store.len());
        assert!(store.evicted() >= 20_000 - store.len() as u64);
    }
}

/// The attack that a bound invites: fill the store with new names, so that others' buckets, or one's own, are forgotten.
#[test]
fn a_flood_of_users_frees_nobody_who_is_drained() {
    let (clock, policy) = (StillClock::new(), policy(&server(bucket(50_000, "1000h"), bucket(10, "1h"))));
    let store = sized(1000, &clock);
    for _ in 0..10 {
        assert!(call(&store, &policy, "drained"));
    }
    for user in 0..49_990 {
        assert!(call(&store, &policy, &format!("user-{user}")));
        assert!(!call(&store, &policy, "drained"), "after {user} others");
    }
    assert!(!call(&store, &policy, "anybody"), "the limit that all share is never forgotten");
}

#[test]
fn threads_take_neither_too_much_nor_for_ever() {
    let (clock, policy) = (StillClock::new(), policy(&server(bucket(3000, "1h"), bucket(500, "1h"))));
    let store = sized(100_000, &clock);
    let allowed = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..8 {
            let (store, policy, allowed) = (&store, &policy, &allowed);
            scope.spawn(move || {
                for turn in 0..2000 {
                    // Users in another order in every thread, so that shards are wanted in every order.
                    let user = format!("user-{}", (turn * (worker + 1)) % 10);
                    allowed.fetch_add(u64::from(call(store, policy, &user)), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(allowed.into_inner(), 3000);
}

#[test]
fn the_steady_clock_tells_the_system_s_time() {
    let system = || Micros::default() + std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let before = system();
    let reported = SteadyClock::new().now();
    assert!(before <= reported && reported <= system() + Duration::from_secs(1), "{reported:?}");
}
