//! Buckets as JSON, and the outcome of calls: the one format that `tollgate limits` prints, a proxy's `GET /buckets` serves and `tollgate
//! top` reads. The totals are read from the metrics.
//!
//! ```
//! use tollgate::inspect::report::BucketsReport;
//!
//! let text = r#"{"buckets": [{"limit": "perUser", "user": "alice", "tokens": 0.5, "maxTokens": 10, "waitSeconds": 3.0,
//!     "fullInSeconds": 57.0, "ttlSeconds": 93.0}], "strangers": [], "complete": true}"#;
//! let report: BucketsReport = serde_json::from_str(text)?;
//! assert_eq!(report.buckets[0].level().map(|level| level.whole_tokens()), Some(0));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{BucketState, BucketStates, BucketStatus};
use super::{digest::DigestKey, name::User};
use crate::limiter::shape::{EPSILON, Wait};

/// Whether the report names users.
#[derive(Clone, Copy, Debug)]
pub enum Users {
    /// By id, for those who may read the store itself.
    Named,
    /// By a [digest](DigestKey::digest) of the id: the same for all who have the key, and meaningless to others.
    Digested(DigestKey),
}

/// The buckets of a server that are not full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BucketsReport {
    /// The buckets, by what they count.
    pub buckets: Vec<BucketReport>,
    /// Keys of the server that tollgate would not write; digests of them if users are [`Digested`](Users::Digested).
    #[serde(rename = "strangers")]
    pub foreign_keys: Vec<String>,
    /// Whether the list is complete.
    pub complete: bool,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BucketReport {
    /// The path in a manifest: `tools[search].perUser`.
    pub limit: String,
    /// The user; all users when `None`.
    pub user: Option<String>,
    /// Its key in the store, which contains the user, so only if users are [`Named`](Users::Named).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The state of the bucket.
    #[serde(flatten)]
    pub status: StatusReport,
}

/// The state of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum StatusReport {
    /// A limit counts it.
    Level(LevelReport),
    /// No limit counts it: its limit was removed.
    #[serde(rename_all = "camelCase")]
    Unlimited {
        /// Tokens when it was last used, unless that is not a number.
        tokens: Option<f64>,
        /// Always true.
        unlimited: bool,
        /// How long the store keeps it.
        ttl_seconds: Option<f64>,
    },
    /// Its key does not hold a bucket.
    Unusable {
        /// Always true.
        unusable: bool,
    },
}

/// The level of a bucket. Times are decimal seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LevelReport {
    /// Tokens now.
    pub tokens: f64,
    /// Tokens when full.
    pub max_tokens: u32,
    /// Time until one token is available; `None` when waiting does not help.
    pub wait_seconds: Option<f64>,
    /// Time until it is full, without further calls.
    pub full_in_seconds: f64,
    /// How long the store keeps it, without further calls.
    pub ttl_seconds: Option<f64>,
}

/// The outcome of the calls of one process since it started. A batch is one call; calls that no limit counts are not included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Totals {
    /// The time since its start, in seconds.
    pub up_seconds: f64,
    /// Calls allowed.
    pub allowed: u64,
    /// Calls denied.
    pub denied: u64,
    /// Calls refused without a decision, because the store did not make one.
    pub undecided: u64,
    /// Of those allowed, the ones not counted, because the store did not respond.
    pub fail_open: u64,
    /// By limit, for all limits.
    pub limits: Vec<LimitTotals>,
}

/// The outcome of the calls that one limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitTotals {
    /// As a path in a manifest: `tools[search].perUser`.
    pub limit: String,
    /// Calls that drew on it.
    pub allowed: u64,
    /// Calls that it denied; in shadow, that it would have denied.
    pub denied: u64,
}

impl BucketsReport {
    /// Builds the report, with users named or digested.
    pub fn of(found: &BucketStates, users: Users) -> Self {
        let foreign_keys = found.foreign_keys.iter().map(|key| match users {
            Users::Named => key.clone(),
            Users::Digested(digests) => digests.digest(key.as_bytes()),
        });
        Self {
            buckets: found.buckets.iter().map(|bucket| BucketReport::of(bucket, users)).collect(),
            foreign_keys: foreign_keys.collect(),
            complete: found.complete,
        }
    }
}

impl BucketReport {
    fn of(bucket: &BucketState, users: Users) -> Self {
        Self {
            limit: bucket.name.limit().to_string(),
            user: bucket.name.user.as_ref().map(|user| user_name(user, users)),
            key: matches!(users, Users::Named).then(|| bucket.key.clone()),
            status: StatusReport::of(&bucket.status),
        }
    }

    /// Its level, if a limit counts it.
    pub fn level(&self) -> Option<&LevelReport> {
        match &self.status {
            StatusReport::Level(level) => Some(level),
            StatusReport::Unlimited { .. } | StatusReport::Unusable { .. } => None,
        }
    }
}

impl StatusReport {
    fn of(status: &BucketStatus) -> Self {
        let seconds = |ttl: &Option<Duration>| ttl.map(|ttl| ttl.as_secs_f64());
        match status {
            BucketStatus::Level(level) => Self::Level(LevelReport {
                tokens: level.tokens,
                max_tokens: level.max_tokens,
                wait_seconds: match level.wait {
                    Wait::After(wait) => Some(wait.as_secs_f64()),
                    Wait::Never => None,
                },
                full_in_seconds: level.full_in.as_secs_f64(),
                ttl_seconds: seconds(&level.ttl),
            }),
            BucketStatus::Unlimited { tokens, ttl } => {
                Self::Unlimited { tokens: Some(*tokens).filter(|tokens| tokens.is_finite()), unlimited: true, ttl_seconds: seconds(ttl) }
            }
            BucketStatus::Unusable => Self::Unusable { unusable: true },
        }
    }
}

impl LevelReport {
    /// Calls that it would allow at once.
    pub fn whole_tokens(&self) -> u32 {
        (self.tokens + EPSILON) as u32
    }
}

fn user_name(user: &User, users: Users) -> String {
    match (user, users) {
        (User::Known(id), Users::Named) => printable(id),
        (User::Known(id), Users::Digested(digests)) => digests.digest(id.as_bytes()),
        (User::Hashed(hash), Users::Named) => hex(hash),
        (User::Hashed(hash), Users::Digested(digests)) => digests.digest(hash),
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Removes what a terminal would interpret from foreign text: control characters, and those that change the text direction.
pub fn printable(text: &str) -> String {
    let obeyed = |char: char| {
        char.is_control() || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|char| if obeyed(char) { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        inspect::{BucketLevel, BucketName},
        limiter::{Limit, Scope},
    };

    fn state(user: User, status: BucketStatus) -> BucketState {
        BucketState { name: BucketName { tool: None, user: Some(user) }, key: "thv:rl:{a:b}:user:alice".to_owned(), status }
    }

    fn found() -> BucketStates {
        let level = BucketLevel {
            limit: Limit { scope: Scope::PerUser, tool: None },
            enforced: true,
            max_tokens: 10,
            tokens: 0.5,
            wait: Wait::After(Duration::from_millis(3500)),
            full_in: Duration::from_secs(57),
            ttl: None,
        };
        let known = |id: &str| User::Known(id.to_owned());
        let buckets = vec![
            state(known("alice"), BucketStatus::Level(level.clone())),
            state(known("\x1b[2Jbob\u{202e}"), BucketStatus::Level(BucketLevel { wait: Wait::Never, ..level })),
            state(User::Hashed([7; 32]), BucketStatus::Unlimited { tokens: f64::INFINITY, ttl: Some(Duration::from_secs(90)) }),
            state(known("alice"), BucketStatus::Unusable),
        ];
        BucketStates { buckets, foreign_keys: vec!["thv:rl:{a:b}:user:%61lice".to_owned()], complete: false }
    }

    #[test]
    fn every_bucket_is_written_and_read_back() {
        let report = BucketsReport::of(&found(), Users::Named);
        let json = serde_json::to_value(&report).expect("it can be written");
        let key = "thv:rl:{a:b}:user:alice";
        let level = |user: &str, wait: Option<f64>| json!({"limit": "perUser", "user": user, "key": key, "tokens": 0.5, "maxTokens": 10, "waitSeconds": wait, "fullInSeconds": 57.0, "ttlSeconds": null});
        let hashed = format!("sha256:{}", "07".repeat(32));
        assert_eq!(
            json,
            json!({
                "buckets": [
                    level("alice", Some(3.5)),
                    level("\u{fffd}[2Jbob\u{fffd}", None),
                    {"limit": "perUser", "user": hashed, "key": key, "tokens": null, "unlimited": true, "ttlSeconds": 90.0},
                    {"limit": "perUser", "user": "alice", "key": key, "unusable": true},
                ],
                "strangers": ["thv:rl:{a:b}:user:%61lice"],
                "complete": false,
            })
        );
        assert_eq!(serde_json::from_value::<BucketsReport>(json).expect("it can be read"), report);
    }

    #[test]
    fn a_digest_distinguishes_users_without_naming_them() {
        let report = BucketsReport::of(&found(), Users::Digested(DigestKey::new([7; 32])));
        let users: Vec<_> = report.buckets.iter().map(|bucket| bucket.user.as_deref().expect("a user's")).collect();
        assert_eq!((users[0], users[2], users[3]), ("hmac:6a8851c590dd", "hmac:c2be96d8f3f7", users[0]));
        assert!(report.foreign_keys[0].starts_with("hmac:"), "{:?}", report.foreign_keys);
        let text = serde_json::to_string(&report).expect("it can be written");
        assert!(!["lice", "bob", "thv:rl"].iter().any(|report| text.contains(report)), "{text}");
    }
}
