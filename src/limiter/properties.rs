//! The guarantees of the module documentation, tested on random buckets and histories.

use std::{num::NonZeroU32, time::Duration};

use proptest::{prelude::*, sample::Index};

use super::{
    Micros, Verdict, Wait,
    settle::{Slot, settle},
    shape::{EPSILON, Shape, State},
};
use crate::model::bucket::Bucket;

const START: Micros = Micros(1_787_000_000_000_000);

/// Small buckets and the extremes; periods from a nanosecond to centuries.
fn bucket() -> impl Strategy<Value = Bucket> {
    let max_tokens = prop_oneof![4 => 1..20_u32, 1 => 1..=i32::MAX.unsigned_abs()];
    let period_ns = prop_oneof![4 => 1_000_000..600_000_000_000_u64, 1 => 1..=i64::MAX.unsigned_abs()];
    (max_tokens, period_ns).prop_map(|(tokens, ns)| Bucket {
        max_tokens: NonZeroU32::new(tokens).expect("the range is positive"),
        refill_period: format!("{ns}ns").parse().expect("the range is positive"),
    })
}

/// A cost that the bucket could cover, mostly small.
fn cost_of(bucket: &Bucket) -> impl Strategy<Value = NonZeroU32> + use<> {
    let most = bucket.max_tokens.get();
    prop_oneof![3 => 1..=most.min(3), 1 => 1..=most].prop_map(|cost| NonZeroU32::new(cost).expect("the range is positive"))
}

/// A bucket in some state, last refilled up to two periods before [`START`], or after it as when a clock steps back.
fn slot(enforced: impl Strategy<Value = bool>) -> impl Strategy<Value = Slot> {
    let parts = bucket().prop_flat_map(|bucket| (Just(bucket), cost_of(&bucket)));
    (parts, proptest::option::of((0.0..=1.0_f64, -1.0..=1.0_f64)), enforced).prop_map(|((bucket, cost), state, enforced)| {
        let shape = Shape::from(&bucket);
        let state = state.map(|(fill, offset)| {
            let offset_us = (shape.two_periods_us().min(START.0 / 2) as f64 * offset.abs()) as u64;
            let last_refill = if offset < 0.0 { Micros(START.0 - offset_us) } else { START.plus_us(offset_us) };
            State::new(shape.capacity() * fill, last_refill)
        });
        Slot::new(shape, cost, enforced, state)
    })
}

fn slots() -> impl Strategy<Value = Vec<Slot>> {
    proptest::collection::vec(slot(Just(true)), 1..5)
}

/// One step of a history: time passes, in parts of the time of one token, then a call of some cost.
fn history() -> impl Strategy<Value = (Bucket, Vec<(f64, NonZeroU32)>)> {
    bucket().prop_flat_map(|bucket| {
        let gap = prop_oneof![Just(0.0), 0.0..3.0_f64, Just(1.0)];
        (Just(bucket), proptest::collection::vec((gap, cost_of(&bucket)), 1..80))
    })
}

fn us_per_token(bucket: &Bucket) -> f64 {
    bucket.refill_period.as_nanos() as f64 / 1000.0 / f64::from(bucket.max_tokens.get())
}

/// The most that a bucket may have given in so much time, and the slack that doubles need after so many calls.
fn most(bucket: &Bucket, window_us: u64, calls: usize) -> f64 {
    let tokens = f64::from(bucket.max_tokens.get());
    let given = tokens + tokens * (window_us as f64) * 1000.0 / bucket.refill_period.as_nanos() as f64;
    given + calls as f64 * (EPSILON + given * f64::EPSILON * 4.0)
}

fn decide(slot: &mut Slot, now: Micros, cost: NonZeroU32) -> Verdict {
    slot.cost = cost;
    settle(std::slice::from_mut(slot), now)
}

fn is_allowed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Allowed { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_window_gets_more_than_capacity_and_refill((bucket, steps) in history()) {
        let mut slot = Slot::new(Shape::from(&bucket), NonZeroU32::MIN, true, None);
        let mut now = START;
        let mut allowed: Vec<(Micros, u32)> = Vec::new();
        for (gap, cost) in steps {
            now = now.plus_us((gap * us_per_token(&bucket)) as u64);
            if is_allowed(decide(&mut slot, now, cost)) {
                allowed.push((now, cost.get()));
            }
        }
        for (index, (from, _)) in allowed.iter().enumerate() {
            let mut sum = 0.0;
            for (calls, (to, cost)) in allowed[index..].iter().enumerate() {
                sum += f64::from(*cost);
                prop_assert!(sum <= most(&bucket, to.us_since(*from), calls + 1), "{} calls cost {}", calls + 1, sum);
            }
        }
    }

    #[test]
    fn the_reported_wait_is_enough_and_less_is_not(slots in slots()) {
        let mut tried = slots.clone();
        let Verdict::Denied(refusal) = settle(&mut tried, START) else { return Ok(()) };
        let Wait::After(wait) = refusal.wait else { panic!("no slot costs more than it holds") };
        prop_assert!(wait > Duration::ZERO);
        let then = START + wait;
        prop_assert!(matches!(settle(&mut tried.clone(), Micros(then.0 - 1)), Verdict::Denied(left) if left.wait == Wait::After(Duration::from_micros(1))));
        prop_assert!(is_allowed(settle(&mut tried, then)));
    }

    #[test]
    fn a_call_takes_its_cost_from_each_or_nothing_from_any(before in slots()) {
        let mut after = before.clone();
        let verdict = settle(&mut after, START);
        for (before, after) in before.iter().zip(&after) {
            let level = before.shape.level(before.state, START);
            let given = if is_allowed(verdict) { f64::from(before.cost.get()) } else { 0.0 };
            prop_assert_eq!(after.shape.level(after.state, START), (level - given).max(0.0));
            prop_assert_eq!(after.changed, before.state != after.state);
        }
    }

    #[test]
    fn the_order_of_buckets_does_not_matter(mut slots in proptest::collection::vec(slot(any::<bool>()), 1..5), swaps in proptest::collection::vec(any::<(Index, Index)>(), 0..6)) {
        let mut order: Vec<usize> = (0..slots.len()).collect();
        for (a, b) in swaps {
            order.swap(a.index(slots.len()), b.index(slots.len()));
        }
        let mut shuffled: Vec<Slot> = order.iter().map(|index| slots[*index]).collect();
        let (verdict, other) = (settle(&mut slots, START), settle(&mut shuffled, START));
        match (verdict, other) {
            (Verdict::Denied(a), Verdict::Denied(b)) => prop_assert_eq!(a.wait, b.wait),
            (Verdict::Allowed { remaining: a, shadow: x }, Verdict::Allowed { remaining: b, shadow: y }) => {
                prop_assert_eq!((a, x.map(|refusal| refusal.wait)), (b, y.map(|refusal| refusal.wait)));
            }
            _ => prop_assert!(false, "{:?} and {:?}", verdict, other),
        }
        for (index, slot) in order.iter().zip(&shuffled) {
            prop_assert_eq!(slots[*index].state, slot.state);
        }
    }

    /// Readings of a clock that steps back and forth within two periods: the total refill is what the furthest reading allows.
    #[test]
    fn a_clock_that_steps_back_gives_nothing_away((bucket, steps) in history(), readings in proptest::collection::vec(0.0..=2.0_f64, 80)) {
        let mut slot = Slot::new(Shape::from(&bucket), NonZeroU32::MIN, true, None);
        let period_us = (bucket.refill_period.as_nanos() / 1000) as f64;
        let (mut sum, mut furthest, mut calls) = (0.0, 0, 0);
        for ((_, cost), reading) in steps.iter().zip(readings) {
            let offset_us = (reading * period_us) as u64;
            furthest = furthest.max(offset_us);
            let before = slot.state.map(State::last_refill);
            if is_allowed(decide(&mut slot, START.plus_us(offset_us), *cost)) {
                sum += f64::from(cost.get());
                calls += 1;
            }
            prop_assert!(before <= slot.state.map(State::last_refill), "last_refill moved back");
            prop_assert!(sum <= most(&bucket, furthest, calls));
        }
    }

    /// Denied calls in between have no effect.
    #[test]
    fn denials_change_nothing((bucket, steps) in history()) {
        let mut polled = Slot::new(Shape::from(&bucket), NonZeroU32::MIN, true, None);
        let mut now = START;
        for (gap, cost) in steps {
            now = now.plus_us((gap * us_per_token(&bucket)) as u64);
            let before = polled.state;
            if !is_allowed(decide(&mut polled, now, cost)) {
                prop_assert_eq!(polled.state, before);
            }
        }
    }

    #[test]
    fn shadow_moves_buckets_as_enforcing_would(enforced in slots()) {
        let mut enforced = enforced;
        let mut shadow: Vec<Slot> = enforced.iter().map(|slot| Slot { enforced: false, ..*slot }).collect();
        let (verdict, silent) = (settle(&mut enforced, START), settle(&mut shadow, START));
        let would = if let Verdict::Denied(refusal) = verdict { Some(refusal) } else { None };
        prop_assert_eq!(silent, Verdict::Allowed { remaining: None, shadow: would });
        for (enforced, shadow) in enforced.iter().zip(&shadow) {
            prop_assert_eq!(enforced.state, shadow.state);
        }
    }

    #[test]
    fn a_state_is_worth_nothing_once_full(slot in slot(Just(true))) {
        if let Some(state) = slot.state {
            let full_at = slot.shape.full_at(state);
            prop_assert_eq!(slot.shape.level(Some(state), full_at), slot.shape.capacity());
            prop_assert!(full_at == state.last_refill() || slot.shape.level(Some(state), Micros(full_at.0 - 1)) < slot.shape.capacity());
        }
    }
}
