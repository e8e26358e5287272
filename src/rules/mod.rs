//! The rules, one row each in [`RULES`]: an id, a sentence, a lesson with an example, a finder that returns every place.
//!
//! [`check`] runs them all and reports every violation, sorted by path. Whoever judges limits judges by this table and by nothing else. Ids
//! and levels are stable; docs/rules.md has the same table.

mod buckets;
mod lessons;
mod limits;
mod misplaced;
mod names;
pub mod ratchet;
mod storage;
mod warnings;

use std::{collections::BTreeMap, fmt};

pub use self::lessons::{Example, Lesson};
use crate::model::{
    alias::Kept,
    operator::Operator,
    path::FieldPath,
    subject::{RefKind, Subject},
};

/// What a violation does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The object is refused.
    Deny,
    /// The user is told.
    Warn,
}

impl Effect {
    /// As in the table of docs/rules.md.
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
    /// What a violation does.
    pub level: Effect,
    /// When the rule is violated, for a person.
    pub says: &'static str,
    /// Why there is this rule, and an example.
    pub lesson: &'static Lesson,
    finds: Finder,
}

/// Every rule, by id.
pub static RULES: [Rule; 19] = [
    deny("TG001", "limits without sessionStorage.provider: redis", &lessons::TG001, storage::limits_without_redis),
    deny("TG002", "perUser without sign-in, so there are no users to count", &lessons::TG002, names::per_user_without_sign_in),
    deny("TG003", "limits with no bucket and no tool", &lessons::TG003, names::empty_block),
    deny("TG004", "a tool entry without any bucket", &lessons::TG004, names::empty_tool),
    deny("TG005", "a tool name that is empty or appears twice", &lessons::TG005, names::tool_names),
    deny("TG006", "maxTokens missing, not an integer, below 1 or above 2147483647", &lessons::TG006, buckets::max_tokens),
    deny("TG007", "refillPeriod missing, not a Go duration, or not above zero", &lessons::TG007, buckets::refill_period),
    deny("TG008", "shared and global both set, with different meanings", &lessons::TG008, buckets::shared_and_global_disagree),
    deny("TG009", "redis storage with an unusable address, db, passwordRef or tls", &lessons::TG009, storage::unusable_storage),
    deny("TG010", "limits at both places of a VirtualMCPServer", &lessons::TG010, names::two_places),
    deny("TG011", "an unknown field inside the limits", &lessons::TG011, names::unknown_fields),
    deny("TG012", "limits that nobody reads: misspelt, misplaced, or of another API group", &lessons::TG012, misplaced::misplaced_limits),
    warn("TG101", "shared is deprecated: use global", &lessons::TG101, warnings::shared_is_deprecated),
    warn("TG102", "a limit that can never be the one that denies", &lessons::TG102, warnings::never_binds),
    warn("TG103", "a tool name outside MCP's [A-Za-z0-9_.-]{1,128}", &lessons::TG103, warnings::odd_tool_name),
    warn("TG104", "a bucket that gives back less than one token an hour", &lessons::TG104, warnings::slow_bucket),
    warn("TG105", "users' buckets that Redis keeps for two days or longer", &lessons::TG105, warnings::keys_in_redis),
    warn("TG106", "a reference to an object that is not there (only with cluster access)", &lessons::TG106, warnings::missing_reference),
    warn("TG107", "limits that this cluster's ToolHive does not read (only with cluster access)", &lessons::TG107, warnings::unread_limits),
];

impl Rule {
    /// The rule with this id, in upper or lower case.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }
}

type Finder = fn(&Context<'_>) -> Vec<Found>;

const fn deny(id: &'static str, says: &'static str, lesson: &'static Lesson, finds: Finder) -> Rule {
    Rule { id, level: Effect::Deny, says, lesson, finds }
}

const fn warn(id: &'static str, says: &'static str, lesson: &'static Lesson, finds: Finder) -> Rule {
    Rule { id, level: Effect::Warn, says, lesson, finds }
}

/// What the rules look at: an object, and what is known around it.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    subject: Subject<'a>,
    kept: BTreeMap<FieldPath, Kept>,
    references: Option<&'a dyn References>,
    operator: Operator,
    shared_is_denied: bool,
}

/// The port through which TG106 asks for objects. An answer must be at hand: rules run inside a review.
pub trait References: fmt::Debug {
    /// Whether the object exists; `None` when that cannot be told.
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool>;
}

impl<'a> Context<'a> {
    /// An object by itself, as in a file.
    pub fn new(subject: Subject<'a>) -> Self {
        Self { subject, kept: BTreeMap::new(), references: None, operator: Operator::default(), shared_is_denied: false }
    }

    /// With the reasons why a `shared` is still there, by the path of its level.
    #[must_use]
    pub fn kept(mut self, kept: BTreeMap<FieldPath, Kept>) -> Self {
        self.kept = kept;
        self
    }

    /// With a cluster to look references up in.
    #[must_use]
    pub fn references(mut self, references: Option<&'a dyn References>) -> Self {
        self.references = references;
        self
    }

    /// With what is known of ToolHive's operator; an object that carries its finalizer says so itself.
    #[must_use]
    pub fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// Whether the object's limits are read by an operator that does not know `global`.
    fn is_read_by_published_operator(&self) -> bool {
        self.operator.seen_on(self.subject.object) == Operator::AtWork
    }

    /// With TG101 denying instead of warning.
    #[must_use]
    pub fn shared_is_denied(mut self, denied: bool) -> Self {
        self.shared_is_denied = denied;
        self
    }
}

/// What a finder returns: one place, and what to write there.
#[derive(Clone, Debug)]
struct Found {
    path: FieldPath,
    /// The subtree that has to be unchanged for the violation to count as an old one.
    ground: FieldPath,
    message: String,
}

impl Found {
    fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self { ground: path.clone(), path, message: message.into() }
    }

    fn on(mut self, ground: FieldPath) -> Self {
        self.ground = ground;
        self
    }
}

/// One broken rule at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The id of the rule.
    pub rule: &'static str,
    /// What it does; a ratcheted denial is a warning.
    pub level: Effect,
    /// Where.
    pub path: FieldPath,
    /// What is wrong, and what to write instead.
    pub message: String,
    ground: FieldPath,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.rule, self.path, self.message)
    }
}

/// Every violation, sorted by path, then by rule.
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
        all.extend(found.map(|Found { path, ground, message }| Violation { rule: rule.id, level, path, message, ground }));
    }
    all.sort_by(|a, b| (&a.path, a.rule).cmp(&(&b.path, b.rule)));
    all
}
