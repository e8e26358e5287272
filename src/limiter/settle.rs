//! One decision over several buckets: all are checked, then tokens are taken from each or from none.
//!
//! ```text
//! every enforced bucket covers its cost      allowed: each gives its cost
//! one does not                               denied by the one with the longest wait (the first of equals), nothing taken
//! ```
//!
//! **No write on a denial.** Refilling to `t1` and then to `t2` is the same as refilling to `t2`, so storing a level that nothing was taken
//! from has no effect. The one exception is a state that had to be repaired ([`Shape::repair`]).
//!
//! **Shadow.** Buckets that are not enforced never deny. They are settled together with all buckets of the call as if they were enforced:
//! if all cover their cost, the shadow buckets give theirs too, otherwise they give nothing and the verdict names the one that would have
//! denied. A call with only shadow buckets thus changes them exactly as enforcing would.

use std::num::NonZeroU32;

use super::{
    shape::{EPSILON, Shape, State, Wait},
    time::Micros,
};

/// A bucket in a decision.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The bucket's capacity and rate.
    pub shape: Shape,
    /// Tokens that the call takes from this bucket.
    pub cost: NonZeroU32,
    /// Whether the bucket may deny; in shadow it only reports.
    pub enforced: bool,
    /// The stored state, updated by [`settle`].
    pub state: Option<State>,
    /// Whether [`settle`] changed the state, so that it must be stored.
    pub changed: bool,
}

/// The result of [`settle`]. Indexes are those of the slots, or of a plan's draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The tokens are taken.
    Allowed {
        /// Whole tokens left in the enforced bucket that has the fewest; `None` when no bucket was enforced.
        remaining: Option<u32>,
        /// The bucket that would have denied, were every bucket enforced.
        shadow: Option<Shortfall>,
    },
    /// Nothing is taken.
    Denied(Shortfall),
}

/// A bucket that does not cover the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Its index.
    pub by: usize,
    /// Time until every bucket covers its cost.
    pub wait: Wait,
}

impl Slot {
    /// A bucket as stored, before the decision.
    pub fn new(shape: Shape, cost: NonZeroU32, enforced: bool, state: Option<State>) -> Self {
        Self { shape, cost, enforced, state, changed: false }
    }

    fn level(&self, now: Micros) -> f64 {
        self.shape.level(self.state, now)
    }

    fn set(&mut self, state: State) {
        self.changed = self.changed || self.state != Some(state);
        self.state = Some(state);
    }

    fn repair(&mut self, now: Micros) {
        if let Some(state) = self.state {
            self.set(self.shape.repair(state, now));
        }
    }

    /// The wait, if the cost is not covered.
    fn refusal(&self, now: Micros) -> Option<Wait> {
        let covered = Shape::covers(self.level(now), self.cost);
        (!covered).then(|| self.shape.wait(self.state, now, self.cost))
    }
}

/// Decides one call. The slots must be distinct buckets; their order only determines which of several equal waits is named.
pub fn settle(slots: &mut [Slot], now: Micros) -> Verdict {
    let (mut refusal, mut shadow) = (None, None);
    for (by, slot) in slots.iter_mut().enumerate() {
        slot.repair(now);
        if let Some(wait) = slot.refusal(now) {
            let longest = if slot.enforced { &mut refusal } else { &mut shadow };
            if longest.is_none_or(|longest: Shortfall| wait > longest.wait) {
                *longest = Some(Shortfall { by, wait });
            }
        }
    }
    if let Some(refusal) = refusal {
        return Verdict::Denied(refusal);
    }
    let mut remaining = f64::INFINITY;
    for slot in slots.iter_mut().filter(|slot| slot.enforced || shadow.is_none()) {
        let state = slot.shape.take(slot.state, now, slot.cost);
        slot.set(state);
        if slot.enforced {
            remaining = remaining.min(state.tokens());
        }
    }
    Verdict::Allowed { remaining: remaining.is_finite().then_some((remaining + EPSILON) as u32), shadow }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limiter::shape::tests::{cost, shape};

    const NOW: Micros = Micros(1_787_000_000_000_000);

    fn slot(tokens: f64, max_tokens: u32, refill_period: &str) -> Slot {
        Slot::new(shape(max_tokens, refill_period), cost(1), true, Some(State::new(tokens, NOW)))
    }

    fn shadow(slot: Slot) -> Slot {
        Slot { enforced: false, ..slot }
    }

    fn denied(by: usize, wait_ms: u64) -> Verdict {
        Verdict::Denied(Shortfall { by, wait: Wait::After(Duration::from_millis(wait_ms)) })
    }

    #[test]
    fn a_denied_call_takes_nothing_anywhere() {
        let mut slots = [slot(9.0, 10, "1m"), slot(0.9, 10, "1m"), slot(4.0, 5, "1m")];
        assert_eq!(settle(&mut slots, NOW), denied(1, 600));
        assert_eq!(slots.map(|slot| (slot.state.map(State::tokens), slot.changed)), [9.0, 0.9, 4.0].map(|tokens| (Some(tokens), false)));
    }

    #[test]
    fn the_longest_wait_denies_and_the_first_of_equals() {
        assert_eq!(settle(&mut [slot(0.0, 10, "1s"), slot(0.0, 1, "1h"), slot(0.0, 1, "1h")], NOW), {
            let wait = shape(1, "1h").wait(Some(State::new(0.0, NOW)), NOW, cost(1));
            Verdict::Denied(Shortfall { by: 1, wait })
        });
    }

    #[test]
    fn what_never_comes_outlasts_every_wait() {
        let large = Slot { cost: cost(6), ..slot(5.0, 5, "1s") };
        assert_eq!(settle(&mut [slot(0.0, 1, "1h"), large], NOW), Verdict::Denied(Shortfall { by: 1, wait: Wait::Never }));
    }

    #[test]
    fn remaining_is_that_of_the_tightest_bucket() {
        let mut slots = [slot(9.0, 10, "1m"), slot(3.0, 5, "1m"), shadow(slot(1.0, 5, "1m"))];
        assert_eq!(settle(&mut slots, NOW), Verdict::Allowed { remaining: Some(2), shadow: None });
        assert_eq!(slots.map(|slot| slot.state.map(State::tokens)), [Some(8.0), Some(2.0), Some(0.0)]);
    }

    #[test]
    fn a_shadow_bucket_tells_and_does_not_deny() {
        let mut slots = [slot(9.0, 10, "1m"), shadow(slot(0.9, 10, "1m")), shadow(slot(7.0, 10, "1m"))];
        let would = Shortfall { by: 1, wait: Wait::After(Duration::from_millis(600)) };
        assert_eq!(settle(&mut slots, NOW), Verdict::Allowed { remaining: Some(8), shadow: Some(would) });
        assert_eq!(slots.map(|slot| slot.state.map(State::tokens)), [Some(8.0), Some(0.9), Some(7.0)]);
    }

    #[test]
    fn a_repair_is_stored_even_on_a_denial() {
        let leapt = Slot { state: Some(State::new(0.0, NOW + Duration::from_secs(3600))), ..slot(0.0, 10, "1m") };
        let mut slots = [leapt];
        assert!(
            matches!(settle(&mut slots, NOW), Verdict::Denied(Shortfall { by: 0, wait: Wait::After(wait) }) if wait <= Duration::from_secs(6))
        );
        assert_eq!(slots.map(|slot| (slot.state, slot.changed)), [(Some(State::new(0.0, NOW)), true)]);
    }
}
