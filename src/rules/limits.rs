//! Limits for the limiter to enforce: parsed from an object that no rule denies.

use super::{Context, Effect, Violation, check};
use crate::model::{limits::Limits, subject::Subject};

impl Limits {
    /// The limits of an object; `None` if it has none.
    ///
    /// # Errors
    /// All denying violations of the object, as the webhook reports them.
    pub fn of(subject: Subject<'_>) -> Result<Option<Self>, Vec<Violation>> {
        let denials: Vec<_> = check(&Context::new(subject)).into_iter().filter(|found| found.level == Effect::Deny).collect();
        if denials.is_empty() { Ok(Self::read(subject)) } else { Err(denials) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::subject::Kind;

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
