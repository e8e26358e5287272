//! A shard of the memory store: buckets by key, and their eviction.

use hashbrown::HashTable;

use crate::limiter::{
    Micros, Scope,
    key::KeyParts,
    plan::Draw,
    shape::{Shape, State},
};

/// Buckets whose keys hash to this shard. Aligned to a cache line, it shares none with its lock, which waiting threads keep reading, or with
/// other shards: two threads decide 10 % to 30 % more.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shard {
    buckets: HashTable<Stored>,
    /// Maximum number of user buckets.
    capacity: usize,
    /// The size at which the next sweep for full buckets happens.
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

/// Below this size, a sweep is not worthwhile.
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

    /// A bucket's position, valid until one is added or dropped.
    pub(super) fn find(&self, hash: u64, key: KeyParts<'_>) -> Option<usize> {
        self.buckets.find_bucket_index(hash, |kept| key.is(&kept.key))
    }

    pub(super) fn state(&self, at: usize) -> Option<State> {
        self.buckets.get_bucket(at).map(|kept| kept.state)
    }

    /// A state, and when its bucket is full.
    pub(super) fn look(&self, hash: u64, key: KeyParts<'_>) -> Option<(State, Micros)> {
        self.buckets.find(hash, |kept| key.is(&kept.key)).map(|kept| (kept.state, kept.full_at()))
    }

    /// Removes a bucket; returns whether it was there.
    pub(super) fn forget(&mut self, hash: u64, key: KeyParts<'_>) -> bool {
        self.buckets.find_entry(hash, |kept| key.is(&kept.key)).map(|kept| kept.remove()).is_ok()
    }

    /// Stores the state of an existing bucket.
    pub(super) fn set(&mut self, at: usize, draw: &Draw<'_>, state: State) {
        if let Some(kept) = self.buckets.get_bucket_mut(at) {
            (kept.shape, kept.state) = (draw.shape(), state);
        }
    }

    /// Stores the state of a new bucket; returns how many others were dropped before they were full.
    pub(super) fn add(&mut self, hash: u64, draw: &Draw<'_>, state: State, now: Micros) -> u64 {
        let evicted = if self.buckets.len() >= self.sweep_at { self.sweep(now) } else { 0 };
        let of_user = draw.limit().scope == Scope::PerUser;
        let kept = Stored { key: draw.key().into(), hash, shape: draw.shape(), state, of_user };
        self.buckets.insert_unique(hash, kept, |kept| kept.hash);
        evicted
    }

    /// Drops full buckets, and at the cap an eighth of the others. Each dropped or added bucket pays for inspecting a few, so the cost of a
    /// sweep per call is constant on average.
    fn sweep(&mut self, now: Micros) -> u64 {
        self.buckets.retain(|kept| kept.full_at() > now);
        let evicted = self.evict();
        let shared = self.buckets.len() - self.of_users().count();
        self.sweep_at = (2 * self.buckets.len()).max(FEW).min(self.capacity + shared);
        self.buckets.shrink_to(self.sweep_at, |kept| kept.hash);
        evicted
    }

    /// At the cap, drops the eighth of the user buckets that would be full soonest.
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
    /// From this time on, forgetting the state changes nothing.
    fn full_at(&self) -> Micros {
        self.shape.full_at(self.state)
    }
}
