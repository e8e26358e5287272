//! Denials that are certain without asking: an earlier response from Redis bounds what a bucket can hold for a while.
//!
//! When Redis reports at its time `s` that a bucket covers a cost `c` only after `w`, then until `s + w` no call of cost `c` or more can be
//! allowed, whatever other clients do: they only take tokens. `s` lies between sending the request and receiving the response, so
//!
//! ```text
//! denied for certain   until sent + w x (1 - 0.0005)           two clocks differ in speed by 0.0005 at most (what NTP allows)
//! reported wait        w - (time since received) x (1 - 0.0005)   never less than enough
//! ```
//!
//! Exceptions, all of which deny a little longer than necessary: someone resets or deletes the bucket, or another process with larger
//! limits refills it. So a denial is trusted for at most [`LONGEST_BELIEF`], minus a jitter that spreads the next requests. A limit that is
//! changed here is another shape, about which nothing is cached.

use std::{
    hash::BuildHasher,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::limiter::{Plan, Verdict, Wait, key::KeyParts, settle::Shortfall, shape::Shape};

/// How long a denial is trusted without asking Redis again, at most. A bucket that another process resets meanwhile is still denied here.
pub const LONGEST_BELIEF: Duration = Duration::from_secs(1);
/// The maximum number of cached buckets, over all shards.
const MOST_BUCKETS: usize = 65_536;
const SHARDS: usize = 16;
/// A full shard is searched for expired entries at most this often.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(100);
/// The relative difference in speed of two clocks.
const PARTS_OF_SLEW: u32 = 2000;

/// Cached facts about drained buckets.
#[derive(Debug)]
pub(super) struct Certain {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashTable<Known>,
    swept: Option<Instant>,
}

/// A bucket that denied.
#[derive(Debug)]
struct Known {
    key: Box<str>,
    hash: u64,
    shape: Shape,
    cost: NonZeroU32,
    /// Denied for certain before this time.
    denied_until: Instant,
    /// When the response was received.
    received: Instant,
    /// The wait in the response.
    wait: Duration,
}

impl Certain {
    pub(super) fn new() -> Self {
        Self { shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(), hasher: RandomState::default() }
    }

    /// The denial of a call, if it is certain. With several, the longest wait.
    pub(super) fn denial(&self, plan: &Plan<'_>, now: Instant) -> Option<Verdict> {
        let enforced = plan.draws().enumerate().filter(|(_, draw)| draw.enforced());
        let refusals = enforced.filter_map(|(by, draw)| {
            let key = draw.parts();
            let hash = self.hasher.hash_one(key);
            let shard = self.shard(hash)?;
            let known = shard.known.find(hash, |known| key.is(&known.key))?;
            let holds = known.shape == draw.shape() && known.cost <= draw.cost() && now < known.denied_until;
            holds.then(|| Shortfall { by, wait: Wait::After(whole_us(known.wait(draw.cost(), now))) })
        });
        refusals.reduce(|longest, other| if other.wait > longest.wait { other } else { longest }).map(Verdict::Denied)
    }

    /// Caches Redis' response to a plan.
    pub(super) fn learn(&self, plan: &Plan<'_>, verdict: &Verdict, sent: Instant, received: Instant) {
        let Verdict::Denied(Shortfall { by, wait: Wait::After(wait) }) = *verdict else { return };
        let Some(draw) = plan.draws().nth(by) else { return };
        let hash = self.hasher.hash_one(draw.parts());
        let belief = (wait - wait / PARTS_OF_SLEW).min(LONGEST_BELIEF - jitter(hash));
        let known =
            Known { key: draw.key().into(), hash, shape: draw.shape(), cost: draw.cost(), denied_until: sent + belief, received, wait };
        if let Some(mut shard) = self.shard(hash) {
            shard.keep(known, received);
        }
    }

    /// Removes a bucket that was reset.
    pub(super) fn forget(&self, key: &str) {
        let hash = self.hasher.hash_one(KeyParts::of(key));
        if let Some(mut shard) = self.shard(hash)
            && let Ok(known) = shard.known.find_entry(hash, |known| *known.key == *key)
        {
            known.remove();
        }
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        // Neither the lowest bits nor the highest seven: those choose the slot within a shard.
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shard {
    /// Caches a bucket, unless the cache is full: then Redis is asked again, which is always correct.
    fn keep(&mut self, known: Known, now: Instant) {
        if let Some(kept) = self.known.find_mut(known.hash, |kept| kept.key == known.key) {
            *kept = known;
            return;
        }
        if self.known.len() >= MOST_BUCKETS / SHARDS && self.swept.is_none_or(|swept| now.duration_since(swept) >= BETWEEN_SWEEPS) {
            self.swept = Some(now);
            self.known.retain(|known| now < known.denied_until);
        }
        if self.known.len() < MOST_BUCKETS / SHARDS {
            self.known.insert_unique(known.hash, known, |known| known.hash);
        }
    }
}

impl Known {
    /// The time until a cost is covered, if it is at least the cost that was denied.
    fn wait(&self, cost: NonZeroU32, now: Instant) -> Duration {
        let more = f64::from(cost.get() - self.cost.get().min(cost.get())) / self.shape.tokens_per_us();
        let more = Duration::from_micros(more.ceil() as u64);
        let passed = now.saturating_duration_since(self.received);
        self.wait.saturating_sub(passed - passed / PARTS_OF_SLEW).saturating_add(more)
    }
}

/// Up to a quarter of a second, different for each bucket and process.
fn jitter(hash: u64) -> Duration {
    Duration::from_micros((hash & 0xffff) * 250_000 / 0x1_0000)
}

fn whole_us(wait: Duration) -> Duration {
    Duration::from_micros(u64::try_from(wait.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Call, Policy, plan::tests::policy, shape::tests::cost};

    const US: Duration = Duration::from_micros(1);

    /// `search` by alice: her bucket (index 3) has denied a cost of `denied` for `wait`; asked at 0 ms, answered at 2 ms.
    struct Drained {
        certain: Certain,
        policy: Policy,
        sent: Instant,
    }

    impl Drained {
        fn of(denied: u32, wait: Duration) -> Self {
            let drained = Self { certain: Certain::new(), policy: policy(), sent: Instant::now() };
            let call = Call::of("search").by("alice").costing(cost(denied));
            let verdict = Verdict::Denied(Shortfall { by: 3, wait: Wait::After(wait) });
            drained.certain.learn(&drained.policy.plan(&call), &verdict, drained.sent, drained.sent + Duration::from_millis(2));
            drained
        }

        fn wait(&self, call: &Call<'_>, after: Duration) -> Option<Duration> {
            match self.certain.denial(&self.policy.plan(call), self.sent + after)? {
                Verdict::Denied(Shortfall { by: 3, wait: Wait::After(wait) }) => Some(wait),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_denial_holds_while_it_is_certain() {
        let (drained, call) = (Drained::of(1, Duration::from_millis(400)), Call::of("search").by("alice"));
        // The response may have been computed as late as 2 ms after the request, and this clock may be 0.05 % fast.
        assert_eq!(drained.wait(&call, Duration::from_millis(2)), Some(Duration::from_millis(400)));
        assert_eq!(drained.wait(&call, Duration::from_millis(202)), Some(Duration::from_micros(200_100)));
        let last = Duration::from_micros(399_800) - US;
        assert!(drained.wait(&call, last).is_some());
        assert_eq!(drained.wait(&call, last + US), None);
    }

    #[test]
    fn nothing_is_believed_for_long() {
        let (drained, call) = (Drained::of(1, Duration::from_secs(3600)), Call::of("search").by("alice"));
        assert!(drained.wait(&call, Duration::from_millis(740)).is_some());
        assert_eq!(drained.wait(&call, LONGEST_BELIEF), None);
    }

    #[test]
    fn it_holds_only_for_calls_that_cost_as_much_or_more() {
        let (drained, call) = (Drained::of(2, Duration::from_millis(400)), Call::of("search").by("alice"));
        assert_eq!(drained.wait(&call, Duration::ZERO), None, "one token may be there");
        let two = drained.wait(&call.costing(cost(2)), Duration::ZERO).expect("certain");
        // Five a minute: one more takes 12 s.
        assert_eq!(drained.wait(&call.costing(cost(3)), Duration::ZERO), Some(two + Duration::from_secs(12)));
        assert_eq!(drained.wait(&Call::of("search").by("bob").costing(cost(2)), Duration::ZERO), None);
        assert_eq!(drained.wait(&Call::of("list").by("alice").costing(cost(2)), Duration::ZERO), None);
    }

    #[test]
    fn what_is_reset_is_forgotten() {
        let (drained, call) = (Drained::of(1, Duration::from_millis(400)), Call::of("search").by("alice"));
        assert!(drained.wait(&call, Duration::ZERO).is_some());
        drained.certain.forget("thv:rl:{ns:mcp}:user-tool:search:alice");
        assert_eq!(drained.wait(&call, Duration::ZERO), None);
    }

    #[test]
    fn other_limits_and_shadow_know_nothing_of_it() {
        let mut drained = Drained::of(1, Duration::from_millis(400));
        let call = Call::of("search").by("alice");
        drained.policy = policy().shadow(|_| true);
        assert_eq!(drained.wait(&call, Duration::ZERO), None);
        drained.policy = crate::limiter::plan::tests::policy_of("30s");
        assert_eq!(drained.wait(&call, Duration::ZERO), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (certain, policy, now) = (Certain::new(), policy(), Instant::now());
        for user in 0..2 * MOST_BUCKETS {
            let user = user.to_string();
            let verdict = Verdict::Denied(Shortfall { by: 3, wait: Wait::After(Duration::from_secs(1)) });
            certain.learn(&policy.plan(&Call::of("search").by(&user)), &verdict, now, now);
        }
        let kept = certain.shards.iter().map(|shard| shard.lock().expect("whole").known.len()).sum::<usize>();
        assert!(kept <= MOST_BUCKETS && kept > MOST_BUCKETS / 2, "{kept}");
        let later = now + LONGEST_BELIEF;
        let call = Call::of("search").by("later");
        certain.learn(&policy.plan(&call), &Verdict::Denied(Shortfall { by: 3, wait: Wait::After(Duration::from_secs(1)) }), later, later);
        assert!(certain.denial(&policy.plan(&call), later).is_some(), "there is room again");
    }
}
