//! Buckets in this process: exact, fast, gone with the process and known to no other.
//!
//! Buckets are spread over shards by the hash of their key. A decision locks the shards of all its buckets, in ascending order so that two
//! decisions never wait for each other in a circle, and settles them with the limiter's own arithmetic.
//!
//! # Bounded memory
//!
//! A bucket that is full is as good as none. Whenever a shard has doubled, its full buckets are dropped, which nobody can notice; so memory
//! follows the buckets in use. Buckets of users may also reach the cap ([`Memory::with_capacity`], 100 000 by default: some 20 MB, longer
//! user ids apart). Then the eighth of the shard's user buckets that would be full soonest is dropped as well. Buckets that all callers share
//! are never dropped before they are full; there are only as many as the manifest names.
//!
//! What someone with many identities gains by that: dropping a bucket fills it, so identities come back to full a little early, those who
//! miss the least first. To get a drained bucket dropped, seven eighths of the cap must be taken by buckets that are even longer from
//! full; whoever has so many identities makes more calls with them than the eviction returns. And the limits that all share hold throughout.
//! The other way, refusing whoever is new, would let the same attacker lock out everybody. [`Memory::evicted`] counts what was dropped early.

use std::{
    hash::BuildHasher,
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::{
    clock::{Clock, SteadyClock},
    shard::Shard,
};
use crate::{
    inspect::{
        Bounds, Inspect, InspectError,
        port::{Listing, Sample, Stored},
    },
    limiter::{
        Micros, Plan, ServerId, Store, StoreAnswer, StoreError, Verdict,
        plan::Draw,
        settle::{Slot, settle},
        shape::State,
    },
};

/// Buckets of users that are kept by default.
pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
/// One bit of a word for each.
const MOST_SHARDS: usize = u64::BITS as usize;
/// Below this, a shard's share of the cap would be too small to be fair.
const SMALLEST_SHARD: usize = 64;

/// A [`Store`] in memory.
#[derive(Debug)]
pub struct Memory<C = SteadyClock> {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: C,
    evicted: AtomicU64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY, SteadyClock::new())
    }
}

impl<C: Clock> Memory<C> {
    /// A store with room for about this many buckets of users, by this clock.
    pub fn with_capacity(capacity: NonZeroUsize, clock: C) -> Self {
        let shards = (capacity.get() / SMALLEST_SHARD).clamp(1, MOST_SHARDS).next_power_of_two();
        let each = capacity.get().div_ceil(shards);
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::new(each))).take(shards);
        Self { shards: shards.collect(), hasher: RandomState::default(), clock, evicted: AtomicU64::new(0) }
    }

    /// Buckets that are kept now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether no bucket is kept: all are full.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Buckets dropped before they were full, since the start. If this grows, raise the capacity.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// As [`Store::take`], at once.
    pub fn take_now(&self, plan: &Plan<'_>) -> Verdict {
        let now = self.clock.now();
        // Most of what follows is for several buckets, and one takes less than half the time without it.
        match plan.draws() {
            [draw] => self.take_one(draw, now),
            draws => self.take_all(draws, now),
        }
    }

    fn take_one(&self, draw: &Draw<'_>, now: Micros) -> Verdict {
        let place = self.place(draw.key());
        let mut shard = self.shards.get(place.shard).map(lock);
        let found = shard.as_ref().and_then(|shard| shard.find(place.hash, draw.key()));
        let state = found.and_then(|at| shard.as_ref()?.state(at));
        let mut slot = [Slot::new(draw.shape(), draw.cost(), draw.enforced(), state)];
        let verdict = settle(&mut slot, now);
        let [slot] = slot;
        if let (Some(shard), true, Some(state)) = (&mut shard, slot.changed, slot.state) {
            match found {
                Some(at) => shard.set(at, draw, state),
                None => self.add(shard, &place, draw, state, now),
            }
        }
        verdict
    }

    fn take_all(&self, draws: &[Draw<'_>], now: Micros) -> Verdict {
        let mut asked: Few<(Place, Option<usize>)> = SmallVec::new();
        asked.extend(draws.iter().map(|draw| (self.place(draw.key()), None)));
        let mut held = Held::lock(&self.shards, &asked);
        let mut slots: Few<Slot> = SmallVec::new();
        for (draw, (place, found)) in std::iter::zip(draws, &mut asked) {
            let shard = held.shard(place);
            *found = shard.as_ref().and_then(|shard| shard.find(place.hash, draw.key()));
            let state = found.and_then(|at| shard?.state(at));
            slots.push(Slot::new(draw.shape(), draw.cost(), draw.enforced(), state));
        }
        let verdict = settle(&mut slots, now);
        let changed = || std::iter::zip(draws, &asked).zip(&slots).filter(|(_, slot)| slot.changed);
        // Those that are there come first, as adding others may move them.
        for ((draw, (place, found)), slot) in changed() {
            if let (Some(shard), Some(at), Some(state)) = (held.shard(place), found, slot.state) {
                shard.set(*at, draw, state);
            }
        }
        for ((draw, (place, found)), slot) in changed() {
            if let (Some(shard), None, Some(state)) = (held.shard(place), found, slot.state) {
                self.add(shard, place, draw, state, now);
            }
        }
        verdict
    }

    fn add(&self, shard: &mut Shard, place: &Place, draw: &Draw<'_>, state: State, now: Micros) {
        self.evicted.fetch_add(shard.add(place.hash, draw, state, now), Ordering::Relaxed);
    }

    fn place(&self, key: &str) -> Place {
        let hash = self.hasher.hash_one(key);
        // Not the lowest bits nor the highest seven: those place a key within a shard.
        Place { hash, shard: (hash >> 32) as usize & (self.shards.len() - 1) }
    }
}

impl<C: Clock> Store for Memory<C> {
    async fn take(&self, plan: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        Ok(self.take_now(plan).into())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A shard is a page of a listing. How long a bucket is kept is how long it takes to be full.
impl<C: Clock> Inspect for Memory<C> {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        let at = self.clock.now();
        let kept = |key: &String| {
            let place = self.place(key);
            let kept = self.shards.get(place.shard).and_then(|shard| lock(shard).look(place.hash, key));
            kept.map_or(Stored::Nothing, |(state, full_at)| Stored::Bucket {
                state,
                ttl: Some(Duration::from_micros(full_at.us_since(at))),
            })
        };
        Ok(keys.iter().map(|key| Sample { at, kept: kept(key) }).collect())
    }

    async fn list(&self, server: &ServerId, bounds: Bounds) -> Result<Listing, InspectError> {
        let prefix = server.key_prefix();
        let mut keys: Vec<String> = Vec::new();
        for shard in self.shards.iter().take(bounds.most_pages) {
            // One more than there may be, to know whether there are more.
            let room = bounds.most_keys.saturating_add(1) - keys.len();
            keys.extend(lock(shard).keys().filter(|key| key.starts_with(&prefix)).take(room).map(str::to_owned));
        }
        let complete = keys.len() <= bounds.most_keys && self.shards.len() <= bounds.most_pages;
        keys.truncate(bounds.most_keys);
        Ok(Listing { keys, complete })
    }

    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        let place = self.place(key);
        Ok(self.shards.get(place.shard).is_some_and(|shard| lock(shard).forget(place.hash, key)))
    }
}

/// As many as one call has buckets are kept in place.
type Few<T> = SmallVec<[T; 4]>;

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u64,
    shard: usize,
}

/// The locked shards of one decision.
struct Held<'a>(Few<(usize, MutexGuard<'a, Shard>)>);

impl<'a> Held<'a> {
    /// Locks each shard once, in ascending order.
    fn lock(shards: &'a [Mutex<Shard>], asked: &[(Place, Option<usize>)]) -> Self {
        let mut wanted = asked.iter().fold(0_u64, |wanted, (place, _)| wanted | 1 << place.shard);
        let mut held = Self(SmallVec::new());
        while wanted != 0 {
            let index = wanted.trailing_zeros() as usize;
            if let Some(shard) = shards.get(index) {
                held.0.push((index, lock(shard)));
            }
            wanted &= wanted - 1;
        }
        held
    }

    fn shard(&mut self, place: &Place) -> Option<&mut Shard> {
        self.0.iter_mut().find(|(index, _)| *index == place.shard).map(|(_, shard)| &mut **shard)
    }
}

/// A shard is whole between any two of its methods, so one whose holder panicked is as good as any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
