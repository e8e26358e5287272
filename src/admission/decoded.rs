//! The decoded part of an object; the rest is skipped.
//!
//! Most of an object is unrelated to limits, and building a tree of all of it is most of the cost of a review: `managedFields` names every
//! field, and a pod template may have megabytes. [`OBJECT`] lists the parts that the rules and the rename read. Other parts are skipped:
//! only their end must be found, and they are not examined further.
//!
//! What is decoded takes up to a hundred times the memory of its text: `[0,0,` is two bytes for a value of 32, `{"":0},` seven for a map of
//! more than 600. So the values of an object are counted, and too many are an error.

use std::{cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::model::{
    alias::OPT_OUT_ANNOTATION,
    subject::{RATE_LIMITING, TOOLS},
};

/// How much of a value is decoded.
#[derive(Debug)]
enum Part {
    /// All of it.
    Whole,
    /// These members of a map.
    Members(&'static [(&'static str, Part)]),
    /// The same; of other members the name, with null as the value.
    Names(&'static [(&'static str, Part)]),
    /// All of a map, but only this part of these members.
    All(&'static [(&'static str, Part)]),
    /// This part of each entry of a list; more entries than this are rejected.
    Each(usize, &'static Part),
}

/// No stored object has more, since etcd takes 1.5 MiB and an entry of `managedFields` has 140 bytes at least. A tool with a limit has 57, but
/// no server has so many.
const MOST_ENTRIES: usize = 16_384;

/// Room for the values of an object, in units of 32 bytes, the size of a value: so 32 MiB. As many tools with limits as there may be take 26.
const ROOM: usize = 1 << 20;
/// The node of a map: room for eleven members, of which about six are used.
const NODE: usize = 20;
const MEMBERS: usize = 6;

/// An object of either kind. Everything that a rule reads must be listed here; a test runs every rule through it.
static OBJECT: Part = Part::Members(&[("metadata", METADATA), ("spec", SPEC)]);

const METADATA: Part = Part::Members(&[
    ("name", Part::Whole),
    ("generateName", Part::Whole),
    ("namespace", Part::Whole),
    ("deletionTimestamp", Part::Whole),
    ("finalizers", Part::Whole),
    ("annotations", Part::Members(&[(OPT_OUT_ANNOTATION, Part::Whole), ("kubectl.kubernetes.io/last-applied-configuration", Part::Whole)])),
    ("managedFields", Part::Each(MOST_ENTRIES, &MANAGED_FIELDS)),
]);

static MANAGED_FIELDS: Part = Part::Members(&[
    ("manager", Part::Whole),
    ("operation", Part::Whole),
    ("apiVersion", Part::Whole),
    ("subresource", Part::Whole),
    // To restore an entry, all of it is needed.
    ("fieldsType", Part::Whole),
    ("time", Part::Whole),
    ("fieldsV1", Part::Names(&[("f:spec", OWNED_SPEC)])),
]);

/// Names stay: they show whether the rename empties an entry, or a map in it.
const OWNED_SPEC: Part = Part::Names(&[ITSELF, OWNED_LIMITS, ("f:config", Part::Names(&[ITSELF, OWNED_LIMITS]))]);
/// The marker of a map's own ownership is copied when an entry is restored.
const ITSELF: (&str, Part) = (".", Part::Whole);
const OWNED_LIMITS: (&str, Part) = ("f:rateLimiting", Part::Whole);

const LIMITS: (&str, Part) = (RATE_LIMITING, Part::All(&[(TOOLS, Part::Each(MOST_ENTRIES, &Part::Whole))]));

const SPEC: Part = Part::Members(&[
    LIMITS,
    ("config", Part::Members(&[LIMITS])),
    ("sessionStorage", Part::Whole),
    ("oidcConfig", Part::Whole),
    ("oidcConfigRef", Part::Whole),
    ("externalAuthConfigRef", Part::Whole),
    ("incomingAuth", Part::Whole),
]);

/// An object without the parts that are not used.
#[derive(Debug, Default)]
pub(super) struct Decoded(Value);

impl From<Decoded> for Value {
    fn from(Decoded(value): Decoded) -> Self {
        value
    }
}

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        within_room(&OBJECT, deserializer).map(Self)
    }
}

/// Decodes a value that rules do not read as an object: all of it.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    within_room(&Part::Whole, deserializer)
}

fn within_room<'de, D: Deserializer<'de>>(part: &'static Part, deserializer: D) -> Result<Value, D::Error> {
    Of { part, room: &Cell::new(ROOM) }.deserialize(deserializer)
}

/// Decodes a part. A value of another type than the part expects is decoded as a whole: the rules check its type.
#[derive(Clone, Copy)]
struct Of<'r> {
    part: &'static Part,
    /// What is left of it.
    room: &'r Cell<usize>,
}

impl Of<'_> {
    fn of(self, part: &'static Part) -> Self {
        Self { part, ..self }
    }

    fn take<E: Error>(self, units: usize) -> Result<(), E> {
        let left = self.room.get().checked_sub(units);
        self.room.set(left.ok_or_else(|| E::custom("the object has too many values to be reviewed"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Of<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take::<D::Error>(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Of<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (members, others) = match self.part {
            Part::Members(members) => (*members, Others::Skipped),
            Part::Names(members) => (*members, Others::Named),
            Part::All(members) => (*members, Others::Decoded),
            Part::Whole | Part::Each(..) => (&[][..], Others::Decoded),
        };
        let mut decoded = Map::new();
        while let Some(name) = map.next_key_seed(NameIn { members, others })? {
            if !matches!(name, Name::Skipped) {
                self.take::<A::Error>(if decoded.len().is_multiple_of(MEMBERS) { NODE + 1 } else { 1 })?;
            }
            match name {
                Name::Listed(name, part) => {
                    decoded.insert(name.to_owned(), map.next_value_seed(self.of(part))?);
                }
                Name::Kept(name) if others == Others::Decoded => {
                    decoded.insert(name, map.next_value_seed(self.of(&Part::Whole))?);
                }
                Name::Kept(name) => {
                    map.next_value::<IgnoredAny>()?;
                    decoded.insert(name, Value::Null);
                }
                Name::Skipped => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(decoded))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let (most, part) = if let Part::Each(most, part) = self.part { (*most, *part) } else { (usize::MAX, &Part::Whole) };
        let mut decoded = Vec::new();
        while let Some(entry) = entries.next_element_seed(self.of(part))? {
            if decoded.len() == most {
                return Err(A::Error::custom(format_args!("a list has more than {most} entries, which are not reviewed")));
            }
            decoded.push(entry);
        }
        Ok(Value::Array(decoded))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Looks up a member's name among those that are listed.
struct NameIn {
    members: &'static [(&'static str, Part)],
    others: Others,
}

/// How members that are not listed are handled.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    Skipped,
    Named,
    Decoded,
}

enum Name {
    Listed(&'static str, &'static Part),
    Kept(String),
    Skipped,
}

impl<'de> DeserializeSeed<'de> for NameIn {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIn {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let listed = self.members.iter().find(|(listed, _)| *listed == name);
        Ok(match listed {
            Some((listed, part)) => Name::Listed(listed, part),
            None if self.others == Others::Skipped => Name::Skipped,
            None => Name::Kept(name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{prelude::*, sample::Index};
    use serde_json::json;

    use super::*;
    use crate::{
        admission::{Facts, Hook, judge, request::decode_as, review},
        model::{
            GROUP,
            alias::{AliasPolicy, Mode},
            operator::Operator,
            schema::Schema,
            subject::RefKind,
        },
        rules::{RULES, References},
    };

    #[derive(Debug)]
    struct EmptyCluster;

    impl References for EmptyCluster {
        fn exists(&self, _: RefKind, _: &str, _: &str) -> Option<bool> {
            Some(false)
        }
    }

    fn with_facts<T>(f: impl FnOnce(&Facts<'_>) -> T) -> T {
        f(&Facts {
            policy: AliasPolicy { mode: Mode::Rename, operator: Operator::AtWork },
            schema: &Schema::assuming(true),
            references: Some(&EmptyCluster),
        })
    }

    fn body(kind: &str, object: &Value, old: &Value, force: bool) -> Vec<u8> {
        let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "42", "operation": operation, "kind": {"group": GROUP, "version": "v1beta1", "kind": kind},
            "object": object, "oldObject": old, "options": {"fieldManager": "jane", "force": force},
        }});
        review.to_string().into_bytes()
    }

    /// An object with a value in each part that is read, and in some that are not. `keys` are of `shared` and `global`.
    fn full(kind: &str, keys: &[&str], max_tokens: u32) -> Value {
        let under = |prefix: &str, make: &dyn Fn(&str) -> Value| -> Map<String, Value> {
            keys.iter().map(|key| (format!("{prefix}{key}"), make(key))).collect()
        };
        let buckets = under("", &|key| json!({"maxTokens": max_tokens + u32::from(key == "global"), "refillPeriod": "1m0s"}));
        let owned_buckets = under("f:", &|_| json!({"f:maxTokens": {}, "f:refillPeriod": {}}));
        let with = |map: &Map<String, Value>, mut others: Value| {
            others.as_object_mut().expect("a map").extend(map.clone());
            others
        };
        let tool = with(&buckets, json!({"name": "a tool"}));
        let limits = with(&buckets, json!({"perUser": {"maxTokens": 9000, "refillPeriod": "1000h"}, "tools": [tool]}));
        let owned_tool = with(&owned_buckets, json!({".": {}, "f:name": {}}));
        let owned = with(&owned_buckets, json!({"f:tools": {"k:{\"name\":\"a tool\"}": owned_tool}}));
        let mut spec = json!({
            "image": "fetch", "rateLimiting": limits, "config": {"groupRef": "group", "rateLimiting": limits},
            "sessionStorage": {"provider": "redis", "address": "redis", "db": -1, "passwordRef": {"name": "password"}},
            "podTemplateSpec": {"spec": {"containers": [{"name": "mcp"}]}},
        });
        let sign_in = match kind {
            "MCPServer" if max_tokens == 1 => json!({"oidcConfig": {}}),
            "MCPServer" if max_tokens == 2 => json!({"oidcConfigRef": {"name": "sso"}}),
            "MCPServer" => json!({"externalAuthConfigRef": {"name": "auth"}}),
            _ => json!({"incomingAuth": {"type": "oidc", "oidcConfigRef": {"name": "sso"}}}),
        };
        spec.as_object_mut().expect("a map").extend(sign_in.as_object().expect("a map").clone());
        let manifest = json!({"spec": {"rateLimiting": limits, "config": {"rateLimiting": limits}}}).to_string();
        let alias = if max_tokens == 3 { "keep" } else { "" };
        let entry = |manager: &str, operation: &str, spec: Value| {
            json!({"manager": manager, "operation": operation, "apiVersion": format!("{GROUP}/v1beta1"), "subresource": "", "time": "2025-11-20T09:12:44Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {}}, "f:spec": spec}})
        };
        json!({
            "metadata": {
                "name": "fetch", "namespace": "team-a", "labels": {"app": "fetch"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": manifest, OPT_OUT_ANNOTATION: alias, "other": "text"},
                "managedFields": [
                    entry("jane", "Apply", json!({"f:rateLimiting": owned})),
                    entry("kubectl", "Update", json!({".": {}, "f:image": {}, "f:transport": {}, "f:config": {".": {}, "f:groupRef": {}, "f:rateLimiting": owned}})),
                    entry("former", "Update", json!({".": {}, "f:rateLimiting": {".": {}, "f:global": {"f:maxTokens": {}}}})),
                ],
            },
            "spec": spec, "status": {"phase": "Running"},
        })
    }

    #[test]
    fn every_rule_sees_what_it_reads() {
        let bucket = json!({"maxTokens": 5, "refillPeriod": "1m0s"});
        let mut fired = BTreeSet::new();
        let mut judge = |kind: &str, spec: Value| {
            let object = json!({"metadata": {"namespace": "team-a"}, "spec": spec});
            let answer = with_facts(|facts| review(Hook::Validate, &body(kind, &object, &Value::Null, false), facts));
            fired.extend(answer.record.rules.iter().map(|(rule, _)| *rule));
        };
        judge("MCPServer", json!({"rateLimiting": {"perUser": {}, "tools": [{}, {"name": "a b", "global": bucket}]}}));
        judge("MCPServer", json!({"rateLimiting": {"shared": bucket, "global": {"maxTokens": 6, "refillPeriod": "2000h"}}}));
        judge("MCPServer", json!({"rateLimiting": {}, "sessionStorage": {"provider": "redis"}}));
        judge("MCPServer", json!({"rateLimiting": {"global": bucket, "perUser": bucket, "typo": 1}}));
        judge("VirtualMCPServer", full("VirtualMCPServer", &["global"], 1)["spec"].clone());
        // Other misplaced limits are only seen in files: an API server removes fields that the CRD does not have before it asks a webhook.
        judge("MCPServer", json!({"config": {"rateLimiting": {"global": bucket}}}));
        let all: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(fired, all, "a rule without an object here may read what is not decoded");
    }

    #[test]
    fn the_rest_is_skipped() {
        let Decoded(decoded) = serde_json::from_value(full("MCPServer", &["global"], 5)).expect("JSON");
        assert!(
            ["/status", "/spec/image", "/spec/podTemplateSpec", "/metadata/labels", "/metadata/annotations/other"]
                .iter()
                .all(|path| decoded.pointer(path).is_none())
        );
        let owned = decoded.pointer("/metadata/managedFields/1/fieldsV1").expect("managed fields are there");
        assert_eq!(owned["f:metadata"], Value::Null);
        assert_eq!(owned["f:spec"].as_object().expect("a map").keys().collect::<Vec<_>>(), [".", "f:config", "f:image", "f:transport"]);
    }

    #[test]
    fn of_an_object_on_its_way_out_the_whole_spec_counts() {
        let leaving = |image: &str| json!({"metadata": {"deletionTimestamp": "2025-11-20T09:12:44Z"}, "spec": {"image": image, "rateLimiting": {"global": {"maxTokens": 5}}}});
        let is_judged = |old: &str, new: &str| {
            let answer = with_facts(|facts| review(Hook::Validate, &body("MCPServer", &leaving(new), &leaving(old), false), facts));
            answer.record.rules.contains(&("TG007", false))
        };
        assert!(!is_judged("a", "a"));
        assert!(is_judged("a", "b"));
    }

    /// Every path of a value, its own first.
    fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
        into.push(at.to_owned());
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into));
            }
            Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), into)),
            _ => {}
        }
    }

    fn damage(object: &mut Value, changes: &[(Index, Value)]) {
        for (at, instead) in changes {
            let mut all = Vec::new();
            pointers(object, "", &mut all);
            if let Some(value) = object.pointer_mut(at.get::<String>(&all)) {
                *value = instead.clone();
            }
        }
    }

    fn any_keys() -> impl Strategy<Value = Vec<&'static str>> {
        proptest::sample::subsequence(vec!["shared", "global"], 0..=2)
    }

    fn any_scalar() -> impl Strategy<Value = Value> {
        let scalars = [
            json!(null),
            json!(true),
            json!(7),
            json!(-7),
            json!(0.5),
            json!("text"),
            json!([]),
            json!({}),
            json!(["keep"]),
            json!({"a": {}}),
        ];
        proptest::sample::select(scalars.to_vec())
    }

    proptest! {
        /// However an object is made, the response is the same as for the whole object.
        #[test]
        fn nothing_else_changes_an_answer(
            kind in proptest::sample::select(vec!["MCPServer", "VirtualMCPServer"]),
            keys in (any_keys(), any_keys()),
            tokens in (1_u32..4, 1_u32..4),
            is_create: bool,
            force: bool,
            changes in proptest::collection::vec((any::<Index>(), any_scalar()), 0..4),
            old_changes in proptest::collection::vec((any::<Index>(), any_scalar()), 0..4),
        ) {
            let (mut object, mut old) = (full(kind, &keys.0, tokens.0), full(kind, &keys.1, tokens.1));
            damage(&mut object, &changes);
            damage(&mut old, &old_changes);
            let body = body(kind, &object, if is_create { &Value::Null } else { &old }, force);
            for hook in [Hook::Mutate, Hook::Validate] {
                let whole = decode_as::<Value>(&body).expect("a review");
                let (decoded, whole) = with_facts(|facts| (review(hook, &body, facts), judge(hook, &whole, facts)));
                prop_assert_eq!(String::from_utf8(decoded.body), String::from_utf8(whole.body));
                prop_assert_eq!(decoded.record, whole.record);
            }
        }
    }
}
