//! Admission reviews: bytes in, review out, whatever the bytes are.
//!
//! Pure and total: no IO, no clock, no panic. [`review`] responds with HTTP 200 and a verdict to every AdmissionReview, however broken the
//! object in it; only other bytes get a 400, since the API server could not use a verdict anyway.
//!
//! `/mutate` renames `shared` and never rejects; `/validate` applies the rule table and never changes anything. Both respond identically to
//! a dry run.

mod decoded;
mod recovered_uid;
mod request;
mod response;

use std::collections::BTreeSet;

use self::{
    request::{Incoming, Unreadable},
    response::Verdict,
};
use crate::{
    alias::{self, AliasPlan, Case, Fate, Outcome, Request},
    model::{
        GROUP,
        alias::{AliasPolicy, Mode},
        schema::Schema,
        subject::{Kind, ScopeKey, Subject},
    },
    rules::{Context, Effect, References, Violation, check, ratchet::check_update},
};

/// Which webhook was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `POST /mutate`
    Mutate,
    /// `POST /validate`
    Validate,
}

impl Hook {
    /// The path, without the slash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

/// The facts that a review depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The policy for `shared`, and what is known of the operator that reads it.
    pub policy: AliasPolicy,
    /// The fields that the installed CRDs have.
    pub schema: &'a Schema,
    /// Where to look up referenced objects, with cluster access.
    pub references: Option<&'a dyn References>,
}

/// The response to a review, and what to log and count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// 200, or 400 if the body is not an AdmissionReview.
    pub status: u16,
    /// JSON for 200, plain text for 400.
    pub body: Vec<u8>,
    /// For logs and metrics: never object contents.
    pub record: Record,
}

/// What happened, in terms that are safe to log and bounded enough to count by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`, or empty for anything else.
    pub operation: &'static str,
    /// The name of the kind, or empty for other kinds.
    pub kind: &'static str,
    /// The outcome.
    pub verdict: Ending,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name; empty if the API server has not generated one yet.
    pub name: String,
    /// Whether this is a dry run.
    pub dry_run: bool,
    /// Ids and levels of the rules that fired, each once.
    pub rules: BTreeSet<(&'static str, bool)>,
    /// Rows of the alias table, one for each location.
    pub alias: Vec<Case>,
}

/// The outcome of a review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Allowed unchanged.
    #[default]
    Allowed,
    /// Allowed, with a patch.
    Patched,
    /// Rejected.
    Denied,
    /// Undecodable.
    Malformed,
}

impl Ending {
    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
        }
    }
}

/// Answers one review.
///
/// ```
/// use tollgate::{admission::{Facts, Hook, review}, model::{alias::AliasPolicy, schema::Schema}};
///
/// let schema = Schema::assuming(true);
/// let facts = Facts { policy: AliasPolicy::default(), schema: &schema, references: None };
/// let body = br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
///     "uid": "42", "operation": "CREATE",
///     "kind": {"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"},
///     "object": {"spec": {"rateLimiting": {"perUser": {"maxTokens": 5, "refillPeriod": "1m"}}}}
/// }}"#;
/// let answer = review(Hook::Validate, body, &facts);
/// assert_eq!(answer.status, 200);
/// let denied: serde_json::Value = serde_json::from_slice(&answer.body)?;
/// assert_eq!(denied["response"]["uid"], "42");
/// assert_eq!(denied["response"]["status"]["details"]["causes"][0]["reason"], "TG002");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn review(hook: Hook, body: &[u8], facts: &Facts<'_>) -> Answer {
    match request::decode(body) {
        Ok(incoming) => judge(hook, &incoming, facts),
        Err(Unreadable::NoReview(why)) => Answer {
            status: 400,
            body: format!("not an admission review: {why}\n").into_bytes(),
            record: Record { verdict: Ending::Malformed, ..Record::default() },
        },
        Err(Unreadable::Request { uid, why }) => {
            let record = Record { verdict: Ending::Malformed, ..Record::default() };
            malformed(hook, &uid, &why, record)
        }
    }
}

fn judge(hook: Hook, incoming: &Incoming, facts: &Facts<'_>) -> Answer {
    let mut record = incoming.record();
    let Some(kind) = relevant_kind(incoming) else {
        return respond(hook, incoming, Verdict::default(), record);
    };
    record.kind = kind.name();
    if incoming.is_only_leaving {
        return respond(hook, incoming, Verdict::default(), record);
    }
    let object = &incoming.object;
    if !object.is_object() {
        let why = format!("request.object is {}, not an object", crate::model::bucket::type_name(object));
        record.verdict = Ending::Malformed;
        return malformed(hook, &incoming.uid, &why, record);
    }
    let old = incoming.old_object.as_object().map(|_| &incoming.old_object);
    let versions = incoming.versions();
    let request = Request { kind, versions: &versions, object, old, manager: incoming.manager(), force: incoming.force() };
    let decide = if hook == Hook::Mutate { alias::plan } else { alias::judge };
    let plan = decide(&request, facts.policy, facts.schema);
    record.alias = plan.outcomes.iter().map(|outcome| outcome.case).collect();
    match hook {
        Hook::Mutate => {
            if !plan.edits.is_empty() {
                record.verdict = Ending::Patched;
            }
            respond(hook, incoming, mutation(plan), record)
        }
        Hook::Validate => {
            let violations = violations(&request, &plan, facts);
            record.rules = violations.iter().map(|found| (found.rule, found.level == Effect::Deny)).collect();
            let verdict = validation(incoming, violations);
            if verdict.denial.is_some() {
                record.verdict = Ending::Denied;
            }
            respond(hook, incoming, verdict, record)
        }
    }
}

/// The kind, if the request is one that is checked at all: a write of a whole object of a known kind.
fn relevant_kind(incoming: &Incoming) -> Option<Kind> {
    let writes = matches!(incoming.operation.as_str(), "CREATE" | "UPDATE");
    let whole = incoming.sub_resource.is_empty();
    let kind = Kind::from_name(&incoming.kind.kind).filter(|_| incoming.kind.group == GROUP);
    kind.filter(|_| writes && whole)
}

fn violations(request: &Request<'_>, plan: &AliasPlan, facts: &Facts<'_>) -> Vec<Violation> {
    let context = Context::new(Subject::new(request.kind, request.object))
        .kept(plan.kept())
        .references(facts.references)
        .operator(facts.policy.operator)
        .shared_is_denied(facts.policy.mode == Mode::Deny);
    match request.old {
        Some(old) => check_update(&context, old),
        None => check(&context),
    }
}

fn mutation(plan: AliasPlan) -> Verdict {
    Verdict {
        warnings: plan.outcomes.iter().filter_map(mutation_warning).collect(),
        alias: plan.outcomes.iter().map(|outcome| outcome.case.id()).collect(),
        patch: plan.edits,
        ..Verdict::default()
    }
}

/// The warning about a location that was changed. The validating webhook reports a remaining `shared`.
fn mutation_warning(outcome: &Outcome) -> Option<String> {
    let path = &outcome.path;
    match outcome.fate {
        Fate::Renamed(because) => Some(format!("TG101 {path}.shared: deprecated, renamed to global{because}; write global")),
        Fate::Mirrored(because) => Some(format!("TG101 {path}.shared: deprecated, kept equal to global{because}; write global")),
        Fate::Restored(because) => {
            Some(format!("TG101 {path}.shared: put back beside global{because}; remove both names to remove the limit"))
        }
        Fate::Removed(name) => {
            let (kept, dropped) = if name == ScopeKey::Shared { ("shared", "global") } else { ("global", "shared") };
            Some(format!("TG101 {path}.{kept}: removed, as {dropped} was dropped from the manifest"))
        }
        Fate::Completed | Fate::Kept(_) => None,
    }
}

fn validation(incoming: &Incoming, violations: Vec<Violation>) -> Verdict {
    let (denials, warnings): (Vec<_>, Vec<_>) = violations.iter().partition(|found| found.level == Effect::Deny);
    Verdict {
        denial: (!denials.is_empty()).then(|| response::Status::invalid(incoming, &denials)),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        rules: violations.iter().map(|found| found.rule).collect(),
        ..Verdict::default()
    }
}

fn respond(hook: Hook, incoming: &Incoming, verdict: Verdict, record: Record) -> Answer {
    Answer { status: 200, body: response::encode(hook, &incoming.uid, verdict), record }
}

/// A review that cannot be checked: rejected by the webhook that enforces, allowed by the one that only corrects.
fn malformed(hook: Hook, uid: &str, why: &str, record: Record) -> Answer {
    let verdict = match hook {
        Hook::Validate => Verdict { denial: Some(response::Status::bad_request(why)), ..Verdict::default() },
        Hook::Mutate => Verdict { warnings: vec![format!("tollgate did not process this object: {why}")], ..Verdict::default() },
    };
    Answer { status: 200, body: response::encode(hook, uid, verdict), record }
}
