//! One bucket's arithmetic: its level at a given time, what taking tokens leaves, how long to wait.
//!
//! From a stored state `(tokens, last_refill)` the level at `now` is
//!
//! ```text
//! level(now) = min(M, tokens + (now - last_refill) x rate)        rate = M / refillPeriod, in tokens per microsecond
//! ```
//!
//! in doubles and in exactly this order of operations, so that the Lua script in Redis computes the same bits. A call of cost `c` is
//! covered by a level of at least `c` - [`EPSILON`]. A bucket without a state is full.

use std::{num::NonZeroU32, time::Duration};

use super::time::Micros;
use crate::model::bucket::Bucket;

/// The tolerance, in tokens: doubles that should add up to 1 may miss it by a few 1e-16. One call never gains more than this.
pub const EPSILON: f64 = 1e-9;

/// The capacity and the rate of a bucket, prepared for calculations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    capacity: f64,
    tokens_per_us: f64,
    two_periods_us: u64,
}

/// The state of a bucket between calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    tokens: f64,
    last_refill: Micros,
}

/// How long until a call is covered, if no other call takes tokens meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// This long, in whole microseconds: exactly this long is enough, one microsecond less is not.
    After(Duration),
    /// Waiting does not help: the call costs more than the bucket holds when full.
    Never,
}

impl State {
    /// A state as read from a store; a level that is negative or not a number counts as empty.
    pub fn new(tokens: f64, last_refill: Micros) -> Self {
        Self { tokens: tokens.max(0.0), last_refill }
    }

    /// Tokens at [`State::last_refill`].
    pub fn tokens(self) -> f64 {
        self.tokens
    }

    /// The time at which [`State::tokens`] was the level.
    pub fn last_refill(self) -> Micros {
        self.last_refill
    }
}

impl From<&Bucket> for Shape {
    fn from(bucket: &Bucket) -> Self {
        let (tokens, period_ns) = (bucket.max_tokens.get(), bucket.refill_period.as_nanos());
        Self {
            capacity: f64::from(tokens),
            tokens_per_us: f64::from(tokens) * 1000.0 / period_ns as f64,
            two_periods_us: period_ns.saturating_mul(2).div_ceil(1000),
        }
    }
}

impl Shape {
    /// `maxTokens`.
    pub fn capacity(&self) -> f64 {
        self.capacity
    }

    /// The rate, within two units in the last place of a double.
    pub fn tokens_per_us(&self) -> f64 {
        self.tokens_per_us
    }

    /// Twice the refill period, in microseconds and rounded up: a `last_refill` further in the future than this is not trusted.
    pub fn two_periods_us(&self) -> u64 {
        self.two_periods_us
    }

    /// How long a state must be stored: after half of this the bucket is full, as it is without a state.
    pub fn ttl_secs(&self) -> u64 {
        self.two_periods_us.div_ceil(1_000_000)
    }

    /// Tokens at `now`. A `last_refill` after `now` (the clock stepped back) adds nothing until the clock has caught up.
    pub fn level(&self, state: Option<State>, now: Micros) -> f64 {
        state.map_or(self.capacity, |state| self.grown(state.tokens, now.us_since(state.last_refill)).min(self.capacity))
    }

    /// Whether a level covers a cost.
    pub fn covers(level: f64, cost: NonZeroU32) -> bool {
        level >= enough_for(cost)
    }

    /// The state after taking `cost` at `now`. `last_refill` never moves back, so no interval is credited twice.
    pub fn take(&self, state: Option<State>, now: Micros, cost: NonZeroU32) -> State {
        let tokens = (self.level(state, now) - f64::from(cost.get())).max(0.0);
        State { tokens, last_refill: state.map_or(now, |state| state.last_refill.max(now)) }
    }

    /// Restarts an impossible state: if `last_refill` is more than two periods ahead, a clock once jumped forward, and waiting for it to be
    /// reached could take years. The level stays; refilling starts `now`.
    pub fn repair(&self, state: State, now: Micros) -> State {
        if state.last_refill.us_since(now) > self.two_periods_us { State { last_refill: now, ..state } } else { state }
    }

    /// How long until `cost` is covered. Zero if it already is.
    pub fn wait(&self, state: Option<State>, now: Micros, cost: NonZeroU32) -> Wait {
        if f64::from(cost.get()) > self.capacity {
            return Wait::Never;
        }
        let covered_at = state.map_or(now, |state| state.last_refill.plus_us(self.us_until(state.tokens, enough_for(cost))));
        Wait::After(Duration::from_micros(covered_at.us_since(now)))
    }

    /// When the bucket is full, so that forgetting its state has no effect from then on.
    pub fn full_at(&self, state: State) -> Micros {
        state.last_refill.plus_us(self.us_until(state.tokens, self.capacity))
    }

    fn grown(&self, tokens: f64, elapsed_us: u64) -> f64 {
        tokens + elapsed_us as f64 * self.tokens_per_us
    }

    /// The shortest time in which `tokens` grow to `target`, at most the capacity. The quotient is within a few microseconds of it; the
    /// steps find the first time at which the sum computed by [`Shape::level`] is large enough.
    fn us_until(&self, tokens: f64, target: f64) -> u64 {
        let reached = |elapsed_us: u64| self.grown(tokens, elapsed_us) >= target;
        let mut elapsed_us = ((target - tokens) / self.tokens_per_us).ceil() as u64;
        while !reached(elapsed_us) {
            elapsed_us = elapsed_us.saturating_add(1);
        }
        while elapsed_us > 0 && reached(elapsed_us - 1) {
            elapsed_us -= 1;
        }
        elapsed_us
    }
}

/// The lowest level that covers a cost.
fn enough_for(cost: NonZeroU32) -> f64 {
    f64::from(cost.get()) - EPSILON
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(in crate::limiter) fn bucket(max_tokens: u32, refill_period: &str) -> Bucket {
        let max_tokens = NonZeroU32::new(max_tokens).expect("a bucket holds something");
        Bucket { max_tokens, refill_period: refill_period.parse().expect("a Go duration") }
    }

    pub(in crate::limiter) fn shape(max_tokens: u32, refill_period: &str) -> Shape {
        Shape::from(&bucket(max_tokens, refill_period))
    }

    pub(crate) fn cost(cost: u32) -> NonZeroU32 {
        NonZeroU32::new(cost).expect("a call costs something")
    }

    const NOW: Micros = Micros(1_787_000_000_000_000);

    #[test]
    fn slow_rates_are_exact() {
        let weekly = shape(1, "168h");
        let empty = State::new(0.0, NOW);
        assert_eq!(weekly.wait(Some(empty), NOW, cost(1)), Wait::After(Duration::from_micros(604_800_000_000 - 604)), "1e-9 tokens early");
        assert_eq!(shape(1, "1000h").level(Some(empty), NOW + Duration::from_secs(1_800_000)), 0.5);
    }

    #[test]
    fn ten_a_minute_come_back_every_six_seconds() {
        let shape = shape(10, "1m");
        let empty = State::new(0.0, NOW);
        assert_eq!(shape.level(Some(empty), NOW + Duration::from_secs(6)), 1.0);
        assert_eq!(shape.wait(Some(State::new(0.9, NOW)), NOW, cost(1)), Wait::After(Duration::from_millis(600)));
        assert_eq!(shape.full_at(empty), NOW + Duration::from_secs(60));
        assert_eq!(shape.ttl_secs(), 120);
    }

    #[test]
    fn more_than_the_capacity_never_comes() {
        assert_eq!(shape(10, "1m").wait(None, NOW, cost(11)), Wait::Never);
        assert_eq!(shape(10, "1m").wait(None, NOW, cost(10)), Wait::After(Duration::ZERO));
    }

    #[test]
    fn a_smaller_capacity_cuts_a_stored_level() {
        assert_eq!(shape(5, "1m").level(Some(State::new(9.0, NOW)), NOW), 5.0);
    }

    #[test]
    fn unreadable_levels_count_as_empty() {
        for tokens in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(State::new(tokens, NOW).tokens(), 0.0);
        }
    }

    #[test]
    fn a_leap_is_repaired_and_a_step_is_not() {
        let shape = shape(10, "1m");
        let ahead = |secs| State::new(3.0, NOW + Duration::from_secs(secs));
        assert_eq!(shape.repair(ahead(120), NOW), ahead(120));
        assert_eq!(shape.repair(ahead(121), NOW), State::new(3.0, NOW));
    }

    #[test]
    fn the_longest_period_and_the_largest_bucket_have_waits() {
        let slow = shape(i32::MAX.unsigned_abs(), "9223372036854775807ns");
        assert!(matches!(slow.wait(Some(State::new(0.0, NOW)), NOW, cost(i32::MAX.unsigned_abs())), Wait::After(_)));
        let fast = shape(i32::MAX.unsigned_abs(), "1ns");
        assert_eq!(fast.wait(Some(State::new(0.0, NOW)), NOW, cost(1)), Wait::After(Duration::from_micros(1)));
    }
}
