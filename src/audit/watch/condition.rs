//! The status condition `RateLimitConfigValid`, by ToolHive's names: what it should say of an object, and whether it says so already.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::Value;

use crate::{
    model::subject::Subject,
    report::{Finding, Severity},
};

/// The condition's type.
pub const TYPE: &str = "RateLimitConfigValid";
const VALID: &str = "RateLimitConfigValid";
const NOT_APPLICABLE: &str = "RateLimitNotApplicable";

/// The API server takes no longer message.
const LONGEST_MESSAGE: usize = 32_768;

/// What is true of an object's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Whether the findings contain no error; warnings do not count.
    pub is_valid: bool,
    /// One word, for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Validity {
    /// From everything found in an object. The reason is that of the first fault, the message lists all of them.
    pub fn of(subject: Subject<'_>, findings: &[Finding]) -> Self {
        let faults: Vec<_> = findings.iter().filter(|found| found.severity > Severity::Warning).collect();
        let valid = |reason, message: &str| Self { is_valid: true, reason, message: message.to_owned() };
        match faults.first() {
            Some(first) => {
                let listed: Vec<_> = faults.iter().map(|found| format!("{} {}", found.id, found.message_with_field())).collect();
                Self { is_valid: false, reason: reason(first.id), message: cut(listed.join("; ")) }
            }
            None if subject.blocks().is_empty() => valid(NOT_APPLICABLE, "no limits are set"),
            None => valid(VALID, "the limits break no rule"),
        }
    }

    /// The condition to write; `None` where the object has it already, for its present generation.
    pub fn due(&self, object: &Value, now: Timestamp) -> Option<Condition> {
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let held = held(object);
        let says = |key: &str| held.and_then(|held| held.get(key)).and_then(Value::as_str).unwrap_or_default();
        let status = if self.is_valid { "True" } else { "False" };
        let observed = held.and_then(|held| held.get("observedGeneration")).and_then(Value::as_i64);
        if says("status") == status && says("reason") == self.reason && says("message") == self.message && observed == generation {
            return None;
        }
        // Only a change of the status is a transition.
        let since = says("lastTransitionTime").parse().ok().filter(|_| says("status") == status);
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Some(Condition {
            type_: TYPE.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            observed_generation: generation,
            last_transition_time: Time(since.unwrap_or(now)),
        })
    }
}

/// The condition as it stands.
fn held(object: &Value) -> Option<&Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(TYPE))
}

fn cut(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let end = (0..=LONGEST_MESSAGE - "...".len()).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
        message.truncate(end);
        message += "...";
    }
    message
}

/// The word for a fault, in the form that conditions want; `PerUserRequiresAuth` is ToolHive's.
fn reason(id: &str) -> &'static str {
    match id {
        "TG001" => "RedisRequired",
        "TG002" | "outgoing-auth" => "PerUserRequiresAuth",
        "TG003" => "LimitsEmpty",
        "TG004" => "ToolLimitsEmpty",
        "TG005" => "ToolNameInvalid",
        "TG006" => "MaxTokensInvalid",
        "TG007" => "RefillPeriodInvalid",
        "TG008" => "SharedAndGlobalDisagree",
        "TG009" => "SessionStorageInvalid",
        "TG010" => "LimitsAtTwoPlaces",
        "TG011" => "UnknownField",
        "TG012" => "LimitsMisplaced",
        "limits-lost" => "LimitsLost",
        "not-enforced" => "LimitsNotEnforced",
        _ => OTHER,
    }
}

const OTHER: &str = "RateLimitConfigInvalid";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::{path::FieldPath, subject::Kind},
        report::rows,
    };

    fn verdict(object: &Value, findings: &[Finding]) -> Validity {
        Validity::of(Subject::new(Kind::McpServer, object), findings)
    }

    fn finding(id: &'static str, field: &'static str, message: &str) -> Finding {
        Finding::new(id, message.to_owned()).on(FieldPath::new(["spec", field]))
    }

    fn limited() -> Value {
        json!({"metadata": {"generation": 3}, "spec": {"rateLimiting": {"global": {}}}})
    }

    #[test]
    fn every_fault_has_its_word() {
        for row in rows().filter(|row| row.severity == Severity::Error && !row.id.starts_with("crd-")) {
            assert_ne!(reason(row.id), OTHER, "{}", row.id);
        }
    }

    #[test]
    fn faults_are_told_and_warnings_are_none() {
        let faults = [finding("TG101", "a", "deprecated"), finding("TG002", "b", "no one signs in"), finding("TG006", "c", "is 0")];
        let found = verdict(&limited(), &faults);
        assert_eq!((found.is_valid, found.reason), (false, "PerUserRequiresAuth"));
        assert_eq!(found.message, "TG002 spec.b: no one signs in; TG006 spec.c: is 0");
        assert_eq!(verdict(&limited(), &faults[..1]).reason, VALID);
        assert_eq!(verdict(&json!({"spec": {}}), &[]).reason, NOT_APPLICABLE);
        assert!(verdict(&json!({"spec": {}}), &[]).is_valid);
    }

    #[test]
    fn what_stands_already_is_not_due() {
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let mut object = limited();
        let found = verdict(&object, &[]);
        let due = found.due(&object, now).expect("a condition is due");
        assert_eq!((due.observed_generation, due.last_transition_time.0.to_string().as_str()), (Some(3), "2026-01-02T03:04:05Z"));
        object["status"] = json!({"conditions": [{"type": "Ready"}, due]});
        assert_eq!(found.due(&object, now), None);
        // A new generation is observed, and no transition.
        object["metadata"]["generation"] = json!(4);
        let later: Timestamp = "2027-01-02T03:04:05Z".parse().expect("a time");
        let due = found.due(&object, later).expect("it observed another generation");
        assert_eq!((due.observed_generation, due.last_transition_time.0.to_string().as_str()), (Some(4), "2026-01-02T03:04:05Z"));
        let fault = verdict(&object, &[finding("TG003", "a", "limits nothing")]);
        let due = fault.due(&object, later).expect("it says True");
        assert_eq!((due.status.as_str(), due.last_transition_time.0), ("False", later));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let found = verdict(&limited(), &[finding("TG005", "a", &"ä".repeat(40_000))]);
        assert!(found.message.len() <= LONGEST_MESSAGE && found.message.ends_with("ä..."), "{}", found.message.len());
    }
}
