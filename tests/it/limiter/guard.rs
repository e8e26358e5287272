//! The guard over a store that hangs, fails or answers as a test sets it. Time is tokio's, paused, so waiting takes none.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tollgate::{
    limiter::{Call, Cause, DecidedBy, Decision, Limiter, Observer, Plan, Store, StoreAnswer, StoreError, Verdict},
    stores::{Guard, GuardSettings, OnStoreError},
};

use super::conformance::{bucket, policy, server};

const DEADLINE: Duration = Duration::from_millis(60);
const PROBE_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    /// Answers probes only.
    Wakes,
    Hangs,
    Fails(Cause),
}

/// A store by its mood, which counts how often it is asked and probed.
struct Moody {
    mood: Mutex<Mood>,
    asked: AtomicU32,
    probed: AtomicU32,
}

impl Moody {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), asked: AtomicU32::new(0), probed: AtomicU32::new(0) })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().expect("whole") = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().expect("whole")
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Store for Moody {
    async fn take(&self, _: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.mood() {
            Mood::Answers => Ok(Verdict::Allowed { remaining: Some(7), shadow: None }.into()),
            Mood::Hangs => std::future::pending().await,
            Mood::Wakes => Err(StoreError::untaken(Cause::Other, "not yet")),
            Mood::Fails(cause) => Err(StoreError::untaken(cause, "told to")),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.probed.fetch_add(1, Ordering::SeqCst);
        match self.mood() {
            Mood::Answers | Mood::Wakes => Ok(()),
            Mood::Hangs => std::future::pending().await,
            Mood::Fails(cause) => Err(StoreError::untaken(cause, "told to")),
        }
    }
}

#[derive(Default)]
struct Reports {
    failures: AtomicU32,
    turns: Mutex<Vec<bool>>,
}

impl Observer for Reports {
    fn failed(&self, _: &Plan<'_>, _: &StoreError) {
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    fn store_is(&self, answering: bool) {
        self.turns.lock().expect("whole").push(answering);
    }
}

/// A limiter of two calls an hour and user, on a guarded moody store.
struct Guarded {
    store: Arc<Moody>,
    reported: Arc<Reports>,
    limiter: Limiter<Guard<Arc<Moody>>>,
}

impl Guarded {
    fn new(mood: Mood, on_store_error: OnStoreError) -> Self {
        let (store, reported) = (Moody::new(mood), Arc::new(Reports::default()));
        let settings = GuardSettings::default().deadline(DEADLINE).probe_every(PROBE_EVERY).on_store_error(on_store_error);
        let guard = Guard::new(Arc::clone(&store), settings.observer(Arc::clone(&reported) as Arc<dyn Observer>));
        let limiter = Limiter::new(guard, policy(&server(None, bucket(2, "1h"))));
        Self { store, reported, limiter }
    }

    async fn decide(&self) -> Result<Decision, StoreError> {
        self.limiter.decide(&Call::of("t").by("alice")).await
    }

    async fn source(&self) -> DecidedBy {
        self.decide().await.expect("a decision").source()
    }

    async fn break_it(&self) {
        for _ in 0..5 {
            let _ = self.decide().await;
        }
        assert!(!self.limiter.store().is_asking());
    }

    async fn until_it_asks(&self) {
        let start = Instant::now();
        while !self.limiter.store().is_asking() {
            assert!(start.elapsed() < Duration::from_secs(10), "it stays open");
            tokio::time::sleep(PROBE_EVERY / 5).await;
            let _ = self.decide().await;
        }
    }

    fn turns(&self) -> Vec<bool> {
        self.reported.turns.lock().expect("whole").clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_decides() {
    let guarded = Guarded::new(Mood::Answers, OnStoreError::Open);
    assert_eq!(
        guarded.decide().await.expect("a decision"),
        Decision::Allowed { remaining: Some(7), shadow: None, source: DecidedBy::Store }
    );
    assert_eq!((guarded.store.asked(), guarded.turns()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_deadline_five_times_and_then_nothing() {
    let guarded = Guarded::new(Mood::Hangs, OnStoreError::Open);
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(guarded.source().await, DecidedBy::FailOpen);
        assert_eq!(start.elapsed(), DEADLINE);
    }
    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(guarded.source().await, DecidedBy::FailOpen);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(guarded.store.asked(), 5, "each call was sent once, and none while it is open");
    assert_eq!(guarded.reported.failures.load(Ordering::SeqCst), 5);
    assert_eq!(guarded.turns(), [false]);
}

#[tokio::test(start_paused = true)]
async fn it_recovers_by_itself() {
    let guarded = Guarded::new(Mood::Fails(Cause::Connection), OnStoreError::Open);
    guarded.break_it().await;
    guarded.store.set(Mood::Answers);
    guarded.until_it_asks().await;
    assert_eq!(guarded.source().await, DecidedBy::Store);
    assert_eq!(guarded.turns(), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_probes_only_gets_one_call_a_probe() {
    let guarded = Guarded::new(Mood::Fails(Cause::Connection), OnStoreError::Open);
    guarded.break_it().await;
    guarded.store.set(Mood::Wakes);
    let asked = guarded.store.asked();
    let start = Instant::now();
    while guarded.store.asked() < asked + 3 {
        assert!(start.elapsed() < Duration::from_secs(10), "it is never tried");
        assert_eq!(guarded.source().await, DecidedBy::FailOpen);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(start.elapsed() >= 2 * PROBE_EVERY, "between two tries there is a probe");
    assert_eq!(guarded.turns(), [false], "away all the time");
}

#[tokio::test(start_paused = true)]
async fn closed_tells_why() {
    let guarded = Guarded::new(Mood::Fails(Cause::Auth), OnStoreError::Closed);
    let error = guarded.decide().await.expect_err("not decided");
    assert_eq!((error.cause(), error.may_have_taken()), (Cause::Auth, false));
    guarded.break_it().await;
    let error = guarded.decide().await.expect_err("not decided");
    assert!(error.to_string().contains("is not asked"), "{error}");
    guarded.store.set(Mood::Hangs);
    let hanging = Guarded::new(Mood::Hangs, OnStoreError::Closed).decide().await.expect_err("not decided");
    assert_eq!((hanging.cause(), hanging.may_have_taken()), (Cause::Timeout, true));
}

#[tokio::test(start_paused = true)]
async fn local_limits_by_itself() {
    let guarded = Guarded::new(Mood::Fails(Cause::Connection), OnStoreError::Local);
    for _ in 0..2 {
        assert!(matches!(guarded.decide().await, Ok(Decision::Allowed { source: DecidedBy::Local, .. })));
    }
    let Ok(Decision::Denied(denial)) = guarded.decide().await else { panic!("the third of two") };
    assert_eq!((denial.limit.to_string().as_str(), denial.source, denial.retry_after_secs()), ("perUser", DecidedBy::Local, Some(1800)));
}

#[tokio::test(start_paused = true)]
async fn one_bad_bucket_is_no_bad_store() {
    let guarded = Guarded::new(Mood::Fails(Cause::Bucket), OnStoreError::Open);
    for _ in 0..20 {
        assert_eq!(guarded.source().await, DecidedBy::FailOpen);
    }
    assert_eq!((guarded.store.asked(), guarded.turns()), (20, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_block_the_way_back() {
    let guarded = Guarded::new(Mood::Hangs, OnStoreError::Open);
    guarded.break_it().await;
    guarded.store.set(Mood::Wakes);
    while guarded.store.probed.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    guarded.store.set(Mood::Hangs);
    // The one call that tries, given up by its caller before the deadline.
    let _ = tokio::time::timeout(DEADLINE / 6, guarded.decide()).await;
    guarded.store.set(Mood::Answers);
    guarded.until_it_asks().await;
}

#[test]
fn one_line_when_it_goes_and_one_when_it_comes() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // With a single subscriber, events first met by another test's thread would be off for ever; with two, each is asked.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let guarded = Guarded::new(Mood::Fails(Cause::Connection), OnStoreError::Open);
            guarded.break_it().await;
            for _ in 0..100 {
                assert_eq!(guarded.source().await, DecidedBy::FailOpen);
            }
            guarded.store.set(Mood::Answers);
            guarded.until_it_asks().await;
        });
    });
    let text = String::from_utf8(lines.0.lock().expect("whole").clone()).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("WARN") && lines[0].contains("told to; until it recovers, calls are allowed"), "{text}");
    assert!(lines[1].contains("INFO") && lines[1].contains("store recovered") && lines[1].contains("calls_without=10"), "{text}");
    assert!(!text.contains("alice"), "{text}");
}
