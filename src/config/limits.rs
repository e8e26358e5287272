//! A whole block of limits, parsed: what the limiter enforces. The deprecated `shared` is read as `global`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    bucket::Bucket,
    rules::{Context, Level, Violation, check},
    subject::{Block, LevelOf, Scope, Subject},
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

/// The limits of one tool; one of the two is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolLimits {
    /// Counts all calls of the tool.
    pub global: Option<Bucket>,
    /// Counts the calls of the tool by each caller.
    pub per_user: Option<Bucket>,
}

impl Limits {
    /// The limits of an object; `None` when it has none.
    ///
    /// # Errors
    /// Every rule that denies the object, as the webhook would say it.
    pub fn of(subject: Subject<'_>) -> Result<Option<Self>, Vec<Violation>> {
        let denials: Vec<_> = check(&Context::new(subject)).into_iter().filter(|found| found.level == Level::Deny).collect();
        if denials.is_empty() { Ok(subject.blocks().first().map(Self::read)) } else { Err(denials) }
    }

    /// Whether any limit counts callers apart.
    pub fn has_per_user(&self) -> bool {
        self.per_user.is_some() || self.tools.values().any(|tool| tool.per_user.is_some())
    }

    /// What can be read of a block; buckets that cannot are left out, which the rules report.
    fn read(block: &Block<'_>) -> Self {
        let server = LevelOf { place: block.place, path: block.path.clone(), tool: None, value: block.value };
        let ToolLimits { global, per_user } = read_level(&server);
        let tools = block.tools().filter_map(|level| Some((level.tool?.to_owned(), read_level(&level)))).collect();
        Self { global, per_user, tools }
    }
}

fn read_level(level: &LevelOf<'_>) -> ToolLimits {
    let read = |value: Option<&Value>| value.and_then(|value| Bucket::read(value).ok());
    ToolLimits { global: read(level.global()), per_user: read(level.bucket(Scope::PerUser)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::subject::Kind;

    #[test]
    fn shared_is_read_as_global() {
        let object = json!({"spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"},
            "rateLimiting": {"shared": {"maxTokens": 9, "refillPeriod": "1m"}, "tools": [{"name": "t", "shared": {"maxTokens": 3, "refillPeriod": "1s"}}]},
        }});
        let limits = Limits::of(Subject::new(Kind::McpServer, &object)).expect("nothing denies it").expect("there are limits");
        assert_eq!(limits.global.map(|bucket| bucket.max_tokens.get()), Some(9));
        assert_eq!(limits.tools["t"].global.map(|bucket| bucket.max_tokens.get()), Some(3));
    }

    #[test]
    fn a_bad_block_is_refused_with_its_rules() {
        let object = json!({"spec": {"rateLimiting": {"global": {"maxTokens": 0, "refillPeriod": "1m"}}}});
        let denials = Limits::of(Subject::new(Kind::McpServer, &object)).expect_err("two rules deny it");
        assert_eq!(denials.iter().map(|found| found.rule).collect::<Vec<_>>(), ["TG006", "TG001"]);
    }
}
