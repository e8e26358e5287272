//! Tokens that were verified a short while ago, so that the next call with the same one costs a hash and not a signature.
//!
//! By SHA-256 of the whole token, so one that differs in a single byte is another one. Only good ones are remembered: strangers cannot fill
//! this. It forgets by halves: what was not asked for while a half filled goes with the older half.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::{Caller, claims::UnixTime};

/// A verified token is looked at anew after this long.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// So that callers seldom wait for each other.
const SHARDS: usize = 16;

/// Remembers callers by their tokens, up to a number.
#[derive(Debug)]
pub(super) struct Remembered {
    shards: [Mutex<Halves>; SHARDS],
    most_in_half: usize,
}

/// What a token is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

/// All bytes are as good as random, so a few are enough.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.first_chunk::<8>().map(|first| u64::from_ne_bytes(*first)).hash(state);
    }
}

/// What was found out about a token.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) caller: Arc<Caller>,
    /// Until then its claims are good.
    pub(super) until: UnixTime,
    /// Of the keys that it was verified with.
    pub(super) generation: u64,
    pub(super) verified_at: Instant,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Fingerprint, Known>,
    old: HashMap<Fingerprint, Known>,
}

/// When it is.
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

impl Known {
    fn is_good(&self, generation: u64, now: Now) -> bool {
        let age = now.instant.saturating_duration_since(self.verified_at);
        self.generation == generation && now.time < self.until && age < LONGEST
    }
}

impl Remembered {
    /// Remembers at most about this many; none with 0.
    pub(super) fn new(most: usize) -> Self {
        Self { shards: Default::default(), most_in_half: most.div_ceil(2 * SHARDS) }
    }

    /// Whose token this is, if it was verified with these keys and is still good.
    pub(super) fn caller(&self, token: &Fingerprint, generation: u64, now: Now) -> Option<Arc<Caller>> {
        let mut halves = self.shard(token)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves.young.get(token) {
            return known.is_good(generation, now).then(|| Arc::clone(&known.caller));
        }
        let known = halves.old.remove(token).filter(|known| known.is_good(generation, now))?;
        let caller = Arc::clone(&known.caller);
        halves.put(*token, known, self.most_in_half);
        Some(caller)
    }

    /// Remembers one.
    pub(super) fn put(&self, token: Fingerprint, known: Known) {
        if self.most_in_half > 0
            && let Some(shard) = self.shard(&token)
        {
            shard.lock().unwrap_or_else(PoisonError::into_inner).put(token, known, self.most_in_half);
        }
    }

    fn shard(&self, Fingerprint(bytes): &Fingerprint) -> Option<&Mutex<Halves>> {
        self.shards.get(usize::from(*bytes.first()?) % SHARDS)
    }
}

impl Halves {
    fn put(&mut self, token: Fingerprint, known: Known, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&token) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now { time: UnixTime(1_000.0), instant: Instant::now() }
    }

    fn known(at: Now) -> Known {
        let caller = Arc::new(Caller::new("alice", Some("https://issuer.example")));
        Known { caller, until: UnixTime(1_060.0), generation: 7, verified_at: at.instant }
    }

    fn later(now: Now, seconds: u64) -> Now {
        Now { time: UnixTime(now.time.0 + seconds as f64), instant: now.instant + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_token_is_remembered_while_its_claims_and_keys_are_good() {
        let (remembered, now, token) = (Remembered::new(100), now(), Fingerprint::of("token"));
        remembered.put(token, known(now));
        assert!(remembered.caller(&token, 7, later(now, 59)).is_some_and(|caller| caller.subject() == "alice"));
        assert_eq!(remembered.caller(&token, 7, later(now, 60)), None, "expired");
        assert_eq!(remembered.caller(&token, 8, now), None, "other keys");
        assert_eq!(remembered.caller(&Fingerprint::of("token "), 7, now), None, "another token");
        let (long, token) = (Known { until: UnixTime(f64::INFINITY), ..known(now) }, Fingerprint::of("long"));
        remembered.put(token, long);
        assert!(remembered.caller(&token, 7, later(now, 299)).is_some());
        assert_eq!(remembered.caller(&token, 7, later(now, 300)), None, "looked at anew");
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_keeps_those_that_come_back() {
        let (remembered, now, regular) = (Remembered::new(320), now(), Fingerprint::of("regular"));
        remembered.put(regular, known(now));
        for count in 0..10_000 {
            remembered.put(Fingerprint::of(&format!("token {count}")), known(now));
            assert!(remembered.caller(&regular, 7, now).is_some(), "forgotten after {count}");
        }
        let held = |halves: &Mutex<Halves>| halves.lock().map_or(0, |halves| halves.young.len() + halves.old.len());
        let held: usize = remembered.shards.iter().map(held).sum();
        assert!((160..=320).contains(&held), "{held}");
        assert_eq!(remembered.caller(&Fingerprint::of("token 0"), 7, now), None);
    }

    #[test]
    fn none_are_remembered_where_none_may_be() {
        let (remembered, now, token) = (Remembered::new(0), now(), Fingerprint::of("token"));
        remembered.put(token, known(now));
        assert_eq!(remembered.caller(&token, 7, now), None);
    }
}
