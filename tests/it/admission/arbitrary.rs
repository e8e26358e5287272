//! Arbitrary input: neither hook panics, and every answer meets the contract.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, strategy::ValueTree};
use serde_json::{Map, Value, json};
use tollgate::{
    admission::Hook,
    model::{
        alias::{AliasPolicy, Mode},
        operator::Operator,
        schema::Schema,
    },
};

use super::{UID, World, body, create, json_with, update, warnings};

/// Names that mean something to us.
const OURS: [&str; 20] = [
    "global",
    "shared",
    "perUser",
    "tools",
    "name",
    "maxTokens",
    "refillPeriod",
    "rateLimiting",
    "sessionStorage",
    "config",
    "provider",
    "address",
    "metadata",
    "annotations",
    "managedFields",
    "deletionTimestamp",
    "spec",
    "a",
    "b",
    "",
];

/// Names that mean something to us, more often than ones that do not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![9 => prop::sample::select(&OURS[..]).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..7_i64).prop_map(Value::from),
        any::<i32>().prop_map(|eighths| (f64::from(eighths) / 8.0).into()),
        prop::sample::select(&["1m0s", "60s", "0s", "24h", "redis", "memory", "oidc", "keep", "a", "b"][..]).prop_map(Value::from),
        ".{0,60}".prop_map(Value::from),
    ]
}

/// Any JSON, not deep.
fn any_json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((name(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect()))
        ]
    })
}

/// Mostly what `likely` makes, sometimes anything.
fn mostly(likely: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![12 => likely, 1 => any_json()].boxed()
}

/// A map whose members may each be missing.
fn map_of(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (keys, values): (Vec<_>, Vec<_>) = members.into_iter().map(|(key, value)| (key, option::weighted(0.7, value))).unzip();
    let build = move |values: Vec<Option<Value>>| {
        let members = keys.iter().zip(values).filter_map(|(key, value)| Some(((*key).to_owned(), value?)));
        Value::Object(members.collect::<Map<_, _>>())
    };
    mostly(values.prop_map(build))
}

fn bucket() -> BoxedStrategy<Value> {
    let tokens = mostly((1..4_i64).prop_map(Value::from));
    let period = mostly(prop::sample::select(&["1m0s", "60s", "2m0s"][..]).prop_map(Value::from));
    map_of(vec![("maxTokens", tokens), ("refillPeriod", period)])
}

fn limits() -> BoxedStrategy<Value> {
    let level = || vec![("global", bucket()), ("shared", bucket()), ("perUser", bucket())];
    let mut tool = level();
    tool.push(("name", mostly(prop::sample::select(&["a", "b", "a/b", "\"<"][..]).prop_map(Value::from))));
    let mut block = level();
    block.push(("tools", mostly(vec(map_of(tool), 0..4).prop_map(Value::from))));
    map_of(block)
}

/// The owned fields of a bucket's level, by the keys of FieldsV1.
fn owned_level(deeper: Option<BoxedStrategy<Value>>) -> BoxedStrategy<Value> {
    let leaves = || {
        map_of(vec![(".", Just(json!({})).boxed()), ("f:maxTokens", Just(json!({})).boxed()), ("f:refillPeriod", Just(json!({})).boxed())])
    };
    let mut members = vec![("f:global", leaves()), ("f:shared", leaves()), (".", Just(json!({})).boxed())];
    members.extend(deeper.map(|tools| ("f:tools", tools)));
    map_of(members)
}

fn managed_fields() -> BoxedStrategy<Value> {
    let tools = map_of(vec![
        ("k:{\"name\":\"a\"}", owned_level(None)),
        ("k:{\"name\":\"\\\"\\u003c\"}", owned_level(None)),
        ("k:5", owned_level(None)),
    ]);
    let block = owned_level(Some(tools));
    let spec = map_of(vec![("f:rateLimiting", block.clone()), ("f:config", map_of(vec![("f:rateLimiting", block)]))]);
    let entry =
        (prop::sample::select(&["helm", "argocd"][..]), prop::sample::select(&["Apply", "Update"][..]), map_of(vec![("f:spec", spec)]));
    let entry = entry.prop_map(|(manager, operation, fields)| {
        json!({"manager": manager, "operation": operation, "apiVersion": "toolhive.stacklok.dev/v1beta1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    });
    mostly(vec(mostly(entry), 0..4).prop_map(Value::from))
}

fn object() -> BoxedStrategy<Value> {
    let manifest = limits().prop_map(|limits| json!({"spec": {"rateLimiting": limits}}).to_string().into());
    let annotations = map_of(vec![("kubectl.kubernetes.io/last-applied-configuration", mostly(manifest))]);
    let metadata = map_of(vec![("managedFields", managed_fields()), ("annotations", annotations)]);
    let storage = Just(json!({"provider": "redis", "address": "redis:6379"})).boxed();
    let spec =
        map_of(vec![("rateLimiting", limits()), ("config", map_of(vec![("rateLimiting", limits())])), ("sessionStorage", mostly(storage))]);
    let object = (metadata, spec, any::<bool>());
    object
        .prop_map(|(metadata, spec, virtual_server)| {
            json!({"kind": if virtual_server { "VirtualMCPServer" } else { "MCPServer" }, "metadata": metadata, "spec": spec})
        })
        .boxed()
}

/// An update of an object that may have been the same before, without its `shared`, or with another one.
fn related(object: &Value, change: u8) -> Value {
    let (mut old, mut new) = (object.clone(), object.clone());
    let owned = |manager: &str, operation: &str, scope: &str| {
        let fields = json!({"f:spec": {"f:rateLimiting": {scope: {"f:maxTokens": {}, "f:refillPeriod": {}}}}});
        json!({"manager": manager, "operation": operation, "apiVersion": "toolhive.stacklok.dev/v1beta1", "fieldsV1": fields})
    };
    let set = |object: &mut Value, shared: Option<Value>| {
        let Some(limits) = object.pointer_mut("/spec/rateLimiting").and_then(Value::as_object_mut) else { return };
        match shared {
            Some(shared) => drop(limits.insert("shared".to_owned(), shared)),
            None => drop(limits.remove("shared")),
        }
    };
    let own = |object: &mut Value, entries: &[Value]| object["metadata"] = json!({"managedFields": entries});
    match change {
        0 => {}
        1 => set(&mut old, None),
        2 => set(&mut old, Some(json!({"maxTokens": 99, "refillPeriod": "1m0s"}))),
        3 => {
            set(&mut old, None);
            own(&mut old, &[owned("argocd", "Apply", "f:shared")]);
            set(&mut new, None);
            own(&mut new, &[]);
        }
        _ => {
            set(&mut old, None);
            own(&mut new, &[owned("argocd", "Apply", "f:shared"), owned("helm", "Update", "f:global")]);
        }
    }
    update(&old, &new)
}

fn request() -> impl Strategy<Value = Value> {
    let options = mostly(any::<bool>().prop_map(|force| json!({"kind": "PatchOptions", "fieldManager": "argocd", "force": force})));
    let create = object().prop_map(|object| create(&object));
    let unrelated = (object(), object()).prop_map(|(old, object)| update(&old, &object));
    let related = (object(), 0..5_u8).prop_map(|(object, change)| related(&object, change));
    (prop_oneof![1 => create, 1 => unrelated, 5 => related], options).prop_map(|(request, options)| json_with(&request, "options", options))
}

fn world() -> impl Strategy<Value = World> {
    let schema = prop_oneof![6 => Just(Schema::assuming(true)), 1 => Just(Schema::assuming(false)), 1 => Just(Schema::unread())];
    let mode =
        prop_oneof![4 => Just(Mode::Auto), 2 => Just(Mode::Rename), 2 => Just(Mode::Mirror), 1 => Just(Mode::Warn), 1 => Just(Mode::Deny)];
    let operator = prop_oneof![Just(Operator::Absent), Just(Operator::Unknown), Just(Operator::AtWork), Just(Operator::ReadsGlobal)];
    (mode, operator, schema).prop_map(|(mode, operator, schema)| World { policy: AliasPolicy { mode, operator }, schema })
}

/// What holds of the answer to any bytes.
fn assert_answered(world: &World, bytes: &[u8]) {
    for hook in [Hook::Mutate, Hook::Validate] {
        let answer = world.answer(hook, bytes);
        if answer.status == 400 {
            assert!(answer.body.starts_with(b"not an admission review: "));
            continue;
        }
        assert_eq!(answer.status, 200);
        let review: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_promises(hook, &review["response"]);
    }
}

fn assert_promises(hook: Hook, response: &Value) {
    assert!(response["uid"].as_str().is_some_and(|uid| !uid.is_empty()), "{response}");
    let allowed = response["allowed"].as_bool().expect("a verdict");
    assert!(allowed || hook == Hook::Validate, "{response}");
    assert!(response.get("patch").is_none() || hook == Hook::Mutate, "{response}");
    assert_eq!(allowed, response.get("status").is_none(), "{response}");
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(allowed || !message.is_empty(), "{response}");
    assert!(!message.contains(char::is_control), "{message:?}");
    let reported = warnings(response);
    assert!(reported.iter().map(String::len).sum::<usize>() <= 4_096, "{reported:#?}");
    for warning in reported {
        assert!(warning.len() <= 256 && !warning.contains(char::is_control), "{warning:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..300)) {
        assert_answered(&World::default(), &bytes);
    }

    #[test]
    fn any_json_gets_an_answer(json in any_json()) {
        assert_answered(&World::default(), json.to_string().as_bytes());
    }

    #[test]
    fn any_json_in_a_review_gets_an_answer(json in any_json(), key in prop::sample::select(&["object", "oldObject", "options", "kind", "requestKind", "operation", "subResource", "name", "dryRun"][..])) {
        let request = update(&json!({"kind": "MCPServer"}), &json!({"kind": "MCPServer"}));
        let bytes = body(&json_with(&request, key, json));
        assert_answered(&World::default(), &bytes);
        prop_assert_eq!(World::default().answer(Hook::Validate, &bytes).status, 200, "it has a uid");
    }

    #[test]
    fn a_damaged_review_gets_an_answer(request in request(), at in any::<prop::sample::Index>(), cut in any::<bool>(), byte in any::<u8>()) {
        let mut bytes = body(&request);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        assert_answered(&World::default(), &bytes);
    }

    #[test]
    fn every_patch_applies_and_is_the_last_one(request in request(), world in world()) {
        assert_answered(&world, &body(&request));
        let mutated = world.mutate_once(&request);
        let again = world.mutate_once(&json_with(&request, "object", mutated.object.clone()));
        // Managed fields made up here may deny that anybody owns what the object says; only such a `global` is given up by a second call.
        prop_assert!(again.patch.is_empty() || again.alias.contains("2a"), "a second patch: {:#?}", again.patch);
        if mutated.alias.is_empty() {
            prop_assert_eq!(&mutated.object, &request["object"], "a patch without a row");
        }
    }

    #[test]
    fn only_limits_owners_and_the_annotation_change(request in request(), world in world()) {
        let mutated = world.mutate_once(&request).object;
        prop_assert_eq!(without_ours(&mutated), without_ours(&request["object"]));
    }
}

/// The object without all that a rename may touch.
fn without_ours(object: &Value) -> Value {
    let mut rest = object.clone();
    for pointer in ["/spec", "/spec/config"] {
        if let Some(map) = rest.pointer_mut(pointer).and_then(Value::as_object_mut) {
            map.remove("rateLimiting");
        }
    }
    if let Some(metadata) = rest.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(annotations) = rest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    rest
}

#[test]
fn the_strategies_reach_every_row() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..2_000 {
        let request = request().new_tree(&mut runner).expect("no strategy rejects").current();
        assert_eq!(request["uid"], UID);
        for row in World::default().mutate_once(&request).alias.split(',') {
            *seen.entry(row.to_owned()).or_default() += 1;
        }
    }
    for row in ["2a", "3", "4a", "4a-conflict", "4b", "4c", "4c-conflict", "5a", "5b", "5c"] {
        assert!(seen.contains_key(row), "{row} is never reached: {seen:?}");
    }
}
