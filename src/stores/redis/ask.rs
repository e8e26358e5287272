//! A call as it waits for its turn: what a plan says, without borrowing from anyone.

use std::num::NonZeroU32;

use crate::limiter::{Plan, shape::Shape};

/// What a call takes, and from which buckets.
#[derive(Debug)]
pub(super) struct Ask {
    /// All keys, one after the other.
    keys: String,
    draws: Vec<(usize, Term)>,
}

/// All that a draw says but its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) shape: Shape,
    pub(super) cost: NonZeroU32,
    pub(super) enforced: bool,
}

impl Ask {
    pub(super) fn of(plan: &Plan<'_>) -> Self {
        let length = plan.draws().iter().map(|draw| draw.key().len()).sum();
        let (mut keys, mut draws) = (String::with_capacity(length), Vec::with_capacity(plan.draws().len()));
        for draw in plan.draws() {
            keys.push_str(draw.key());
            draws.push((keys.len(), Term { shape: draw.shape(), cost: draw.cost(), enforced: draw.enforced() }));
        }
        Self { keys, draws }
    }

    /// Key and term of each bucket, in the order of the plan.
    pub(super) fn draws(&self) -> impl ExactSizeIterator<Item = (&str, &Term)> {
        let mut start = 0;
        self.draws.iter().map(move |(end, term)| {
            let key = self.keys.get(start..*end).unwrap_or_default();
            start = *end;
            (key, term)
        })
    }
}
