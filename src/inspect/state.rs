//! The state of buckets: what a store holds, in terms of a policy.
//!
//! ```
//! use tollgate::model::{bucket::Bucket, limits::Limits};
//! use tollgate::{inspect::{Bounds, BucketName, BucketStatus}, limiter::{Call, Limiter, Policy, ServerId}};
//! use tollgate::stores::Memory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Limits::new().global(Bucket::per_hour(2));
//! let limiter = Limiter::new(Memory::default(), Policy::new(&ServerId::new("default", "search"), &limits));
//! limiter.decide(&Call::of("web_search")).await?;
//!
//! let found = limiter.list(Bounds::default()).await?;
//! let BucketStatus::Level(level) = &found.buckets[0].status else { panic!("a limit counts it") };
//! assert_eq!((level.limit.to_string().as_str(), level.max_tokens, level.whole_tokens()), ("global", 2, 1));
//!
//! assert!(limiter.reset(&BucketName::global()).await?);
//! assert!(limiter.list(Bounds::default()).await?.buckets.is_empty());
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use super::name::BucketName;
use super::port::{Bounds, Inspect, InspectError, Sample, Stored};
use crate::limiter::{
    plan::Call,
    policy::{Counter, Limit, Policy},
    service::Limiter,
    shape::{EPSILON, Wait},
};

/// A bucket and its state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BucketState {
    /// What it counts.
    pub name: BucketName,
    /// Its key in the store.
    pub key: String,
    /// Its state.
    pub status: BucketStatus,
}

/// The state of a bucket.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BucketStatus {
    /// A limit counts it.
    Level(BucketLevel),
    /// No limit counts it: its limit was removed.
    Unlimited {
        /// Tokens when it was last used; `None` if nothing is stored.
        tokens: f64,
        /// How long the store keeps it.
        ttl: Option<Duration>,
    },
    /// Its key does not hold a bucket. Calls that draw on it fail until it is reset.
    Unusable,
}

/// The level of one bucket of a limit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BucketLevel {
    /// The limit.
    pub limit: Limit,
    /// Whether the limit may deny; in shadow it only reports.
    pub enforced: bool,
    /// `maxTokens`.
    pub max_tokens: u32,
    /// Tokens now.
    pub tokens: f64,
    /// Time until one token is available: zero if there is one.
    pub wait: Wait,
    /// Time until it is full, without further calls.
    pub full_in: Duration,
    /// How long the store keeps it, without further calls; `None` if nothing is stored, as for full buckets, or it never expires.
    pub ttl: Option<Duration>,
}

/// The buckets that a store holds for a server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BucketStates {
    /// Its buckets that are not full, by what they count.
    pub buckets: Vec<BucketState>,
    /// Keys of the server that tollgate would not write, as a Go proxy does for a few user ids. They count nothing here.
    pub foreign_keys: Vec<String>,
    /// Whether the list is complete. If not, a bound was reached.
    pub complete: bool,
}

impl BucketLevel {
    /// Calls that it would allow at once.
    pub fn whole_tokens(&self) -> u32 {
        (self.tokens + EPSILON) as u32
    }
}

impl Policy {
    /// Interprets the content of a bucket's key according to the limits.
    pub fn status_of(&self, name: &BucketName, found: &Sample) -> BucketStatus {
        match (found.kept, self.counter(name)) {
            (Stored::Unusable, _) => BucketStatus::Unusable,
            (_, Some(counter)) => BucketStatus::Level(level(counter, found)),
            (Stored::Nothing, None) => BucketStatus::Unlimited { tokens: 0.0, ttl: None },
            (Stored::Bucket { state, ttl }, None) => BucketStatus::Unlimited { tokens: state.tokens(), ttl },
        }
    }

    /// The keys of the buckets that all callers share.
    fn shared_keys(&self) -> impl Iterator<Item = &str> {
        let levels = std::iter::once(&self.server).chain(self.tools.values());
        levels.filter_map(|level| level.global.as_ref()).map(|counter| counter.key.as_str())
    }

    fn counter(&self, name: &BucketName) -> Option<&Counter> {
        let level = name.tool.as_deref().map_or(Some(&self.server), |tool| self.tools.get(tool))?;
        if name.user.is_some() { level.per_user.as_ref() } else { level.global.as_ref() }
    }
}

fn level(counter: &Counter, found: &Sample) -> BucketLevel {
    let (shape, now) = (counter.shape, found.at);
    let (state, ttl) = match found.kept {
        Stored::Bucket { state, ttl } => (Some(shape.repair(state, now)), ttl),
        Stored::Nothing | Stored::Unusable => (None, None),
    };
    BucketLevel {
        limit: counter.limit.clone(),
        enforced: counter.enforced,
        max_tokens: shape.capacity() as u32,
        tokens: shape.level(state, now),
        wait: shape.wait(state, now, NonZeroU32::MIN),
        full_in: Duration::from_micros(state.map_or(0, |state| shape.full_at(state).us_since(now))),
        ttl,
    }
}

impl<S: Inspect> Limiter<S> {
    /// The state of the buckets that a call draws on, in the order of its plan. Read-only: no tokens are consumed.
    ///
    /// # Errors
    /// When the store does not respond, or returns an error.
    pub async fn inspect(&self, call: &Call<'_>) -> Result<Vec<BucketState>, InspectError> {
        let policy = self.policy();
        let names = policy.plan(call).draws().filter_map(|draw| BucketName::of(draw.limit(), call.user)).collect();
        Ok(self.states(&policy, names).await?.into_iter().map(|(bucket, _)| bucket).collect())
    }

    /// The state of the server's buckets that are not full. If the bounds are too narrow for all, those that all callers share come first.
    ///
    /// # Errors
    /// When the store does not respond, or returns an error.
    pub async fn list(&self, bounds: Bounds) -> Result<BucketStates, InspectError> {
        let policy = self.policy();
        let mut listing = self.store().list(policy.server_id(), bounds).await?;
        if !listing.complete {
            let shared: BTreeSet<String> = policy.shared_keys().map(str::to_owned).collect();
            let others = listing.keys.into_iter().filter(|key| !shared.contains(key));
            listing.keys = shared.iter().cloned().chain(others).take(bounds.most_keys).collect();
        }
        listing.keys.sort_unstable();
        let (mut names, mut foreign_keys) = (Vec::with_capacity(listing.keys.len()), Vec::new());
        for key in listing.keys {
            match BucketName::parse(policy.server_id(), &key) {
                Ok(name) => names.push(name),
                Err(_) => foreign_keys.push(key),
            }
        }
        names.sort_unstable();
        let mut buckets = self.states(&policy, names).await?;
        // A bucket may be full and still be stored, or be gone since it was listed.
        buckets.retain(|(bucket, found)| found.kept != Stored::Nothing && !bucket.is_full());
        let buckets = buckets.into_iter().map(|(bucket, _)| bucket).collect();
        Ok(BucketStates { buckets, foreign_keys, complete: listing.complete })
    }

    /// Refills a bucket; returns whether it was not full. Other processes that share the store may go on for up to a second to deny calls
    /// that were certain to be denied before.
    ///
    /// # Errors
    /// When the store does not confirm. The bucket may have been reset all the same; resetting is idempotent.
    pub async fn reset(&self, bucket: &BucketName) -> Result<bool, InspectError> {
        self.store().reset(&bucket.key(self.policy().server_id())).await
    }

    async fn states(&self, policy: &Policy, names: Vec<BucketName>) -> Result<Vec<(BucketState, Sample)>, InspectError> {
        let keys: Vec<String> = names.iter().map(|name| name.key(policy.server_id())).collect();
        let found = self.store().read(&keys).await?;
        let state_of = |((name, key), found)| (BucketState { status: policy.status_of(&name, &found), name, key }, found);
        Ok(names.into_iter().zip(keys).zip(found).map(state_of).collect())
    }
}

impl BucketState {
    fn is_full(&self) -> bool {
        match &self.status {
            BucketStatus::Level(level) => level.full_in.is_zero(),
            BucketStatus::Unlimited { .. } | BucketStatus::Unusable => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::User,
        limiter::{Micros, plan::tests::policy, shape::State},
    };

    const NOW: Micros = Micros(1_787_000_000_000_000);

    fn name(tool: Option<&str>, user: Option<&str>) -> BucketName {
        BucketName { tool: tool.map(str::to_owned), user: user.map(User::new) }
    }

    fn holding(tokens: f64, since: Micros) -> Sample {
        Sample { at: NOW, kept: Stored::Bucket { state: State::new(tokens, since), ttl: Some(Duration::from_secs(90)) } }
    }

    fn leveled(name: &BucketName, found: &Sample) -> BucketLevel {
        match policy().status_of(name, found) {
            BucketStatus::Level(level) => level,
            other => panic!("{name:?}: {other:?}"),
        }
    }

    #[test]
    fn a_level_is_that_of_its_limit_now() {
        // Five a minute, of which 0.5 were there 3 s ago.
        let level = leveled(&name(Some("search"), Some("alice")), &holding(0.5, Micros(NOW.0 - 3_000_000)));
        assert_eq!(level.limit.to_string(), "tools[search].perUser");
        assert_eq!((level.max_tokens, level.tokens, level.whole_tokens()), (5, 0.75, 0));
        assert_eq!(level.wait, Wait::After(Duration::from_secs(3)));
        assert_eq!((level.full_in, level.ttl), (Duration::from_secs(51), Some(Duration::from_secs(90))));
        assert_eq!(leveled(&name(Some("list"), None), &holding(3.0, NOW)).limit.to_string(), "tools[list].global");
    }

    #[test]
    fn what_is_not_kept_is_full() {
        let level = leveled(&name(None, Some("bob")), &Sample { at: NOW, kept: Stored::Nothing });
        assert_eq!((level.limit.to_string().as_str(), level.whole_tokens(), level.ttl), ("perUser", 10, None));
        assert_eq!((level.wait, level.full_in), (Wait::After(Duration::ZERO), Duration::ZERO));
    }

    #[test]
    fn a_leap_of_the_clock_is_shown_as_it_would_be_decided() {
        let leapt = holding(0.5, NOW + Duration::from_secs(86_400));
        assert_eq!(leveled(&name(None, None), &leapt).wait, Wait::After(Duration::from_millis(300)));
    }

    #[test]
    fn without_a_limit_tokens_are_only_tokens() {
        let gone = BucketStatus::Unlimited { tokens: 0.5, ttl: Some(Duration::from_secs(90)) };
        for name in [name(Some("gone"), None), name(Some("list"), Some("alice"))] {
            assert_eq!(policy().status_of(&name, &holding(0.5, NOW)), gone, "{name:?}");
        }
        assert_eq!(policy().status_of(&name(None, None), &Sample { at: NOW, kept: Stored::Unusable }), BucketStatus::Unusable);
    }
}
