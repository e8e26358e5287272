//! A part of the memory store: buckets by key, and which of them to forget.

use hashbrown::HashTable;

use crate::limiter::{
    Micros, Scope,
    plan::Draw,
    shape::{Shape, State},
};

/// Buckets whose keys fell to this shard.
#[derive(Debug)]
pub(super) struct Shard {
    buckets: HashTable<Stored>,
    /// Most buckets of users.
    capacity: usize,
    /// How many buckets there may be before the next look at which are full.
    sweep_at: usize,
}

/// The state of one bucket.
#[derive(Debug)]
struct Stored {
    key: Box<str>,
    hash: u64,
    shape: Shape,
    state: State,
    of_user: bool,
}

/// Below this many, looking for full buckets is not worth it.
const FEW: usize = 64;

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self { buckets: HashTable::new(), capacity, sweep_at: FEW.min(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.buckets.iter().map(|kept| &*kept.key)
    }

    /// Where a bucket is, until one is added or dropped.
    pub(super) fn find(&self, hash: u64, key: &str) -> Option<usize> {
        self.buckets.find_bucket_index(hash, |kept| *kept.key == *key)
    }

    pub(super) fn state(&self, at: usize) -> Option<State> {
        self.buckets.get_bucket(at).map(|kept| kept.state)
    }

    /// A state, and when its bucket is full.
    pub(super) fn look(&self, hash: u64, key: &str) -> Option<(State, Micros)> {
        self.buckets.find(hash, |kept| *kept.key == *key).map(|kept| (kept.state, kept.full_at()))
    }

    /// Forgets a bucket; whether it was there.
    pub(super) fn forget(&mut self, hash: u64, key: &str) -> bool {
        self.buckets.find_entry(hash, |kept| *kept.key == *key).map(|kept| kept.remove()).is_ok()
    }

    /// Keeps the state of a bucket that is there.
    pub(super) fn set(&mut self, at: usize, draw: &Draw<'_>, state: State) {
        if let Some(kept) = self.buckets.get_bucket_mut(at) {
            (kept.shape, kept.state) = (draw.shape(), state);
        }
    }

    /// Keeps the state of a bucket that is not there yet; how many others were dropped for it before they were full.
    pub(super) fn add(&mut self, hash: u64, draw: &Draw<'_>, state: State, now: Micros) -> u64 {
        let evicted = if self.buckets.len() >= self.sweep_at { self.sweep(now) } else { 0 };
        let of_user = draw.limit().scope == Scope::PerUser;
        let kept = Stored { key: draw.key().into(), hash, shape: draw.shape(), state, of_user };
        self.buckets.insert_unique(hash, kept, |kept| kept.hash);
        evicted
    }

    /// Drops what is full, and at the cap an eighth of what is not. Each bucket dropped or doubled pays for looking at a few, so a sweep
    /// costs its callers a constant on average.
    fn sweep(&mut self, now: Micros) -> u64 {
        self.buckets.retain(|kept| kept.full_at() > now);
        let evicted = self.evict();
        let shared = self.buckets.len() - self.of_users().count();
        self.sweep_at = (2 * self.buckets.len()).max(FEW).min(self.capacity + shared);
        self.buckets.shrink_to(self.sweep_at, |kept| kept.hash);
        evicted
    }

    /// At the cap, drops the eighth of the users' buckets that would be full soonest.
    fn evict(&mut self) -> u64 {
        let mut full_at: Vec<Micros> = self.of_users().map(Stored::full_at).collect();
        if full_at.len() < self.capacity {
            return 0;
        }
        let surplus = full_at.len() - self.capacity + self.capacity.div_ceil(8);
        let (_, last, _) = full_at.select_nth_unstable(surplus.saturating_sub(1));
        let last = *last;
        let mut left = surplus;
        self.buckets.retain(|kept| {
            let drop = kept.of_user && kept.full_at() <= last && left > 0;
            left -= usize::from(drop);
            !drop
        });
        surplus as u64
    }

    fn of_users(&self) -> impl Iterator<Item = &Stored> {
        self.buckets.iter().filter(|kept| kept.of_user)
    }
}

impl Stored {
    /// From then on, forgetting it changes nothing.
    fn full_at(&self) -> Micros {
        self.shape.full_at(self.state)
    }
}
