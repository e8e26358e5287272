//! The rules, one row each in [`RULES`]: an id, a summary, an explanation with an example, and a finder that returns every violation.
//!
//! [`check`] runs them all and reports every violation, sorted by path. Every check of limits uses this table and nothing else. Ids and
//! levels are stable; docs/rules.md has the same table.

mod buckets;
mod explanations;
mod limits;
mod misplaced;
mod names;
pub mod ratchet;
mod storage;
mod warnings;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

pub use self::explanations::{Example, Explanation};
use crate::model::{
    alias::Kept,
    bucket::type_name,
    operator::Operator,
    path::FieldPath,
    problem::Problem,
    subject::{Block, BucketAt, LevelOf, RefKind, Subject},
};

/// What a violation does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The object is rejected.
    Deny,
    /// The user gets a warning.
    Warn,
}

impl Effect {
    /// The name used in the table of docs/rules.md.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable id, such as `TG002`.
    pub id: &'static str,
    /// The effect of a violation.
    pub level: Effect,
    /// When the rule is violated, in words.
    pub says: &'static str,
    /// Why the rule exists, and an example.
    pub explanation: &'static Explanation,
    finds: Finder,
}

/// All rules, by id.
pub static RULES: [Rule; 19] = [
    deny("TG001", "limits without sessionStorage.provider: redis", &explanations::TG001, storage::limits_without_redis),
    deny("TG002", "perUser without sign-in, so there are no users to count", &explanations::TG002, names::per_user_without_sign_in),
    deny("TG003", "limits with no bucket and no tool", &explanations::TG003, names::empty_block),
    deny("TG004", "a tool entry without any bucket", &explanations::TG004, names::empty_tool),
    deny("TG005", "a tool name that is empty or appears twice", &explanations::TG005, names::tool_names),
    deny("TG006", "maxTokens missing, not an integer, below 1 or above 2147483647", &explanations::TG006, buckets::max_tokens),
    deny("TG007", "refillPeriod missing, not a Go duration, or not above zero", &explanations::TG007, buckets::refill_period),
    deny("TG008", "shared and global both set, with different meanings", &explanations::TG008, buckets::shared_and_global_disagree),
    deny("TG009", "redis storage with an unusable address, db, passwordRef or tls", &explanations::TG009, storage::unusable_storage),
    deny("TG010", "limits at both places of a VirtualMCPServer", &explanations::TG010, names::two_places),
    deny("TG011", "an unknown field inside the limits", &explanations::TG011, names::unknown_fields),
    deny(
        "TG012",
        "limits that are never read: misspelt, misplaced, or of another API group",
        &explanations::TG012,
        misplaced::misplaced_limits,
    ),
    warn("TG101", "shared is deprecated: use global", &explanations::TG101, warnings::shared_is_deprecated),
    warn("TG102", "a limit that can never be the one that denies", &explanations::TG102, warnings::never_binds),
    warn("TG103", "a tool name outside MCP's [A-Za-z0-9_.-]{1,128}", &explanations::TG103, warnings::odd_tool_name),
    warn("TG104", "a bucket that gives back less than one token an hour", &explanations::TG104, warnings::slow_bucket),
    warn("TG105", "users' buckets that Redis keeps for two days or longer", &explanations::TG105, warnings::keys_in_redis),
    warn(
        "TG106",
        "a reference to an object that is not there (only with cluster access)",
        &explanations::TG106,
        warnings::missing_reference,
    ),
    warn(
        "TG107",
        "limits that this cluster's ToolHive does not read (only with cluster access)",
        &explanations::TG107,
        warnings::unread_limits,
    ),
];

impl Rule {
    /// The rule with this id, case-insensitive.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }
}

type Finder = fn(&Context<'_>) -> Vec<Found>;

const fn deny(id: &'static str, says: &'static str, explanation: &'static Explanation, finds: Finder) -> Rule {
    Rule { id, level: Effect::Deny, says, explanation, finds }
}

const fn warn(id: &'static str, says: &'static str, explanation: &'static Explanation, finds: Finder) -> Rule {
    Rule { id, level: Effect::Warn, says, explanation, finds }
}

/// What the rules check: an object, and facts about its environment.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    subject: Subject<'a>,
    limits: Walked<'a>,
    kept: BTreeMap<FieldPath, Kept>,
    references: Option<&'a dyn References>,
    operator: Operator,
    shared_is_denied: bool,
}

/// The limits of the object, walked once for every rule.
#[derive(Clone, Debug)]
struct Walked<'a> {
    blocks: Vec<Block<'a>>,
    levels: Vec<LevelOf<'a>>,
    buckets: Vec<BucketAt<'a>>,
}

impl<'a> Walked<'a> {
    fn new(subject: Subject<'a>) -> Self {
        let blocks = subject.blocks();
        let levels: Vec<_> = blocks.iter().flat_map(Block::levels).collect();
        let buckets = levels.iter().flat_map(LevelOf::buckets).collect();
        Self { blocks, levels, buckets }
    }
}

/// The port through which TG106 looks up objects. Answers must be available immediately: rules run inside a review.
pub trait References: fmt::Debug {
    /// Whether the object exists; `None` if that is unknown.
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool>;
}

impl<'a> Context<'a> {
    /// An object without a cluster, as in a file.
    pub fn new(subject: Subject<'a>) -> Self {
        Self {
            subject,
            limits: Walked::new(subject),
            kept: BTreeMap::new(),
            references: None,
            operator: Operator::default(),
            shared_is_denied: false,
        }
    }

    /// The same facts about another state of the object.
    fn with_object(&self, object: &'a Value) -> Self {
        let subject = Subject::new(self.subject.kind, object);
        Self { subject, limits: Walked::new(subject), ..self.clone() }
    }

    /// Adds the reasons why a `shared` is still there, by the path of its level.
    #[must_use]
    pub fn kept(mut self, kept: BTreeMap<FieldPath, Kept>) -> Self {
        self.kept = kept;
        self
    }

    /// Adds a cluster to look up references in.
    #[must_use]
    pub fn references(mut self, references: Option<&'a dyn References>) -> Self {
        self.references = references;
        self
    }

    /// Adds what is known of ToolHive's operator; an object with its finalizer proves that it is running.
    #[must_use]
    pub fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// Whether the object's limits are read by an operator that does not know `global`.
    fn is_read_by_published_operator(&self) -> bool {
        self.operator.seen_on(self.subject.object) == Operator::AtWork
    }

    /// Makes TG101 deny instead of warn.
    #[must_use]
    pub fn shared_is_denied(mut self, denied: bool) -> Self {
        self.shared_is_denied = denied;
        self
    }
}

/// What a finder returns: a place, and what to write there.
#[derive(Clone, Debug)]
struct Found {
    path: FieldPath,
    /// The subtree that must be unchanged for the violation to count as an old one.
    ground: FieldPath,
    problem: Problem,
}

impl Found {
    fn new(path: FieldPath, problem: impl Into<Problem>) -> Self {
        Self { ground: path.clone(), path, problem: problem.into() }
    }

    fn on(mut self, ground: FieldPath) -> Self {
        self.ground = ground;
        self
    }
}

/// A value of the wrong type.
fn is_a(value: &Value) -> Problem {
    Problem::new(format!("is {}", type_name(value)))
}

/// A violation of one rule at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The id of the rule.
    pub rule: &'static str,
    /// Its effect; a ratcheted denial is a warning.
    pub level: Effect,
    /// The place.
    pub path: FieldPath,
    /// What is wrong, and what to write instead.
    pub problem: Problem,
    ground: FieldPath,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.rule, self.path, self.problem)
    }
}

/// All violations, sorted by path, then by rule.
///
/// ```
/// use serde_json::json;
/// use tollgate::{rules::{Context, check}, model::subject::{Kind, Subject}};
///
/// let object = json!({"spec": {
///     "sessionStorage": {"provider": "redis", "address": "redis:6379"},
///     "rateLimiting": {"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}},
/// }});
/// let found = check(&Context::new(Subject::new(Kind::McpServer, &object)));
/// assert_eq!(found[0].rule, "TG002");
/// assert_eq!(found[0].path.to_string(), "spec.rateLimiting.perUser");
/// ```
pub fn check(context: &Context<'_>) -> Vec<Violation> {
    let mut all = Vec::new();
    for rule in &RULES {
        let level = if context.shared_is_denied && rule.id == "TG101" { Effect::Deny } else { rule.level };
        let found = (rule.finds)(context).into_iter();
        all.extend(found.map(|Found { path, ground, problem }| Violation { rule: rule.id, level, path, problem, ground }));
    }
    all.sort_by(|a, b| (&a.path, a.rule).cmp(&(&b.path, b.rule)));
    all
}
