//! Alias transparency as a property: any sequence of requests by any clients ends as if every manifest had said `global` from the start.
//!
//! The same random operations run against two models of an API server: one with the webhook and manifests that say `shared`, `global` or
//! both equal; one whose webhook only judges, with manifests that say `global`. After every operation both have to hold the same spec, text and all.
//!
//! The same holds where ToolHive's operator is at work and both names are kept, and where it comes and goes between the operations: then
//! what is compared is the limit that both names have.
//!
//! What no webhook can tell apart is left out of the sequences: a two-way patch that only says `shared: null` (Helm 3, dropping the limit,
//! or renaming it in the chart), the same of `global` where both names are kept, and manifests whose two names disagree. And one thing ends a sequence: webhooks cannot know whether a
//! server-side apply is forced, so the two may part there in the way that `alias::Request::force` describes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use tollgate::{
    admission::{Facts, Hook as Webhook, review},
    model::{
        alias::{AliasPolicy, Mode},
        operator::Operator,
        schema::Schema,
    },
};

use crate::support::cluster_model::{self, Cluster, Crd, Hook, Op, Refused, Request, canonical};

/// The webhook under test, through its bytes.
#[derive(Debug)]
struct Tollgate {
    policy: AliasPolicy,
    schema: Schema,
}

impl Tollgate {
    /// As it decides by itself, with or without ToolHive's operator at work.
    fn auto(operator: Operator) -> Self {
        Self { policy: AliasPolicy { mode: Mode::Auto, operator }, schema: Schema::assuming(true) }
    }

    fn renaming() -> Self {
        Self::auto(Operator::Absent)
    }

    /// Changes nothing, and refuses what is refused under either name.
    fn judging() -> Self {
        Self { policy: Mode::Warn.into(), schema: Schema::assuming(true) }
    }

    fn ask(&self, hook: Webhook, request: &Request) -> Value {
        let object = &request.object;
        let (version, kind) = (&object["apiVersion"], &object["kind"]);
        let version = version.as_str().and_then(|version| version.split('/').nth(1));
        let gvk = json!({"group": "toolhive.stacklok.dev", "version": version, "kind": kind});
        let review_request = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "kind": gvk, "requestKind": gvk, "operation": request.operation,
                "object": object, "oldObject": request.old_object, "options": request.options,
            },
        });
        let facts = Facts { policy: self.policy, schema: &self.schema, references: None };
        let answer = review(hook, review_request.to_string().as_bytes(), &facts);
        assert_eq!(answer.status, 200);
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        answer["response"].clone()
    }
}

impl Hook for Tollgate {
    fn mutate(&self, request: &Request) -> Result<Value, String> {
        let response = self.ask(Webhook::Mutate, request);
        assert_eq!(response["allowed"], true, "/mutate never refuses");
        let mut object = request.object.clone();
        if let Some(patch) = response["patch"].as_str() {
            let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).expect("base64")).expect("a patch");
            json_patch::patch(&mut object, &patch).expect("the patch fits the object that it was made for");
            let again = Request { object: object.clone(), ..request.clone() };
            let second = self.ask(Webhook::Mutate, &again);
            assert_eq!(second["patch"], Value::Null, "a second look changes nothing: {object:#}");
        }
        Ok(object)
    }

    fn validate(&self, request: &Request) -> Result<(), String> {
        let response = self.ask(Webhook::Validate, request);
        if response["allowed"] == true { Ok(()) } else { Err(response["status"]["message"].to_string()) }
    }
}

/// The keys of one level, as a manifest may have them.
#[derive(Clone, Debug, PartialEq)]
struct Keys {
    name: Name,
    bucket: Option<Value>,
    per_user: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    Shared,
    Global,
    Both,
}

impl Keys {
    fn to_json(&self) -> Value {
        let mut level = json!({});
        if let Some(bucket) = &self.bucket {
            if self.name != Name::Global {
                level["shared"] = bucket.clone();
            }
            if self.name != Name::Shared {
                level["global"] = bucket.clone();
            }
        }
        if let Some(per_user) = &self.per_user {
            level["perUser"] = per_user.clone();
        }
        level
    }
}

fn a_bucket() -> impl Strategy<Value = Value> {
    (select(vec![100, 200]), select(vec!["1m0s", "30s"])).prop_map(|(tokens, period)| json!({"maxTokens": tokens, "refillPeriod": period}))
}

fn keys() -> impl Strategy<Value = Keys> {
    let name = prop_oneof![4 => Just(Name::Shared), 2 => Just(Name::Global), 1 => Just(Name::Both)];
    (name, option::weighted(0.7, a_bucket()), option::weighted(0.4, a_bucket())).prop_map(|(name, bucket, per_user)| Keys {
        name,
        bucket,
        per_user,
    })
}

/// Where the limits of a sequence stand.
#[derive(Clone, Copy, Debug)]
enum Place {
    Server,
    VirtualConfig,
}

const TOOLS: [&str; 2] = ["search", "a/b~c \"é\""];

fn manifest(place: Place) -> impl Strategy<Value = Value> {
    let tools = (option::weighted(0.4, keys()), option::weighted(0.2, keys()));
    (option::weighted(0.9, keys()), tools, 0..3_u32).prop_map(move |(server, (first, second), other)| {
        let spec = match server {
            None => json!({"other": {"n": other}}),
            Some(server) => {
                let mut block = server.to_json();
                let entries = TOOLS.iter().zip([first, second]).filter_map(|(name, keys)| {
                    let mut entry = keys?.to_json();
                    // A tool without any bucket is refused under either name; that is another test's matter.
                    if entry.as_object()?.is_empty() {
                        return None;
                    }
                    entry["name"] = json!(name);
                    Some(entry)
                });
                let entries: Vec<_> = entries.collect();
                if !entries.is_empty() {
                    block["tools"] = json!(entries);
                }
                if block.as_object().is_some_and(serde_json::Map::is_empty) {
                    json!({"other": {"n": other}})
                } else {
                    within(place, &block, other)
                }
            }
        };
        object(place, spec)
    })
}

fn within(place: Place, block: &Value, other: u32) -> Value {
    match place {
        Place::Server => json!({"other": {"n": other}, "rateLimiting": block}),
        Place::VirtualConfig => json!({"other": {"n": other}, "config": {"rateLimiting": block}}),
    }
}

fn object(place: Place, mut spec: Value) -> Value {
    spec["sessionStorage"] = json!({"provider": "redis", "address": "redis:6379"});
    let kind = match place {
        Place::Server => {
            spec["oidcConfigRef"] = json!({"name": "corp"});
            "MCPServer"
        }
        Place::VirtualConfig => {
            spec["incomingAuth"] = json!({"type": "oidc"});
            "VirtualMCPServer"
        }
    };
    json!({"apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}, "spec": spec})
}

/// A merge patch on one bucket of the server level: partial, whole, or of another field.
fn patch(place: Place) -> impl Strategy<Value = Value> {
    let bucket = prop_oneof![Just(json!({"maxTokens": 300})), Just(json!({"refillPeriod": "15s"})), a_bucket(),];
    let block = prop_oneof![
        3 => bucket.prop_map(|bucket| json!({"shared": bucket})),
        1 => Just(json!({"perUser": {"maxTokens": 9, "refillPeriod": "9s"}})),
        1 => Just(json!({"perUser": null})),
        1 => Just(Value::Null),
    ];
    block.prop_map(move |block| {
        let mut patch = within(place, &block, 7);
        patch["other"] = json!({"patched": true});
        json!({"spec": patch})
    })
}

const APPLIERS: [&str; 3] = ["kubectl", "team-a", "team-b"];

fn op(place: Place, keeps_both: bool) -> BoxedStrategy<Op> {
    let appliers = || select(&APPLIERS[..]).prop_map(str::to_owned);
    prop_oneof![
        1 => manifest(place).prop_map(|manifest| Op::Create { manifest }),
        5 => manifest(place).prop_map(|manifest| Op::ClientApply { manifest }),
        5 => (manifest(place), appliers(), any::<bool>()).prop_map(|(manifest, manager, force)| Op::ServerApply { manifest, manager, force }),
        2 => manifest(place).prop_map(|manifest| Op::Put { manifest, manager: "replacer".to_owned() }),
        2 => Just(Op::PutBack),
        2 => patch(place).prop_map(|patch| Op::MergePatch { patch, manager: "patcher".to_owned() }),
        2 => (manifest(place), manifest(place))
            .prop_filter("a two-way patch that drops or renames", move |(previous, next)| helm_can_tell(previous, next, keeps_both))
            .prop_map(|(previous, next)| Op::HelmUpgrade { previous, next }),
        1 => Just(Op::Label { key: "k".to_owned(), value: "v".to_owned() }),
    ]
    .boxed()
}

/// Whether every level keeps its name between two charts, or gains its first one.
fn helm_can_tell(previous: &Value, next: &Value, keeps_both: bool) -> bool {
    let names = |manifest: &Value| -> BTreeMap<String, (bool, bool)> {
        let block = manifest.pointer("/spec/rateLimiting").or_else(|| manifest.pointer("/spec/config/rateLimiting"));
        let tools = block.and_then(|block| block["tools"].as_array()).into_iter().flatten();
        let levels = block.into_iter().chain(tools);
        levels.map(|level| (level["name"].to_string(), (level.get("shared").is_some(), level.get("global").is_some()))).collect()
    };
    let next = names(next);
    names(previous).iter().all(|(level, was)| match next.get(level) {
        None => true,
        Some(is) => *was == (false, false) || *was == *is || (!keeps_both && *was == (false, true) && *is == (false, false)),
    })
}

fn sequences() -> impl Strategy<Value = Vec<Op>> {
    select(vec![Place::Server, Place::VirtualConfig]).prop_flat_map(|place| vec(op(place, false), 1..9))
}

/// Sequences, with what is known of the operator at each operation.
fn switching(operator: impl Strategy<Value = Operator> + Clone) -> impl Strategy<Value = Vec<(Operator, Op)>> {
    select(vec![Place::Server, Place::VirtualConfig]).prop_flat_map(move |place| vec((operator.clone(), op(place, true)), 1..9))
}

/// Whether the two may part here, as force is not told to webhooks. `untouched`: ours left the limits as they were.
fn may_part(op: &Op, ours: &Result<(), Refused>, oracle: &Result<(), Refused>, untouched: bool) -> bool {
    let Op::ServerApply { force, manager, .. } = op else { return false };
    // The API server lets the manager kubectl overrule whoever owns what its own last-applied annotation still says.
    let forced = *force || manager == "kubectl";
    match (ours, oracle) {
        (Err(Refused::Denied(message)), Ok(())) => forced && message.contains("TG008"),
        // But only of the name that it says there.
        (Err(Refused::Conflict { .. }), Ok(())) => manager == "kubectl",
        (Ok(()), Err(Refused::Conflict { managers, .. })) => {
            let from_updaters = managers.iter().all(|manager| !APPLIERS.contains(&manager.as_str()));
            !force && (from_updaters || untouched)
        }
        _ => false,
    }
}

fn limits(cluster: &Cluster<impl Hook>) -> Option<Value> {
    cluster.live().map(|object| cluster_model::limits(&object))
}

/// The spec, with both names of a limit that has both as the one that it is.
fn spec(cluster: &Cluster<impl Hook>) -> Option<Value> {
    let mut spec = cluster.live()?["spec"].clone();
    each_level(&mut spec, &mut |level| {
        if level.get("global").is_some() && level.get("global") == level.get("shared") {
            level.as_object_mut().expect("a map").remove("shared");
        }
    });
    Some(spec)
}

/// The names that a level should not have, or should have too.
fn names(cluster: &Cluster<impl Hook>, operator: Operator) -> Vec<String> {
    let Some(mut object) = cluster.live() else { return Vec::new() };
    let mut wrong = Vec::new();
    each_level(&mut object["spec"], &mut |level| {
        let is_right = match (level.get("shared"), level.get("global")) {
            (Some(shared), Some(global)) => operator == Operator::AtWork && shared == global,
            (Some(_), None) => false,
            (None, Some(_)) => operator != Operator::AtWork,
            (None, None) => true,
        };
        if !is_right {
            wrong.push(level.to_string());
        }
    });
    wrong
}

/// Visits the server level and each tool, at either place.
fn each_level(spec: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    for pointer in ["/rateLimiting", "/config/rateLimiting"] {
        let Some(block) = spec.pointer_mut(pointer) else { continue };
        visit(block);
        block.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut *visit);
    }
}

/// An object's limits and their owners, in a line.
fn brief(cluster: &Cluster<impl Hook>) -> String {
    let Some(object) = cluster.live() else { return "nothing".to_owned() };
    let managed = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let owners: Vec<_> =
        managed.iter().map(|entry| format!("{} {} {}", entry["manager"], entry["operation"], entry["fieldsV1"]["f:spec"])).collect();
    let applied = &object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    format!("{} {}\n    {}\n    applied {applied}", object["spec"]["rateLimiting"], object["spec"]["config"], owners.join("\n    "))
}

/// An operation, in a line.
fn say(op: &Op) -> String {
    match op {
        Op::Create { manifest } => format!("create {}", manifest["spec"]),
        Op::ClientApply { manifest } => format!("apply {}", manifest["spec"]),
        Op::ServerApply { manifest, manager, force } => format!("server-side apply by {manager}, force {force} {}", manifest["spec"]),
        Op::Put { manifest, .. } => format!("replace {}", manifest["spec"]),
        Op::MergePatch { patch, .. } => format!("patch {patch}"),
        Op::HelmUpgrade { previous, next } => format!("helm {} to {}", previous["spec"], next["spec"]),
        Op::PutBack => "put back".to_owned(),
        Op::Label { .. } => "label".to_owned(),
    }
}

fn run(ops: &[(Operator, Op)]) -> Result<(), TestCaseError> {
    let mut ours = Cluster::new(Crd::BOTH, Tollgate::renaming());
    let mut oracle = Cluster::new(Crd::BOTH, Tollgate::judging());
    for (at, (operator, op)) in ops.iter().enumerate() {
        ours = ours.with_hook(Tollgate::auto(*operator));
        let before = (brief(&ours), brief(&oracle));
        let limits_before = limits(&ours);
        let outcome = ours.run(op);
        let has_asked = outcome.as_ref().is_ok_and(|outcome| outcome.request.is_some());
        let (result, wanted) = (outcome.map(drop), oracle.run(&canonical(op)).map(drop));
        let sequence: String = ops.iter().map(|(operator, op)| format!("  {operator:?}: {}\n", say(op))).collect();
        let reported = format!(
            "operation {at} of\n{sequence}before, ours: {}\nbefore, oracle: {}\nafter, ours: {result:?} {}\nafter, oracle: {wanted:?} {}",
            before.0,
            before.1,
            brief(&ours),
            brief(&oracle),
        );
        if result.is_ok() != wanted.is_ok() {
            prop_assert!(may_part(op, &result, &wanted, limits_before == limits(&ours)), "one refuses, {}", reported);
            return Ok(());
        }
        prop_assert_eq!(spec(&ours), spec(&oracle), "{}", reported);
        if has_asked {
            prop_assert_eq!(names(&ours, *operator), Vec::<String>::new(), "what is stored is not what the operator reads, {}", reported);
        }
        // Doing the same again is a true no-op, as far as it is for the oracle.
        if wanted.is_ok() && matches!(op, Op::ClientApply { .. } | Op::ServerApply { .. } | Op::PutBack) {
            let (again, wanted) = (ours.run(op).map(|outcome| outcome.changed), oracle.run(&canonical(op)).map(|outcome| outcome.changed));
            prop_assert_eq!(spec(&ours), spec(&oracle), "again, {}", reported);
            if wanted == Ok(false) {
                prop_assert_eq!(again, Ok(false), "an unchanged re-apply is a no-op, {}\nagain, ours: {}", reported, brief(&ours));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        // What is found is kept as a test with a name, as below.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_ends_as_if_it_had_said_global(ops in sequences()) {
        run(&ops.into_iter().map(|op| (Operator::Absent, op)).collect::<Vec<_>>())?;
    }

}

proptest! {
    // Longer runs: PROPTEST_CASES.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_so_where_the_operator_is_at_work(ops in switching(Just(Operator::AtWork))) {
        run(&ops)?;
    }

    #[test]
    fn any_sequence_ends_so_when_the_operator_comes_and_goes(ops in switching(select(vec![Operator::Absent, Operator::AtWork]))) {
        run(&ops)?;
    }
}

fn applied(manager: &str, force: bool, limits: &Value) -> Op {
    let manifest = object(Place::Server, json!({"rateLimiting": limits}));
    Op::ServerApply { manifest, manager: manager.to_owned(), force }
}

#[test]
fn half_a_bucket_left_by_an_apply_is_refused_as_the_conflict_that_it_is() {
    let mut cluster = Cluster::new(Crd::BOTH, Tollgate::renaming());
    let bucket = |tokens, period: &str| json!({"maxTokens": tokens, "refillPeriod": period});
    cluster.run(&applied("team-b", false, &json!({"shared": bucket(200, "30s")}))).expect("created");
    cluster.run(&applied("team-a", true, &json!({"global": bucket(100, "30s")}))).expect("forced");
    // team-a gives up global, of which team-b still owns the period, and says shared with another.
    let refused = cluster.run(&applied("team-a", true, &json!({"shared": bucket(100, "1m0s")}))).expect_err("a conflict");
    assert!(matches!(&refused, Refused::Denied(message) if message.contains("TG008") && message.contains("team-b")), "{refused:?}");
}
