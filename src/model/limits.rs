//! A whole block of limits, parsed: what the limiter enforces. The deprecated `shared` is read as `global`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    bucket::Bucket,
    subject::{Block, LevelOf, ScopeKey, Subject},
};

/// The limits of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Counts all calls of the server.
    pub global: Option<Bucket>,
    /// Counts the calls of each caller.
    pub per_user: Option<Bucket>,
    /// Further limits by tool name, on top of the server's own.
    pub tools: BTreeMap<String, ToolLimits>,
}

/// The limits of one tool; at least one of the two is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolLimits {
    /// Counts all calls of the tool.
    pub global: Option<Bucket>,
    /// Counts the calls of the tool by each caller.
    pub per_user: Option<Bucket>,
}

impl Limits {
    /// Starts without limits.
    ///
    /// ```
    /// use tollgate::model::{bucket::Bucket, limits::{Limits, ToolLimits}};
    ///
    /// let limits = Limits::new()
    ///     .global(Bucket::per_minute(600))
    ///     .per_user(Bucket::per_minute(60))
    ///     .tool("search", ToolLimits::new().per_user(Bucket::per_hour(20)));
    /// assert!(limits.has_per_user());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets further limits for a tool, replacing any that it had.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>, limits: ToolLimits) -> Self {
        self.tools.insert(name.into(), limits);
        self
    }

    /// The server's own limits, without those of its tools.
    #[cfg(feature = "limiter")]
    pub(crate) fn own(&self) -> ToolLimits {
        ToolLimits { global: self.global, per_user: self.per_user }
    }

    /// Whether any limit counts callers separately.
    pub fn has_per_user(&self) -> bool {
        self.per_user.is_some() || self.tools.values().any(|tool| tool.per_user.is_some())
    }

    /// The parsable limits of an object; invalid buckets are omitted, which the rules report. `None` without limits.
    pub(crate) fn read(subject: Subject<'_>) -> Option<Self> {
        subject.blocks().first().map(Self::read_block)
    }

    fn read_block(block: &Block<'_>) -> Self {
        let server = LevelOf { place: block.place, path: block.path.clone(), tool: None, value: block.value };
        let ToolLimits { global, per_user } = read_level(&server);
        let tools = block.tools().filter_map(|level| Some((level.tool?.to_owned(), read_level(&level)))).collect();
        Self { global, per_user, tools }
    }
}

impl ToolLimits {
    /// Starts without limits.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What the limits of a server and of a tool have in common.
macro_rules! bucket_builders {
    ($limits:ty, $whose:literal) => {
        impl $limits {
            #[doc = concat!("Adds a bucket for all calls of the ", $whose, ".")]
            #[must_use]
            pub fn global(mut self, bucket: Bucket) -> Self {
                self.global = Some(bucket);
                self
            }

            #[doc = concat!("Adds a bucket for the calls of the ", $whose, " by each caller.")]
            #[must_use]
            pub fn per_user(mut self, bucket: Bucket) -> Self {
                self.per_user = Some(bucket);
                self
            }
        }
    };
}

bucket_builders!(Limits, "server");
bucket_builders!(ToolLimits, "tool");

fn read_level(level: &LevelOf<'_>) -> ToolLimits {
    let read = |value: Option<&Value>| value.and_then(|value| Bucket::read(value).ok());
    ToolLimits { global: read(level.global()), per_user: read(level.bucket(ScopeKey::PerUser)) }
}
