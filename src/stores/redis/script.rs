//! Encoding requests to the Lua script and decoding its responses. `script.lua` describes both, and is the reference.
//!
//! A batch contains each key and each [`Term`] once, and each call as a few bytes of indexes: what a thousand callers of one server request
//! is mostly the same.

use std::{hash::BuildHasher, num::NonZeroU32, ops::Range};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use redis::Value;

use crate::limiter::{Micros, Plan, Verdict, Wait, key::KeyParts, settle::Shortfall, shape::Shape};

/// The whole script that runs in Redis.
pub const SOURCE: &str = include_str!("script.lua");

/// Keys, terms and draws are numbered in two bytes, so this many draws fit into a batch.
pub(super) const MOST: usize = u16::MAX as usize;

/// Calls sent to Redis together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// All keys, each once, concatenated.
    text: String,
    keys: Vec<Key>,
    hasher: RandomState,
    by_key: HashTable<u16>,
    terms: Vec<Term>,
    calls: Vec<u8>,
    count: usize,
}

/// A key in that text.
#[derive(Debug)]
struct Key {
    at: Range<usize>,
    hash: u64,
}

/// All parameters of a draw except its key.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    shape: Shape,
    cost: NonZeroU32,
    enforced: bool,
}

/// The outcome of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Decided(Verdict),
    /// The key of the draw with this index does not hold a bucket; nothing is taken.
    Unusable(usize),
}

/// Redis' response to a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Redis' time.
    pub(super) at: Micros,
    /// One for each call, in order.
    pub(super) outcomes: Vec<Outcome>,
}

impl Batch {
    /// The number of calls.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The number of keys, each counted once.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Adds a call, and returns its position. There must be room for it: [`MOST`] draws in total.
    pub(super) fn add(&mut self, plan: &Plan<'_>) -> Range<usize> {
        let start = self.calls.len();
        push(&mut self.calls, plan.draws().len());
        for draw in plan.draws() {
            let term = Term { shape: draw.shape(), cost: draw.cost(), enforced: draw.enforced() };
            let (key, term) = (self.key(draw.parts()), self.term(term));
            push(&mut self.calls, key);
            push(&mut self.calls, term);
        }
        self.count += 1;
        start..self.calls.len()
    }

    /// Keeps only these calls. Keys that only the others drew on are read needlessly.
    pub(super) fn keep(&mut self, calls: impl Iterator<Item = Range<usize>>) {
        let mut kept = Vec::with_capacity(self.calls.len());
        self.count = 0;
        for call in calls {
            kept.extend_from_slice(self.calls.get(call).unwrap_or_default());
            self.count += 1;
        }
        self.calls = kept;
    }

    /// The key's index, counted from 1.
    fn key(&mut self, key: KeyParts<'_>) -> usize {
        let hash = self.hasher.hash_one(key);
        let same =
            |at: &u16| self.keys.get(usize::from(*at)).and_then(|known| self.text.get(known.at.clone())).is_some_and(|known| key.is(known));
        if let Some(at) = self.by_key.find(hash, same) {
            return usize::from(*at) + 1;
        }
        let (at, start) = (self.keys.len(), self.text.len());
        self.text += key.front;
        self.text += key.user;
        self.keys.push(Key { at: start..self.text.len(), hash });
        let keys = &self.keys;
        self.by_key.insert_unique(hash, at as u16, |at| keys.get(usize::from(*at)).map_or(0, |key| key.hash));
        at + 1
    }

    /// The term's index, counted from 1. A server has few.
    fn term(&mut self, term: Term) -> usize {
        if let Some(at) = self.terms.iter().position(|known| *known == term) {
            return at + 1;
        }
        self.terms.push(term);
        self.terms.len()
    }

    /// The command, `EVALSHA` and a hash or `EVAL` and a script, with the batch.
    pub(super) fn command(&self, name: &str, script: &str) -> redis::Cmd {
        let bytes = script.len() + self.text.len() + 64 * (1 + self.terms.len()) + self.calls.len();
        let mut command = redis::Cmd::with_capacity(4 + self.keys.len() + 4 * self.terms.len(), bytes);
        command.arg(name).arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(self.text.get(key.at.clone()).unwrap_or_default());
        }
        for Term { shape, cost, enforced } in &self.terms {
            let cost = i64::from(cost.get());
            // Rust prints the shortest text that parses to the same double.
            command.arg(format!("{:e}", shape.capacity())).arg(format!("{:e}", shape.tokens_per_us()));
            command.arg(shape.two_periods_us()).arg(if *enforced { cost } else { -cost });
        }
        command.arg(&*self.calls);
        command
    }
}

/// Two bytes, the high one first. No number here is larger than [`MOST`].
fn push(calls: &mut Vec<u8>, number: usize) {
    calls.extend_from_slice(&(number as u16).to_be_bytes());
}

/// Parses a response to `calls` calls; `None` if it is malformed.
pub(super) fn read(answer: &Value, calls: usize) -> Option<Reply> {
    let Value::Array(numbers) = answer else { return None };
    let mut numbers = numbers.iter().map(|number| if let Value::Int(number) = number { Some(*number) } else { None });
    let mut next = || numbers.next().flatten();
    let at = Micros(u64::try_from(next()?).ok()?);
    let outcomes = (0..calls).map(|_| outcome(&mut next)).collect::<Option<Vec<_>>>()?;
    next().is_none().then_some(Reply { at, outcomes })
}

fn outcome(next: &mut impl FnMut() -> Option<i64>) -> Option<Outcome> {
    Some(match next()? {
        -2 => Outcome::Decided(Verdict::Denied(refusal(next)?)),
        -3 => Outcome::Decided(Verdict::Allowed { remaining: remaining(next()?), shadow: Some(refusal(next)?) }),
        -4 => Outcome::Unusable(index(next()?)?),
        left => Outcome::Decided(Verdict::Allowed { remaining: remaining(left), shadow: None }),
    })
}

fn remaining(left: i64) -> Option<u32> {
    (left >= 0).then(|| u32::try_from(left).unwrap_or(u32::MAX))
}

fn refusal(next: &mut impl FnMut() -> Option<i64>) -> Option<Shortfall> {
    let by = index(next()?)?;
    let wait = match u64::try_from(next()?) {
        Ok(us) => Wait::After(std::time::Duration::from_micros(us)),
        Err(_) => Wait::Never,
    };
    Some(Shortfall { by, wait })
}

/// Lua counts from 1.
fn index(by: i64) -> Option<usize> {
    usize::try_from(by).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limiter::{Call, plan::tests::policy};

    #[test]
    fn a_key_is_sent_once_and_abandoned_calls_are_not_sent() {
        let (policy, mut batch) = (policy(), Batch::default());
        let calls = ["alice", "bob", "alice"].map(|user| batch.add(&policy.plan(&Call::of("other").by(user))));
        // Two draws each, of a key and a term: the server's, and the user's.
        let said = |user| [0, 2, 0, 1, 0, 1, 0, user, 0, 2];
        assert_eq!((batch.len(), batch.keys.len(), batch.terms.len()), (3, 3, 2));
        assert_eq!(batch.calls, [said(2), said(3), said(2)].concat());
        let [_, bob, again] = calls;
        batch.keep([bob, again].into_iter());
        assert_eq!((batch.len(), batch.calls.clone()), (2, [said(3), said(2)].concat()));
    }

    fn ints(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    #[test]
    fn every_outcome_is_read() {
        let answer = ints(&[7, 5, -1, -2, 1, 600, -2, 2, -1, -3, 4, 2, 9, -4, 3]);
        let denied = |by, wait| Outcome::Decided(Verdict::Denied(Shortfall { by, wait }));
        let after = |us| Wait::After(Duration::from_micros(us));
        let would = Shortfall { by: 1, wait: after(9) };
        let outcomes = vec![
            Outcome::Decided(Verdict::Allowed { remaining: Some(5), shadow: None }),
            Outcome::Decided(Verdict::Allowed { remaining: None, shadow: None }),
            denied(0, after(600)),
            denied(1, Wait::Never),
            Outcome::Decided(Verdict::Allowed { remaining: Some(4), shadow: Some(would) }),
            Outcome::Unusable(2),
        ];
        assert_eq!(read(&answer, 6), Some(Reply { at: Micros(7), outcomes }));
    }

    #[test]
    fn a_malformed_response_is_none() {
        for (answer, calls) in [
            (Value::Nil, 0),
            (ints(&[]), 0),
            (ints(&[-7]), 0),
            (ints(&[7]), 1),
            (ints(&[7, 1, 1]), 1),
            (ints(&[7, -2, 0, 5]), 1),
            (ints(&[7, -3, 1, 1]), 1),
            (Value::Array(vec![Value::Int(7), Value::Okay]), 1),
        ] {
            assert_eq!(read(&answer, calls), None, "{answer:?}");
        }
    }
}
