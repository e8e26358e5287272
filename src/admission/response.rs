//! The response of an AdmissionReview: a verdict, a patch, warnings, audit annotations.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::PatchOperation;
use serde::Serialize;

use super::{Hook, request::Incoming};
use crate::{model::GROUP, rules::Violation};

/// The verdict on a request.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Why the object is rejected; allowed if empty.
    pub(super) denial: Option<Status>,
    pub(super) patch: Vec<PatchOperation>,
    pub(super) warnings: Vec<String>,
    /// Ids of the rules that fired.
    pub(super) rules: BTreeSet<&'static str>,
    /// Rows of the alias table.
    pub(super) alias: BTreeSet<&'static str>,
}

/// `meta/v1` Status.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    status: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Debug, Serialize)]
struct Details {
    name: String,
    group: &'static str,
    kind: String,
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

/// How many violations are in the one line that kubectl shows; all of them are causes.
const MOST_IN_MESSAGE: usize = 8;

impl Status {
    /// 422, with every violation as a cause.
    pub(super) fn invalid(incoming: &Incoming, denials: &[&Violation]) -> Self {
        let listed: Vec<_> = denials.iter().take(MOST_IN_MESSAGE).map(ToString::to_string).collect();
        let more = match denials.len().saturating_sub(MOST_IN_MESSAGE) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let causes = denials.iter().map(|denial| Cause {
            reason: denial.rule,
            field: denial.path.to_string(),
            // kubectl prints a cause's field and message, not its reason.
            message: format!("{}: {}", denial.rule, denial.problem),
        });
        let details =
            Details { name: incoming.name().to_owned(), group: GROUP, kind: incoming.kind.kind.clone(), causes: causes.collect() };
        Self { status: "Failure", message: format!("{}{more}", listed.join("; ")), reason: "Invalid", code: 422, details: Some(details) }
    }

    /// 400, for a review that cannot be checked.
    pub(super) fn bad_request(why: &str) -> Self {
        Self { status: "Failure", message: why.to_owned(), reason: "BadRequest", code: 400, details: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
}

/// The whole AdmissionReview, as JSON.
pub(super) fn encode(hook: Hook, uid: &str, verdict: Verdict) -> Vec<u8> {
    let patch = (!verdict.patch.is_empty()).then(|| STANDARD.encode(to_json(&verdict.patch)));
    let mut audit_annotations = BTreeMap::new();
    for (key, values) in [("rules", verdict.rules), ("alias", verdict.alias)] {
        if !values.is_empty() {
            audit_annotations.insert(key, values.into_iter().collect::<Vec<_>>().join(","));
        }
    }
    to_json(&Review {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response {
            uid,
            allowed: verdict.denial.is_none(),
            patch_type: patch.is_some().then_some("JSONPatch"),
            patch,
            status: verdict.denial,
            warnings: shown(&verdict.warnings, most_bytes(hook)),
            audit_annotations,
        },
    })
}

/// The API server keeps 256 characters of each warning, and 4,096 of all the warnings of a request: longer ones are cut here, where the
/// important parts are known.
const LONGEST_WARNING: usize = 256;

/// The two webhooks of one request share that total.
fn most_bytes(hook: Hook) -> usize {
    match hook {
        Hook::Mutate => 1024,
        Hook::Validate => 4096 - 1024,
    }
}

/// The warnings that fit, and how many do not.
fn shown(warnings: &[String], most_bytes: usize) -> Vec<String> {
    const ROOM_FOR_THE_LAST: usize = 32;
    let mut room = most_bytes;
    let mut shown = Vec::new();
    for (at, warning) in warnings.iter().enumerate() {
        let warning = header_safe(warning);
        let is_last = at + 1 == warnings.len();
        let needed = warning.len() + if is_last { 0 } else { ROOM_FOR_THE_LAST };
        if needed > room {
            shown.push(format!("and {} more warnings", warnings.len() - at));
            break;
        }
        room -= warning.len();
        shown.push(warning);
    }
    shown
}

/// A warning becomes an HTTP header: a single, short line. Its advice is at the end, so a long one is cut in the middle.
fn header_safe(warning: &str) -> String {
    const GAP: &str = " ... ";
    let safe: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if safe.len() <= LONGEST_WARNING {
        return safe;
    }
    let half = (LONGEST_WARNING - GAP.len()) / 2;
    let head = (0..=half).rev().find_map(|end| safe.get(..end)).unwrap_or_default();
    let tail = (safe.len() - half..=safe.len()).find_map(|start| safe.get(start..)).unwrap_or_default();
    format!("{head}{GAP}{tail}")
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Fails only for maps with keys that are not strings and for IO; neither occurs here.
    serde_json::to_vec(value).unwrap_or_default()
}
