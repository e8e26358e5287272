//! A token bucket as written in a manifest: `maxTokens` and `refillPeriod`.
//!
//! `refillPeriod` is the time to refill *all* of `maxTokens`, not one: 60 tokens with `1m0s` refill at one a second, and a caller that was
//! idle for a minute may make 60 calls at once.

use std::{num::NonZeroU32, time::Duration};

use serde_json::{Map, Value};

use super::period::{BadPeriod, Period, go_duration};

/// A valid bucket: between 1 and 2^31 - 1 tokens, refilled in a positive time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Capacity and burst, in calls. At most `i32::MAX`, as in the CRD.
    pub max_tokens: NonZeroU32,
    /// Time from empty to full.
    pub refill_period: Period,
}

/// What is wrong with one field of a bucket, in words that follow the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketFault {
    /// The bucket is not a map: its JSON type.
    NotAMap(&'static str),
    /// `maxTokens`.
    MaxTokens(String),
    /// `refillPeriod`.
    RefillPeriod(String),
}

/// The fields of a bucket.
pub const FIELDS: [&str; 2] = [MAX_TOKENS, REFILL_PERIOD];
pub(crate) const MAX_TOKENS: &str = "maxTokens";
pub(crate) const REFILL_PERIOD: &str = "refillPeriod";

impl Bucket {
    /// `calls` at once, and `calls` in every second after that. See [`Bucket::per_minute`].
    pub const fn per_second(calls: u32) -> Self {
        Self::refilled_in(calls, Period::SECOND)
    }

    /// `calls` at once, and `calls` in every minute after that, each when its token has been refilled: one every `60 / calls` seconds.
    ///
    /// ```
    /// use tollgate::model::bucket::Bucket;
    ///
    /// const SIXTY: Bucket = Bucket::per_minute(60);
    /// assert_eq!(SIXTY.pace(), "60 at once, then one every 1s");
    /// ```
    ///
    /// # Panics
    /// If `calls` is 0, or more than `i32::MAX`. For untrusted numbers, construct a [`Bucket`] from its two fields.
    pub const fn per_minute(calls: u32) -> Self {
        Self::refilled_in(calls, Period::MINUTE)
    }

    /// `calls` at once, and `calls` in every hour after that. See [`Bucket::per_minute`].
    pub const fn per_hour(calls: u32) -> Self {
        Self::refilled_in(calls, Period::HOUR)
    }

    #[expect(clippy::panic, reason = "a number in the program, not one from outside; in a constant it fails the build")]
    const fn refilled_in(calls: u32, refill_period: Period) -> Self {
        match NonZeroU32::new(calls) {
            Some(max_tokens) if calls <= i32::MAX.unsigned_abs() => Self { max_tokens, refill_period },
            _ => panic!("a bucket holds between 1 and 2147483647 tokens"),
        }
    }

    /// Parses a bucket; other fields are ignored.
    ///
    /// # Errors
    /// All faults, not only the first.
    pub fn read(value: &Value) -> Result<Self, Vec<BucketFault>> {
        let Some(map) = value.as_object() else {
            return Err(vec![BucketFault::NotAMap(type_name(value))]);
        };
        match (read_max_tokens(map), read_refill_period(map)) {
            (Ok(max_tokens), Ok(refill_period)) => Ok(Self { max_tokens, refill_period }),
            (tokens, period) => {
                let tokens = tokens.err().map(BucketFault::MaxTokens);
                Err(tokens.into_iter().chain(period.err().map(BucketFault::RefillPeriod)).collect())
            }
        }
    }

    /// Whether this bucket, which counts a subset of the calls that `wider` counts, can never be the one that denies: it is at least as
    /// large and refills at least as fast.
    pub fn never_binds_below(&self, wider: &Self) -> bool {
        let (tokens, wider_tokens) = (u128::from(self.max_tokens.get()), u128::from(wider.max_tokens.get()));
        let (period, wider_period) = (u128::from(self.refill_period.as_nanos()), u128::from(wider.refill_period.as_nanos()));
        tokens >= wider_tokens && tokens * wider_period >= wider_tokens * period
    }

    /// How long one token takes to refill, rounded down to the nanosecond.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.refill_period.as_nanos() / u64::from(self.max_tokens.get()))
    }

    /// The meaning of the two numbers: "5 at once, then one every 12s".
    pub fn pace(&self) -> String {
        let nanos = self.refill_period.as_nanos() / u64::from(self.max_tokens.get());
        let unit = match nanos {
            0..1_000_000 => 1,
            1_000_000..1_000_000_000 => 1_000,
            1_000_000_000..60_000_000_000 => 1_000_000,
            _ => 1_000_000_000,
        };
        format!("{} at once, then one every {}", self.max_tokens, go_duration(nanos / unit * unit))
    }
}

/// Whether two buckets mean the same: `60s` is `1m0s`. Unparsable values are compared as they are.
pub fn same_meaning(a: &Value, b: &Value) -> bool {
    a == b || matches!((Bucket::read(a), Bucket::read(b)), (Ok(a), Ok(b)) if a == b)
}

/// Whether a field means the same in two buckets. Unparsable values are compared as they are.
#[cfg(feature = "alias")]
pub(crate) fn same_field(field: &str, a: &Value, b: &Value) -> bool {
    let period = |bucket: &Value| bucket.as_object().and_then(|map| read_refill_period(map).ok());
    a.get(field) == b.get(field) || (field == REFILL_PERIOD && period(a).is_some_and(|a| period(b) == Some(a)))
}

/// The JSON type of a value, with its article, for messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn read_max_tokens(map: &Map<String, Value>) -> Result<NonZeroU32, String> {
    match map.get(MAX_TOKENS) {
        None | Some(Value::Null) => Err("is missing".to_owned()),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(tokens) => u32::try_from(tokens)
                .ok()
                .filter(|tokens| *tokens <= i32::MAX.unsigned_abs())
                .and_then(NonZeroU32::new)
                .ok_or_else(|| format!("is {tokens}")),
            None => Err(format!("is {number}")),
        },
        Some(Value::String(text)) => Err(format!("is the string {}", quoted(text))),
        Some(other) => Err(format!("is {}", type_name(other))),
    }
}

fn read_refill_period(map: &Map<String, Value>) -> Result<Period, String> {
    match map.get(REFILL_PERIOD) {
        None | Some(Value::Null) => Err("is missing".to_owned()),
        Some(Value::String(text)) => text.parse().map_err(|bad: BadPeriod| format!("{} {bad}", quoted(text))),
        Some(Value::Number(number)) => Err(format!("is the number {number}, without a unit")),
        Some(other) => Err(format!("is {}", type_name(other))),
    }
}

/// A user's text in quotes, cut to bound the length of a message.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bucket(max_tokens: u32, refill_period: &str) -> Bucket {
        Bucket::read(&json!({"maxTokens": max_tokens, "refillPeriod": refill_period})).expect("a good bucket")
    }

    #[test]
    fn both_faults_are_reported() {
        let faults = Bucket::read(&json!({"maxTokens": "5"})).expect_err("a string is not a number");
        assert_eq!(faults, [BucketFault::MaxTokens(r#"is the string "5""#.to_owned()), BucketFault::RefillPeriod("is missing".to_owned())]);
    }

    #[test]
    fn max_tokens_is_a_positive_int32() {
        for (tokens, ok) in
            [(json!(1), true), (json!(i32::MAX), true), (json!(0), false), (json!(-1), false), (json!(2_147_483_648_u64), false)]
        {
            assert_eq!(Bucket::read(&json!({"maxTokens": tokens, "refillPeriod": "1s"})).is_ok(), ok, "{tokens}");
        }
        for tokens in [json!(1.5), json!(1e30)] {
            let faults = Bucket::read(&json!({"maxTokens": tokens, "refillPeriod": "1s"})).expect_err("not an int32");
            assert!(matches!(&faults[..], [BucketFault::MaxTokens(_)]), "{tokens}: {faults:?}");
        }
    }

    #[test]
    fn meaning_is_compared_not_text() {
        assert!(same_meaning(&json!({"maxTokens": 1, "refillPeriod": "60s"}), &json!({"refillPeriod": "1m0s", "maxTokens": 1})));
        assert!(!same_meaning(&json!({"maxTokens": 1, "refillPeriod": "60s"}), &json!({"maxTokens": 2, "refillPeriod": "60s"})));
        assert!(same_meaning(&json!({"maxTokens": 1}), &json!({"maxTokens": 1})));
    }

    #[test]
    fn a_bucket_binds_when_it_is_smaller_or_slower() {
        let wide = bucket(100, "1m");
        assert!(bucket(100, "60s").never_binds_below(&wide));
        assert!(bucket(200, "2m").never_binds_below(&wide));
        assert!(!bucket(99, "1s").never_binds_below(&wide));
        assert!(!bucket(200, "121s").never_binds_below(&wide));
    }

    #[test]
    fn pace_is_said_in_words() {
        assert_eq!(bucket(5, "1m").pace(), "5 at once, then one every 12s");
        assert_eq!(bucket(3, "24h").pace(), "3 at once, then one every 8h0m0s");
        assert_eq!(bucket(7, "1s").pace(), "7 at once, then one every 142.857ms");
    }
}
