//! Objects with thousands of tools and owners: the work of a review is linear in their size.
//!
//! Time is not measured here; `make bench-admission` does. What is asserted is what the answers hold.

use serde_json::{Value, json};

use super::{World, bucket, causes, create, limits, server, update, warnings};

fn tools(count: usize, name: impl Fn(usize) -> String) -> Value {
    (0..count).map(|at| json!({"name": name(at), "shared": bucket(5)})).collect()
}

/// An entry of managed fields that owns `shared` of the first `owned` tools.
fn entry(manager: usize, owned: usize, name: impl Fn(usize) -> String) -> Value {
    let leaves = json!({".": {}, "f:maxTokens": {}, "f:refillPeriod": {}});
    let items: serde_json::Map<_, _> =
        (0..owned).map(|at| (format!("k:{}", json!({"name": name(at)})), json!({".": {}, "f:name": {}, "f:shared": leaves}))).collect();
    json!({
        "manager": format!("manager-{manager}"), "operation": "Apply", "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "fieldsType": "FieldsV1", "time": "2026-11-20T09:12:44Z",
        "fieldsV1": {"f:spec": {"f:rateLimiting": {"f:tools": items}}},
    })
}

#[test]
fn thousands_of_tools_and_owners_are_renamed_in_one_patch() {
    for name in [|at: usize| format!("tool-{at}"), |at: usize| format!("a<\"{at}")] {
        let mut object = server(&json!({"tools": tools(2_000, name)}));
        object["metadata"]["managedFields"] = (0..300).map(|manager| entry(manager, if manager == 0 { 2_000 } else { 2 }, name)).collect();
        let mutated = World::default().mutate(&create(&object));
        let renamed = limits(&mutated.object)["tools"].as_array().expect("tools");
        assert!(renamed.iter().all(|tool| tool["global"] == bucket(5) && tool.get("shared").is_none()));
        let owned = mutated.object["metadata"]["managedFields"].to_string();
        assert_eq!((owned.matches("f:shared").count(), owned.matches("f:global").count()), (0, 2_000 + 299 * 2));
        let again = World::default().validate(&update(&mutated.object, &mutated.object));
        assert_eq!((&again["allowed"], again.get("patch")), (&json!(true), None));
    }
}

#[test]
fn a_conflict_names_a_few_of_many_managers() {
    let mut object = server(&json!({"tools": tools(100, |at| format!("tool-{at}"))}));
    object["metadata"]["managedFields"] = (0..100).map(|manager| entry(manager, 100, |at| format!("tool-{at}"))).collect();
    for tool in object["spec"]["rateLimiting"]["tools"].as_array_mut().expect("tools") {
        tool["global"] = bucket(9);
    }
    let response = World::default().validate(&create(&object));
    assert_eq!(causes(&response).len(), 100);
    let message = response["status"]["details"]["causes"][0]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("set by manager-0, manager-1, manager-2, manager-3 and 96 more)"), "{message}");
}

#[test]
fn more_than_is_reviewed_is_refused_before_it_is_judged() {
    let mut crowded = server(&json!({"shared": bucket(5)}));
    crowded["metadata"]["managedFields"] = (0..16_385).map(|_| json!({})).collect();
    let list = "a list has more than 16384 entries, which are not reviewed";
    // A megabyte or two of text each, and 32 MiB or more decoded.
    let filled = |value: Value| {
        let mut object = server(&json!({"shared": bucket(5)}));
        object["spec"]["sessionStorage"]["address"] = value;
        object
    };
    let values = "the object has too many values to be reviewed";
    for (object, why) in [
        (server(&json!({"tools": tools(16_385, |_| String::new())})), list),
        (crowded, list),
        (filled(vec![0; 1 << 20].into()), values),
        (filled(vec![json!({"": 0}); 1 << 16].into()), values),
        (filled(json!([vec![vec![""; 1 << 10]; 1 << 10]])), values),
    ] {
        let response = World::default().validate(&create(&object));
        assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(400)));
        let message = response["status"]["message"].as_str().expect("a message");
        assert!(message.contains(why), "{message}");
        assert_eq!(World::default().mutate_once(&create(&object)).patch, [] as [Value; 0]);
    }
    // As many tools as may be, each with limits.
    let tools = tools(16_384, |at| format!("tool-{at}"));
    assert_eq!(World::default().validate(&create(&server(&json!({"tools": tools}))))["allowed"], true);
}

/// The API server keeps 256 bytes of each warning, and 4 KiB of all warnings of a request.
#[test]
fn warnings_fit_and_keep_their_advice() {
    let long = "x".repeat(2_000);
    let object = server(&json!({"tools": [{"name": format!("{long} \u{e9}"), "global": bucket(5)}]}));
    let reported = warnings(&World::default().validate(&create(&object)));
    assert_eq!(reported.len(), 1);
    assert!(
        reported[0].len() <= 256
            && reported[0].starts_with("TG103 spec.rateLimiting.tools[0].name")
            && reported[0].ends_with("that MCP allows")
    );

    let mut all = 0;
    let object = server(&json!({"tools": tools(1_000, |at| format!("tool {at}"))}));
    for reported in [World::default().mutate(&create(&object)).warnings, warnings(&World::default().validate(&create(&object)))] {
        assert!(reported.iter().all(|warning| warning.len() <= 256));
        assert!(reported.last().is_some_and(|last| last.starts_with("and ") && last.ends_with(" more warnings")), "{reported:?}");
        all += reported.iter().map(String::len).sum::<usize>();
    }
    assert!((3_800..=4_096).contains(&all), "{all}");
}

/// The last finalizer goes, whatever the spec of the object is.
#[test]
fn an_object_on_its_way_out_may_nest_as_deep_as_it_likes() {
    let deep = (0..125).fold(json!(1), |inner, _| json!({"a": inner}));
    for place in ["/spec/podTemplateSpec", "/spec/rateLimiting", "/spec/incomingAuth"] {
        let mut stored = server(&json!({"perUser": bucket(5)}));
        stored["metadata"]["deletionTimestamp"] = json!("2026-11-20T09:12:44Z");
        stored["metadata"]["finalizers"] = json!(["example.com/backup"]);
        let (_, key) = place.rsplit_once('/').expect("a place");
        stored["spec"][key] = deep.clone();
        let mut released = stored.clone();
        released["metadata"]["finalizers"] = json!([]);
        let response = World::default().validate(&update(&stored, &released));
        assert_eq!(response["allowed"], true, "{place}: {response}");
        assert_eq!(World::default().mutate(&update(&stored, &released)).warnings, [""; 0]);
    }
}
