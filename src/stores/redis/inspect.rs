//! Inspecting the buckets in Redis: reading a key, listing a server's keys, and resetting a bucket.
//!
//! A cluster keeps a server's buckets on one node, and only that node is searched. Keys of a slot that is being migrated may be missed.

use std::{collections::BTreeSet, time::Duration};

use redis::{Cmd, Value, from_redis_value};

use super::{Redis, hash_tag};
use crate::{
    inspect::{
        Bounds, DigestKey, Inspect, InspectError,
        port::{Listing, Sample, Stored},
    },
    limiter::{Cause, Micros, ServerId, key::PREFIX, shape::State},
};

/// The script that reads.
const SCRIPT: &str = include_str!("inspect.lua");
/// Maximum number of keys that one script reads: some 200 us.
const KEYS_AT_ONCE: usize = 64;
/// Number of keys that Redis inspects in one step of a search: some 300 us.
const PAGE: usize = 1000;

impl Inspect for Redis {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        let mut samples = Vec::with_capacity(keys.len());
        let of_one_server = keys.chunk_by(|one, other| hash_tag(one) == hash_tag(other));
        for keys in of_one_server.flat_map(|keys| keys.chunks(KEYS_AT_ONCE)) {
            let answer = self.runner.query(redis::cmd("EVAL").arg(SCRIPT).arg(keys.len()).arg(keys)).await?;
            samples.extend(read(answer, keys.len()).ok_or_else(malformed)?);
        }
        Ok(samples)
    }

    async fn list(&self, server: &ServerId, bounds: Bounds) -> Result<Listing, InspectError> {
        let key = server.global_key();
        // If the key's slot has moved, a cluster redirects this command, but not a search.
        self.runner.query(redis::cmd("PTTL").arg(&key)).await?;
        let (pattern, mut cursor) = (glob(&server.key_prefix()), "0".to_owned());
        let mut keys = BTreeSet::new();
        for _ in 0..bounds.most_pages {
            let answer = self.runner.query_where(&key, &scan(&cursor, &pattern)).await?;
            let (next, page): (String, Vec<Vec<u8>>) = from_redis_value(answer).map_err(|_| malformed())?;
            // Tollgate's keys are UTF-8.
            keys.extend(page.into_iter().filter_map(|key| String::from_utf8(key).ok()));
            let (over, too_many) = (next == "0", keys.len() > bounds.most_keys);
            if over || too_many {
                return Ok(Listing { keys: keys.into_iter().take(bounds.most_keys).collect(), complete: !too_many });
            }
            cursor = next;
        }
        Ok(Listing { keys: keys.into_iter().collect(), complete: false })
    }

    /// Certain denials cached in this process are dropped too.
    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        if !key.starts_with(PREFIX) {
            return Err(InspectError::new(Cause::Other, format!("bucket keys begin with {PREFIX}; other keys cannot be reset")));
        }
        let answer = self.runner.query(redis::cmd("DEL").arg(key)).await;
        if let Some(certain) = &self.certain {
            certain.forget(key);
        }
        Ok(answer? != Value::Int(0))
    }
}

impl Redis {
    /// The key for [digests](crate::inspect::digest) of a server's users, shared by all processes that use this Redis: the existing one, or
    /// else this one from now on.
    ///
    /// # Errors
    /// When Redis does not respond, or the key holds something else.
    pub async fn digest_key(&self, server: &ServerId, or_this: &DigestKey) -> Result<DigestKey, InspectError> {
        let key = server.digest_key();
        if let Some(known) = self.known_digest_key(&key).await? {
            return Ok(known);
        }
        self.runner.query(redis::cmd("SET").arg(&key).arg(or_this.bytes()).arg("NX")).await?;
        // Another process may have been first.
        self.known_digest_key(&key).await?.ok_or_else(malformed)
    }

    async fn known_digest_key(&self, key: &str) -> Result<Option<DigestKey>, InspectError> {
        match self.runner.query(redis::cmd("GET").arg(key)).await? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => match <[u8; DigestKey::BYTES]>::try_from(bytes) {
                Ok(bytes) => Ok(Some(DigestKey::new(bytes))),
                Err(_) => Err(InspectError::new(Cause::Other, format!("{key} does not hold a digest key"))),
            },
            _ => Err(malformed()),
        }
    }
}

fn scan(cursor: &str, pattern: &str) -> Cmd {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE);
    scan
}

/// Escapes a prefix for `MATCH`.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 8);
    for char in prefix.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('*');
    pattern
}

/// Parses the script's response for `keys` keys; `None` if it is malformed.
fn read(answer: Value, keys: usize) -> Option<Vec<Sample>> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let Some(Value::Int(at)) = parts.next() else { return None };
    let at = Micros(u64::try_from(at).ok()?);
    let samples: Vec<Sample> = parts.map(|found| Some(Sample { at, kept: kept(found)? })).collect::<Option<_>>()?;
    (samples.len() == keys).then_some(samples)
}

fn kept(found: Value) -> Option<Stored> {
    let Value::Array(found) = found else { return None };
    match found.as_slice() {
        [] => Some(Stored::Nothing),
        [Value::BulkString(word)] if word == b"unusable" => Some(Stored::Unusable),
        [tokens, since, Value::Int(ttl)] => {
            let state = State::new(number(tokens)?, Micros(number(since)? as u64));
            Some(Stored::Bucket { state, ttl: u64::try_from(*ttl).ok().map(Duration::from_millis) })
        }
        _ => None,
    }
}

fn number(text: &Value) -> Option<f64> {
    let Value::BulkString(text) = text else { return None };
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn malformed() -> InspectError {
    InspectError::new(Cause::Other, "malformed response")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn every_kind_of_key_is_read() {
        let bucket = Value::Array(vec![text("0.5"), text("1787000000000000"), Value::Int(90_000)]);
        let endless = Value::Array(vec![text("inf"), text("1e300"), Value::Int(-1)]);
        let answer = vec![Value::Int(7), bucket, Value::Array(vec![]), Value::Array(vec![text("unusable")]), endless];
        let state = State::new(0.5, Micros(1_787_000_000_000_000));
        let kept = [
            Stored::Bucket { state, ttl: Some(Duration::from_secs(90)) },
            Stored::Nothing,
            Stored::Unusable,
            Stored::Bucket { state: State::new(f64::INFINITY, Micros(u64::MAX)), ttl: None },
        ];
        assert_eq!(read(Value::Array(answer), 4), Some(kept.map(|kept| Sample { at: Micros(7), kept }).to_vec()));
    }

    #[test]
    fn a_malformed_response_is_none() {
        let odd = || Value::Array(vec![text("0.5"), text("later"), Value::Int(1)]);
        for (answer, keys) in [
            (Value::Nil, 0),
            (Value::Array(vec![]), 0),
            (Value::Array(vec![Value::Int(7)]), 1),
            (Value::Array(vec![Value::Int(7), Value::Nil]), 1),
            (Value::Array(vec![Value::Int(7), odd()]), 1),
            (Value::Array(vec![Value::Int(7), Value::Array(vec![text("else")])]), 1),
        ] {
            assert_eq!(read(answer.clone(), keys), None, "{answer:?}");
        }
    }

    #[test]
    fn a_name_is_not_a_pattern() {
        assert_eq!(glob("thv:rl:{a*[b]?:c\\}:"), "thv:rl:{a\\*\\[b\\]\\?:c\\\\}:*");
    }
}
