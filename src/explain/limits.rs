//! The limits of one object, in plain language.

use serde::Serialize;
use serde_json::Value;

use super::{simulate::Simulated, text::thousands};
use crate::{
    limiter::{Scope, ServerId},
    model::{
        DEFAULT_NAMESPACE,
        bucket::Bucket,
        limits::Limits,
        path::FieldPath,
        period::go_duration,
        subject::{RATE_LIMITING, Subject},
    },
    rules::{Context, Violation, check},
};

/// The explanation of an object.
#[derive(Debug, Serialize)]
pub struct Explained {
    kind: &'static str,
    namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The effect of the limits.
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    /// What the rules say, warnings included.
    found: Vec<Found>,
    /// Calls, as the limiter decides them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated: Option<Simulated>,
}

/// The effect of the limits.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Outcome {
    /// A rule denies them, so they have no effect.
    Denied {},
    /// The object has no limits.
    Unlimited {},
    /// They apply.
    Limited {
        /// Their path.
        place: String,
        /// The server's own, then those of the tools.
        levels: Vec<LevelExplained>,
        /// The keys that they need.
        redis: Keys,
        /// The limits themselves.
        #[serde(skip)]
        limits: Limits,
    },
}

/// The limits of the whole server, or of one tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LevelExplained {
    /// `None` for calls of any tool.
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<BucketExplained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global: Option<BucketExplained>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BucketExplained {
    max_tokens: u32,
    refill_period: String,
    /// Time between two calls of a caller who has used up the bucket.
    interval_seconds: f64,
    /// A full bucket, and its refill during the period.
    most_in_any_refill_period: u64,
    words: String,
}

/// The keys that the limits need in Redis, at most.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Keys {
    for_everyone: u64,
    for_each_user: u64,
    /// How long a user's key is retained after a call: the longest of them.
    kept: String,
    users: u32,
    total: u64,
}

/// What a rule found in the object.
#[derive(Debug, Serialize)]
struct Found {
    rule: &'static str,
    level: &'static str,
    path: String,
    message: String,
}

impl Explained {
    /// The explanation of an object, with the keys that so many users need in Redis.
    pub fn new(subject: Subject<'_>, users: u32) -> Self {
        let text = |key: &'static str| FieldPath::new(["metadata", key]).find(subject.object).and_then(Value::as_str).map(str::to_owned);
        let outcome = match Limits::of(subject) {
            Err(_) => Outcome::Denied {},
            Ok(None) => Outcome::Unlimited {},
            Ok(Some(limits)) => Outcome::Limited {
                place: subject.blocks().first().map_or_else(|| RATE_LIMITING.to_owned(), |block| block.path.to_string()),
                levels: levels(&limits),
                redis: Keys::of(&limits, users),
                limits,
            },
        };
        Self {
            kind: subject.kind.name(),
            namespace: text("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: text("name").unwrap_or_else(|| "(no name)".to_owned()),
            outcome,
            found: check(&Context::new(subject)).into_iter().map(Found::from).collect(),
            simulated: None,
        }
    }

    /// The limits, if they apply.
    pub fn limits(&self) -> Option<&Limits> {
        if let Outcome::Limited { limits, .. } = &self.outcome { Some(limits) } else { None }
    }

    /// The server that they limit.
    pub fn server(&self) -> ServerId {
        ServerId::new(&self.namespace, &self.name)
    }

    /// `namespace/name`
    pub fn qualified_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The kind and the name.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.qualified_name())
    }

    /// As text, for people.
    pub fn human(&self) -> String {
        let title = self.title();
        let mut out = match &self.outcome {
            Outcome::Denied {} => format!("{title}: a rule denies the limits\n"),
            Outcome::Unlimited {} => format!("{title}: no limits\n"),
            Outcome::Limited { place, levels, redis, .. } => format!("{title}, {place}\n{}{}", table(levels), redis.human()),
        };
        out.extend(self.found.iter().map(|found| format!("  {} {}: {}\n", found.rule, found.path, found.message)));
        if let Some(found) = self.found.first() {
            out.push_str(&format!("  (see tollgate explain {})\n", found.rule));
        }
        out.extend(self.simulated.as_ref().map(Simulated::human));
        out
    }
}

impl From<Violation> for Found {
    fn from(violation: Violation) -> Self {
        let Violation { rule, level, path, problem, .. } = violation;
        Self { rule, level: level.name(), path: path.to_string(), message: problem.to_string() }
    }
}

fn levels(limits: &Limits) -> Vec<LevelExplained> {
    let server = LevelExplained::new(None, limits.per_user, limits.global);
    let tools = limits.tools.iter().map(|(name, tool)| LevelExplained::new(Some(name.clone()), tool.per_user, tool.global));
    std::iter::once(server).chain(tools).filter(|level| level.global.is_some() || level.per_user.is_some()).collect()
}

impl LevelExplained {
    fn new(tool: Option<String>, per_user: Option<Bucket>, global: Option<Bucket>) -> Self {
        let explained = |scope| move |bucket: Bucket| BucketExplained::new(&bucket, scope);
        Self { tool, per_user: per_user.map(explained(Scope::PerUser)), global: global.map(explained(Scope::Global)) }
    }
}

impl BucketExplained {
    fn new(bucket: &Bucket, scope: Scope) -> Self {
        let (tokens, period) = (bucket.max_tokens.get(), go_duration(bucket.refill_period.as_nanos()));
        let most = 2 * u64::from(tokens);
        let callers = match scope {
            Scope::PerUser => "per user",
            Scope::Global => "for everyone",
        };
        Self {
            max_tokens: tokens,
            interval_seconds: bucket.refill_period.as_duration().as_secs_f64() / f64::from(tokens),
            most_in_any_refill_period: most,
            words: format!("{} {callers}; at most {} in any {period}", bucket.pace(), thousands(most)),
            refill_period: period,
        }
    }
}

/// A line for each bucket, its tool in front.
fn table(levels: &[LevelExplained]) -> String {
    const ANY: &str = "any tool";
    let width =
        levels.iter().filter_map(|level| level.tool.as_deref()).chain([ANY]).map(|name| name.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for level in levels {
        let mut name = level.tool.as_deref().unwrap_or(ANY);
        for bucket in level.per_user.iter().chain(&level.global) {
            out.push_str(&format!("  {name:width$}  {}\n", bucket.words));
            name = "";
        }
    }
    out
}

impl Keys {
    fn of(limits: &Limits, users: u32) -> Self {
        let tools = || limits.tools.values();
        let count = |buckets: &mut dyn Iterator<Item = Bucket>| buckets.count() as u64;
        let for_everyone = count(&mut limits.global.into_iter().chain(tools().filter_map(|tool| tool.global)));
        let per_user = || limits.per_user.into_iter().chain(tools().filter_map(|tool| tool.per_user));
        let for_each_user = count(&mut per_user());
        let longest = per_user().map(|bucket| bucket.refill_period.as_nanos()).max().unwrap_or_default();
        Self {
            for_everyone,
            for_each_user,
            kept: go_duration(longest.saturating_mul(2)),
            users,
            total: for_everyone + u64::from(users) * for_each_user,
        }
    }

    fn human(&self) -> String {
        match self.for_each_user {
            0 => format!("  Redis keys: {}, however many users\n", self.for_everyone),
            each => {
                let for_everyone = if self.for_everyone > 0 { format!("{} for everyone, ", self.for_everyone) } else { String::new() };
                let (total, users) = (thousands(self.total), thousands(u64::from(self.users)));
                format!("  Redis keys: ~{total} for {users} users ({for_everyone}{each} for each user seen in the last {})\n", self.kept)
            }
        }
    }
}
