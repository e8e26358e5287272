//! `serde` support for limits and buckets (feature `serde`), in the format of a manifest's `rateLimiting`; the deprecated `shared` is read
//! as `global`.
//!
//! ```
//! use tollgate::model::{bucket::Bucket, limits::Limits};
//!
//! let limits: Limits = serde_json::from_str(r#"{"perUser": {"maxTokens": 60, "refillPeriod": "1m"}}"#)?;
//! assert_eq!(limits, Limits::new().per_user(Bucket::per_minute(60)));
//! assert_eq!(serde_json::to_string(&limits)?, r#"{"perUser":{"maxTokens":60,"refillPeriod":"1m0s"}}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    bucket::Bucket,
    limits::{Limits, ToolLimits},
    period::Period,
};

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|fault| D::Error::custom(format_args!("the duration {fault}")))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BucketFields {
    max_tokens: NonZeroU32,
    refill_period: Period,
}

impl Serialize for Bucket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BucketFields { max_tokens: self.max_tokens, refill_period: self.refill_period }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bucket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let BucketFields { max_tokens, refill_period } = BucketFields::deserialize(deserializer)?;
        if max_tokens.get() > i32::MAX.unsigned_abs() {
            return Err(D::Error::custom("maxTokens is above 2147483647"));
        }
        Ok(Self { max_tokens, refill_period })
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LimitsFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    global: Option<Bucket>,
    #[serde(skip_serializing)]
    shared: Option<Bucket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<Bucket>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolFields {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    global: Option<Bucket>,
    #[serde(skip_serializing, default)]
    shared: Option<Bucket>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    per_user: Option<Bucket>,
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tools = self.tools.iter().map(|(name, level)| ToolFields {
            name: name.clone(),
            global: level.global,
            shared: None,
            per_user: level.per_user,
        });
        LimitsFields { global: self.global, shared: None, per_user: self.per_user, tools: tools.collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = LimitsFields::deserialize(deserializer)?;
        let mut limits = Self { global: one_of(fields.global, fields.shared)?, per_user: fields.per_user, ..Self::default() };
        for tool in fields.tools {
            let level = ToolLimits { global: one_of(tool.global, tool.shared)?, per_user: tool.per_user };
            if level == ToolLimits::default() {
                return Err(D::Error::custom(format_args!("the tool {:?} has no limit: set global or perUser", tool.name)));
            }
            if limits.tools.insert(tool.name.clone(), level).is_some() {
                return Err(D::Error::custom(format_args!("the tool {:?} appears twice", tool.name)));
            }
        }
        Ok(limits)
    }
}

/// The limit under either name.
fn one_of<E: Error>(global: Option<Bucket>, shared: Option<Bucket>) -> Result<Option<Bucket>, E> {
    match (global, shared) {
        (Some(global), Some(shared)) if global != shared => Err(E::custom("shared and global disagree: remove shared")),
        (global, shared) => Ok(global.or(shared)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let limits = Limits::new()
            .global(Bucket::per_second(5))
            .tool("search", ToolLimits::new().per_user(Bucket::per_hour(20)))
            .tool("fetch", ToolLimits::new().global(Bucket::per_minute(1)));
        let text = serde_json::to_string(&limits).expect("JSON");
        assert_eq!(serde_json::from_str::<Limits>(&text).expect("as written"), limits, "{text}");
        let none = serde_json::to_string(&Limits::new()).expect("JSON");
        assert_eq!(none, "{}");
    }

    #[test]
    fn shared_is_read_as_global() {
        let bucket = json!({"maxTokens": 3, "refillPeriod": "1m"});
        let limits: Limits = serde_json::from_value(json!({"shared": bucket, "tools": [{"name": "a", "shared": bucket}]})).expect("limits");
        assert_eq!((limits.global, limits.tools["a"].global), (Some(Bucket::per_minute(3)), Some(Bucket::per_minute(3))));
    }

    #[test]
    fn what_no_limiter_can_enforce_is_refused() {
        let good = json!({"maxTokens": 1, "refillPeriod": "1s"});
        for (limits, why) in [
            (json!({"global": {"maxTokens": 0, "refillPeriod": "1s"}}), "nonzero"),
            (json!({"global": {"maxTokens": 2_147_483_648_u32, "refillPeriod": "1s"}}), "maxTokens is above 2147483647"),
            (json!({"global": {"maxTokens": 1, "refillPeriod": "1d"}}), "has the unknown unit \"d\""),
            (json!({"global": {"maxTokens": 1, "refillPeriod": "0s"}}), "must be longer than zero"),
            (json!({"global": good, "shared": {"maxTokens": 2, "refillPeriod": "1s"}}), "shared and global disagree"),
            (json!({"peruser": good}), "unknown field `peruser`"),
            (json!({"tools": [{"name": "a"}]}), "the tool \"a\" has no limit"),
            (json!({"tools": [{"name": "a", "global": good}, {"name": "a", "perUser": good}]}), "the tool \"a\" appears twice"),
        ] {
            let fault = serde_json::from_value::<Limits>(limits.clone()).expect_err("refused").to_string();
            assert!(fault.contains(why), "{limits}: {fault}");
        }
    }
}
