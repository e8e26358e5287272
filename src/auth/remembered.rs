//! A cache of recently verified tokens, so that the next call with the same token costs a hash instead of a signature check.
//!
//! Keyed by the SHA-256 of the whole token, so that a single different byte makes another token. Valid and invalid tokens are cached
//! separately, so that unauthenticated clients cannot evict valid ones. Eviction works by halves: entries not used while one half filled up
//! are dropped with the older half.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tokio::time::Instant;

use super::claims::UnixTime;

/// A verified token is verified again after this long.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Shards, so that callers seldom wait for each other's locks.
const SHARDS: usize = 16;

/// Caches results about tokens, up to a maximum number.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    shards: [Mutex<Halves<T>>; SHARDS],
    most_in_half: usize,
}

/// The key of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

/// All bytes are uniformly distributed, so a few suffice.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.first_chunk::<8>().map(|first| u64::from_ne_bytes(*first)).hash(state);
    }
}

/// A cached result.
#[derive(Clone, Debug)]
pub(super) struct Known<T> {
    pub(super) found: T,
    /// When its claims expire.
    pub(super) until: UnixTime,
    /// The generation of the keys that verified it; zero without keys.
    pub(super) generation: u64,
    pub(super) verified_at: Instant,
}

#[derive(Debug)]
struct Halves<T> {
    young: HashMap<Fingerprint, Known<T>>,
    old: HashMap<Fingerprint, Known<T>>,
}

impl<T> Default for Halves<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

/// The current time, both as a wall clock and a monotonic one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) time: UnixTime,
    pub(super) instant: Instant,
}

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl<T> Known<T> {
    /// A result that no claim expires.
    pub(super) fn always(found: T, at: Instant) -> Self {
        Self { found, until: UnixTime(f64::INFINITY), generation: 0, verified_at: at }
    }

    fn is_good(&self, generation: u64, now: Now, longest: Duration) -> bool {
        let age = now.instant.saturating_duration_since(self.verified_at);
        self.generation == generation && now.time < self.until && age < longest
    }
}

impl<T: Clone> Remembered<T> {
    /// Caches at most about this many results; 0 disables the cache.
    pub(super) fn new(most: usize) -> Self {
        Self { shards: Default::default(), most_in_half: most.div_ceil(2 * SHARDS) }
    }

    /// The result for this token under these keys, if it is still valid.
    pub(super) fn found(&self, token: &Fingerprint, generation: u64, now: Now) -> Option<T> {
        self.found_within(token, generation, now, LONGEST)
    }

    /// The same, if it is not older than this.
    pub(super) fn found_within(&self, token: &Fingerprint, generation: u64, now: Now, longest: Duration) -> Option<T> {
        let mut halves = self.shard(token)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves.young.get(token) {
            return known.is_good(generation, now, longest).then(|| known.found.clone());
        }
        let known = halves.old.remove(token).filter(|known| known.is_good(generation, now, LONGEST))?;
        let found = known.is_good(generation, now, longest).then(|| known.found.clone());
        halves.put(*token, known, self.most_in_half);
        found
    }

    /// Stores a result.
    pub(super) fn put(&self, token: Fingerprint, known: Known<T>) {
        if self.most_in_half > 0
            && let Some(shard) = self.shard(&token)
        {
            shard.lock().unwrap_or_else(PoisonError::into_inner).put(token, known, self.most_in_half);
        }
    }

    /// Removes a result.
    pub(super) fn forget(&self, token: &Fingerprint) {
        if let Some(shard) = self.shard(token) {
            let mut halves = shard.lock().unwrap_or_else(PoisonError::into_inner);
            halves.young.remove(token);
            halves.old.remove(token);
        }
    }

    fn shard(&self, Fingerprint(bytes): &Fingerprint) -> Option<&Mutex<Halves<T>>> {
        self.shards.get(usize::from(*bytes.first()?) % SHARDS)
    }
}

impl<T> Halves<T> {
    fn put(&mut self, token: Fingerprint, known: Known<T>, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&token) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Caller;

    fn now() -> Now {
        Now { time: UnixTime(1_000.0), instant: Instant::now() }
    }

    fn known(at: Now) -> Known<Caller> {
        let found = Caller::new("alice", Some("https://issuer.example"));
        Known { found, until: UnixTime(1_060.0), generation: 7, verified_at: at.instant }
    }

    fn later(now: Now, seconds: u64) -> Now {
        Now { time: UnixTime(now.time.0 + seconds as f64), instant: now.instant + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_token_is_remembered_while_its_claims_and_keys_are_good() {
        let (remembered, now, token) = (Remembered::new(100), now(), Fingerprint::of("token"));
        remembered.put(token, known(now));
        assert!(remembered.found(&token, 7, later(now, 59)).is_some_and(|caller| caller.subject() == "alice"));
        assert_eq!(remembered.found(&token, 7, later(now, 60)), None, "expired");
        assert_eq!(remembered.found(&token, 8, now), None, "other keys");
        assert_eq!(remembered.found(&Fingerprint::of("token "), 7, now), None, "another token");
        let (long, token) = (Known { until: UnixTime(f64::INFINITY), ..known(now) }, Fingerprint::of("long"));
        remembered.put(token, long);
        assert!(remembered.found(&token, 7, later(now, 299)).is_some());
        assert_eq!(remembered.found(&token, 7, later(now, 300)), None, "looked at anew");
        assert!(remembered.found_within(&token, 7, later(now, 9), Duration::from_secs(10)).is_some());
        assert_eq!(remembered.found_within(&token, 7, later(now, 10), Duration::from_secs(10)), None);
        assert!(remembered.found(&token, 7, later(now, 10)).is_some(), "too old for one purpose is not forgotten");
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_keeps_those_that_come_back() {
        let (remembered, now, regular) = (Remembered::new(320), now(), Fingerprint::of("regular"));
        remembered.put(regular, known(now));
        for count in 0..10_000 {
            remembered.put(Fingerprint::of(&format!("token {count}")), known(now));
            assert!(remembered.found(&regular, 7, now).is_some(), "forgotten after {count}");
        }
        let held = |halves: &Mutex<Halves<Caller>>| halves.lock().map_or(0, |halves| halves.young.len() + halves.old.len());
        let held: usize = remembered.shards.iter().map(held).sum();
        assert!((160..=320).contains(&held), "{held}");
        assert_eq!(remembered.found(&Fingerprint::of("token 0"), 7, now), None);
    }

    #[test]
    fn none_are_remembered_where_none_may_be() {
        let (remembered, now, token) = (Remembered::new(0), now(), Fingerprint::of("token"));
        remembered.put(token, known(now));
        assert_eq!(remembered.found(&token, 7, now), None);
    }
}
