//! Buckets in this process: exact, fast, lost when the process ends and not shared with others.
//!
//! Buckets are spread over shards by the hash of their key. A decision locks the shards of all its buckets, in ascending order so that
//! decisions cannot deadlock, and settles them with the limiter's own arithmetic.
//!
//! # Bounded memory
//!
//! A full bucket needs no state. Whenever a shard has doubled, its full buckets are dropped, which has no effect on decisions; so memory
//! follows the buckets in use. User buckets are also capped ([`Memory::with_capacity`], 100 000 by default: some 20 MB, more with long user
//! ids). At the cap, the eighth of the shard's user buckets that would be full soonest is dropped as well. Buckets that all callers share
//! are never dropped before they are full; there are only as many as the manifest defines.
//!
//! What a client with many identities gains from that: dropping a bucket refills it, so identities recover a little early, starting with
//! those that are nearly full. To get a drained bucket dropped, seven eighths of the cap must be taken by buckets that are even further
//! from full; a client with that many identities makes more calls with them than the eviction returns. And the limits shared by all callers
//! hold throughout. The alternative, rejecting new users, would let the same attacker lock out everyone. [`Memory::evicted`] counts the
//! buckets dropped early.

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
        key::KeyParts,
        plan::Draw,
        settle::{Slot, settle},
        shape::State,
    },
};

/// Default capacity, in user buckets.
pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
/// One bit of a word per shard.
const MOST_SHARDS: usize = u64::BITS as usize;
/// Below this capacity per shard, the cap would be unfair.
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
    /// A store with room for about this many user buckets, using this clock.
    pub fn with_capacity(capacity: NonZeroUsize, clock: C) -> Self {
        let shards = (capacity.get() / SMALLEST_SHARD).clamp(1, MOST_SHARDS).next_power_of_two();
        let each = capacity.get().div_ceil(shards);
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::new(each))).take(shards);
        Self { shards: shards.collect(), hasher: RandomState::default(), clock, evicted: AtomicU64::new(0) }
    }

    /// The number of buckets held now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether no bucket is held: all are full.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Buckets dropped before they were full, since the start. If this grows, raise the capacity.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The same as [`Store::take`], without waiting.
    pub fn take_now(&self, plan: &Plan<'_>) -> Verdict {
        let now = self.clock.now();
        let mut draws = plan.draws();
        // Most of what follows handles several buckets, which a single one need not pay for.
        match (draws.len(), draws.next()) {
            (1, Some(draw)) => self.take_one(&draw, now),
            _ => self.take_all(plan, now),
        }
    }

    fn take_one(&self, draw: &Draw<'_>, now: Micros) -> Verdict {
        let place = self.place(draw.parts());
        let mut shard = self.shards.get(place.shard).map(lock);
        let found = shard.as_ref().and_then(|shard| shard.find(place.hash, draw.parts()));
        let state = found.and_then(|at| shard.as_ref()?.state(at));
        let mut slots = [Slot::new(draw.shape(), draw.cost(), draw.enforced(), state)];
        let verdict = settle(&mut slots, now);
        let [slot] = slots;
        if let (Some(shard), true, Some(state)) = (&mut shard, slot.changed, slot.state) {
            match found {
                Some(at) => shard.set(at, draw, state),
                None => self.add(shard, &place, draw, state, now),
            }
        }
        verdict
    }

    fn take_all(&self, plan: &Plan<'_>, now: Micros) -> Verdict {
        let mut asked: Few<(Place, Option<usize>)> = plan.draws().map(|draw| (self.place(draw.parts()), None)).collect();
        let mut held = Held::lock(&self.shards, &asked);
        let mut slots: Few<Slot> = SmallVec::new();
        for (draw, (place, found)) in std::iter::zip(plan.draws(), &mut asked) {
            let shard = held.shard(place);
            *found = shard.as_ref().and_then(|shard| shard.find(place.hash, draw.parts()));
            let state = found.and_then(|at| shard?.state(at));
            slots.push(Slot::new(draw.shape(), draw.cost(), draw.enforced(), state));
        }
        let verdict = settle(&mut slots, now);
        let changed = || std::iter::zip(plan.draws(), &asked).zip(&slots).filter(|(_, slot)| slot.changed);
        // Existing buckets come first, since inserting others may move them.
        for ((draw, (place, found)), slot) in changed() {
            if let (Some(shard), Some(at), Some(state)) = (held.shard(place), found, slot.state) {
                shard.set(*at, &draw, state);
            }
        }
        for ((draw, (place, found)), slot) in changed() {
            if let (Some(shard), None, Some(state)) = (held.shard(place), found, slot.state) {
                self.add(shard, place, &draw, state, now);
            }
        }
        verdict
    }

    fn add(&self, shard: &mut Shard, place: &Place, draw: &Draw<'_>, state: State, now: Micros) {
        self.evicted.fetch_add(shard.add(place.hash, draw, state, now), Ordering::Relaxed);
    }

    fn place(&self, key: KeyParts<'_>) -> Place {
        let hash = self.hasher.hash_one(key);
        // Neither the lowest bits nor the highest seven: those choose the slot within a shard.
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

/// Each shard is one page of a listing. A bucket's TTL is the time until it is full.
impl<C: Clock> Inspect for Memory<C> {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        let at = self.clock.now();
        let kept = |key: &String| {
            let key = KeyParts::of(key);
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
            // One more than the limit, to detect whether there are more.
            let room = bounds.most_keys.saturating_add(1) - keys.len();
            keys.extend(lock(shard).keys().filter(|key| key.starts_with(&prefix)).take(room).map(str::to_owned));
        }
        let complete = keys.len() <= bounds.most_keys && self.shards.len() <= bounds.most_pages;
        keys.truncate(bounds.most_keys);
        Ok(Listing { keys, complete })
    }

    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        let key = KeyParts::of(key);
        let place = self.place(key);
        Ok(self.shards.get(place.shard).is_some_and(|shard| lock(shard).forget(place.hash, key)))
    }
}

/// Inline capacity: the most buckets of a single call.
type Few<T> = SmallVec<[T; 4]>;

/// The shard of a key.
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

/// A shard is consistent between any two method calls, so a poisoned lock can be used like any other.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
