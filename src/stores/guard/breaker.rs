//! The circuit breaker: after several consecutive failures the store is not asked, until a probe and then one call have succeeded.
//!
//! ```text
//!            consecutive failures        a probe succeeds
//!   Closed ---------------------> Open --------------------> HalfOpen
//!     ^                            ^                          |    |
//!     |                            +--------------------------+    |
//!     +------------------------- the trial call fails / succeeds --+
//! ```
//!
//! Only consecutive failures count: calls that were in flight together fail together, which is one failure. Otherwise a single stall would
//! open the breaker as soon as enough callers wait.
//!
//! Time is an argument; probing and logging are up to the caller.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// Counts failures and decides whether calls may ask the store.
#[derive(Debug)]
pub(super) struct Breaker {
    most_failures: NonZeroU32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// All calls ask the store.
    Closed { failures: u32, last: Option<Instant> },
    /// No call does.
    Open { since: Instant },
    /// A single trial call does, and decides the next state.
    HalfOpen { since: Instant, tried: bool },
}

/// Closed, without any failure yet.
const WELL: State = State::Closed { failures: 0, last: None };

/// Permission to ask the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Ask,
    /// The trial call of a half-open breaker.
    Try,
    Refused,
}

/// The state change caused by an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The store has failed: start probing.
    Opened,
    /// The trial call after a probe failed: probe again.
    Reopened,
    /// The store has recovered.
    Closed { after: Duration },
}

impl Breaker {
    pub(super) fn new(most_failures: NonZeroU32) -> Self {
        Self { most_failures, state: WELL }
    }

    pub(super) fn pass(&mut self) -> Pass {
        match &mut self.state {
            State::Closed { .. } => Pass::Ask,
            State::HalfOpen { tried, .. } if !*tried => {
                *tried = true;
                Pass::Try
            }
            State::Open { .. } | State::HalfOpen { .. } => Pass::Refused,
        }
    }

    /// Records a success. A call sent before the failures may succeed after them; that counts just the same.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<Change> {
        match self.state {
            State::Closed { .. } => {
                self.state = WELL;
                None
            }
            State::Open { since } | State::HalfOpen { since, .. } => {
                self.state = WELL;
                Some(Change::Closed { after: now.duration_since(since) })
            }
        }
    }

    /// Records the failure of a call that had this pass and began at `asked`.
    pub(super) fn failed(&mut self, pass: Pass, asked: Instant, now: Instant) -> Option<Change> {
        match self.state {
            State::Closed { last: Some(last), .. } if asked < last => None,
            State::Closed { failures, .. } if failures + 1 < self.most_failures.get() => {
                self.state = State::Closed { failures: failures + 1, last: Some(now) };
                None
            }
            State::Closed { .. } => {
                self.state = State::Open { since: now };
                Some(Change::Opened)
            }
            State::HalfOpen { since, .. } if pass == Pass::Try => {
                self.state = State::Open { since };
                Some(Change::Reopened)
            }
            // A late failure of a call from before it opened.
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// The trial call was dropped without an outcome; another may try.
    pub(super) fn abandoned(&mut self) {
        if let State::HalfOpen { tried, .. } = &mut self.state {
            *tried = false;
        }
    }

    /// Records a successful probe.
    pub(super) fn probed(&mut self) {
        if let State::Open { since } = self.state {
            self.state = State::HalfOpen { since, tried: false };
        }
    }

    /// Whether all calls ask the store.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether probes are needed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(most_failures: u32) -> Breaker {
        Breaker::new(NonZeroU32::new(most_failures).expect("not zero"))
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker(2);
        assert_eq!(breaker.failed(Pass::Ask, now, now), None);
        assert_eq!(breaker.failed(Pass::Ask, now, now), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let (mut breaker, now) = (breaker(3), Instant::now());
        for _ in 0..10 {
            assert_eq!((breaker.failed(Pass::Ask, now, now), breaker.failed(Pass::Ask, now, now)), (None, None));
            assert_eq!(breaker.succeeded(now), None);
        }
        assert_eq!(breaker.pass(), Pass::Ask);
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let (mut breaker, start) = (breaker(2), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..10 {
            assert_eq!(breaker.failed(Pass::Ask, at(0), at(100)), None);
        }
        assert_eq!(breaker.failed(Pass::Ask, at(99), at(199)), None, "it was under way when the others failed");
        assert_eq!(breaker.failed(Pass::Ask, at(100), at(200)), Some(Change::Opened));
    }

    #[test]
    fn one_call_after_a_probe_decides() {
        let now = Instant::now();
        let (mut breaker, later) = (opened(now), now + Duration::from_secs(3));
        assert_eq!(breaker.pass(), Pass::Refused);
        breaker.probed();
        assert_eq!((breaker.pass(), breaker.pass()), (Pass::Try, Pass::Refused));
        assert_eq!(breaker.failed(Pass::Try, now, later), Some(Change::Reopened));
        assert!(breaker.is_open());
        breaker.probed();
        assert_eq!(breaker.pass(), Pass::Try);
        assert_eq!(breaker.succeeded(later), Some(Change::Closed { after: Duration::from_secs(3) }));
        assert_eq!((breaker.pass(), breaker.pass()), (Pass::Ask, Pass::Ask));
    }

    #[test]
    fn an_abandoned_trial_lets_another_try() {
        let mut breaker = opened(Instant::now());
        breaker.probed();
        assert_eq!(breaker.pass(), Pass::Try);
        breaker.abandoned();
        assert_eq!(breaker.pass(), Pass::Try);
    }

    #[test]
    fn stragglers_change_nothing_when_they_fail_and_close_it_when_they_succeed() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.failed(Pass::Ask, now, now), None);
        breaker.probed();
        assert_eq!(breaker.failed(Pass::Ask, now, now), None);
        assert_eq!(breaker.pass(), Pass::Try);
        assert_eq!(breaker.succeeded(now), Some(Change::Closed { after: Duration::ZERO }));
    }
}
