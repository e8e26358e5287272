//! What a verdict looks like to kubectl and to the audit log.

use serde_json::{Value, json};
use tollgate::{
    admission::{Ending, Hook},
    alias::Case,
    model::alias::Mode,
};

use super::{UID, World, body, bucket, causes, create, json_with, server, update, warnings};

fn refused() -> Value {
    server(&json!({"global": {"maxTokens": 0, "refillPeriod": "soon"}, "perUser": bucket(5)}))
}

#[test]
fn a_good_object_is_allowed_in_silence() {
    let request = create(&server(&json!({"global": bucket(5)})));
    for hook in [Hook::Mutate, Hook::Validate] {
        assert_eq!(World::default().ask(hook, &request), json!({"uid": UID, "allowed": true}));
    }
}

#[test]
fn a_refusal_is_a_422_with_every_violation_as_a_cause() {
    let response = World::default().validate(&create(&refused()));
    assert_eq!((&response["uid"], &response["allowed"]), (&json!(UID), &json!(false)));
    let status = &response["status"];
    assert_eq!((&status["status"], &status["code"], &status["reason"]), (&json!("Failure"), &json!(422), &json!("Invalid")));
    let details = &status["details"];
    assert_eq!(
        (&details["name"], &details["group"], &details["kind"]),
        (&json!("fetch"), &json!("toolhive.stacklok.dev"), &json!("MCPServer"))
    );
    assert_eq!(
        causes(&response),
        ["TG006 spec.rateLimiting.global.maxTokens", "TG007 spec.rateLimiting.global.refillPeriod", "TG002 spec.rateLimiting.perUser"]
    );
    let cause = &details["causes"][0];
    assert_eq!(
        cause["message"], "TG006: is 0: write a whole number from 1 to 2147483647",
        "kubectl prints no reason, so the message says it"
    );
    assert_eq!(
        status["message"],
        "TG006 spec.rateLimiting.global.maxTokens: is 0: write a whole number from 1 to 2147483647; \
         TG007 spec.rateLimiting.global.refillPeriod: \"soon\" is not a duration: write the time to refill all tokens, such as 1m0s, 1h30m or 500ms; \
         TG002 spec.rateLimiting.perUser: callers do not sign in, so there are no users to count: set spec.oidcConfigRef or \
         spec.externalAuthConfigRef, or use global"
    );
}

#[test]
fn a_refusal_of_many_tells_some_and_lists_all() {
    let tools: Vec<_> = (0..50).map(|i| json!({"name": format!("t{i}"), "global": bucket(0)})).collect();
    let response = World::default().validate(&create(&server(&json!({"tools": tools}))));
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("; and 42 more") && message.matches("TG006").count() == 8, "{message}");
    assert_eq!(causes(&response).len(), 50);
}

#[test]
fn a_message_is_one_line_whatever_the_object_says() {
    let nasty = "a\nb\r\n\u{2028}\u{0}\t\u{1b}[31mc";
    let mut object = server(&json!({
        nasty: 1,
        "global": {"maxTokens": nasty, "refillPeriod": nasty, nasty: 1},
        "shared": {nasty: nasty},
        "tools": [{"name": nasty, "global": bucket(1)}, {"name": nasty, nasty: 1}],
    }));
    object["spec"]["sessionStorage"] = json!({"provider": nasty});
    object["metadata"]["managedFields"] = json!([{"manager": nasty, "operation": "Update", "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "fieldsV1": {"f:spec": {"f:rateLimiting": {"f:shared": {}}}}}]);
    for storage in [json!({"provider": nasty}), json!({"provider": "redis", "address": nasty})] {
        object["spec"]["sessionStorage"] = storage;
        let response = World::default().validate(&create(&object));
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(!message.contains(|c: char| c.is_control() || c == '\u{2028}'), "{message:?}");
        for reported in warnings(&response) {
            assert!(!reported.contains(|c: char| c.is_control()), "{reported:?}");
        }
    }
}

#[test]
fn a_made_up_name_is_named_as_far_as_it_is_known() {
    let mut object = refused();
    object["metadata"] = json!({"generateName": "fetch-"});
    let request = json_with(&create(&object), "name", json!(""));
    assert_eq!(World::default().validate(&request)["status"]["details"]["name"], "fetch-");
}

#[test]
fn warnings_are_short_and_few() {
    let long = "ä".repeat(200);
    let tools: Vec<_> = (0..100).map(|i| json!({"name": format!("{long}{i}"), "shared": bucket(1), "global": bucket(1)})).collect();
    let mut object = server(&json!({"tools": tools}));
    object["kind"] = json!("VirtualMCPServer");
    object["spec"]["config"] = json!({"rateLimiting": object["spec"]["rateLimiting"].take()});
    let allowed = World::mode(Mode::Warn).validate(&create(&object));
    let mutated = World::default().mutate(&create(&object)).warnings;
    for (reported, most_bytes) in [(warnings(&allowed), 3_072), (mutated, 1_024)] {
        let (last, rules) = reported.split_last().expect("warnings");
        assert!(rules.len() >= 3 && rules.iter().all(|warning| warning.starts_with("TG10") && warning.len() <= 256), "{reported:#?}");
        assert!(reported.iter().map(String::len).sum::<usize>() <= most_bytes, "{reported:#?}");
        assert!(last.starts_with("and ") && last.ends_with(" more warnings"), "{last}");
    }
}

#[test]
fn a_refusal_carries_its_warnings_too() {
    let response = World::mode(Mode::Warn).validate(&create(&server(&json!({"shared": bucket(0)}))));
    assert_eq!(causes(&response), ["TG006 spec.rateLimiting.shared.maxTokens"]);
    assert_eq!(warnings(&response), ["TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: --shared-alias is warn)"]);
}

#[test]
fn validate_says_when_mutate_was_not_asked() {
    let response = World::default().validate(&create(&server(&json!({"shared": bucket(5)}))));
    assert_eq!(
        warnings(&response),
        ["TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: the mutating webhook did not run)"]
    );
}

#[test]
fn the_audit_log_learns_rules_and_rows() {
    let response = World::default().validate(&create(&server(&json!({"shared": bucket(0), "perUser": bucket(1)}))));
    assert_eq!(response["auditAnnotations"], json!({"rules": "TG002,TG006,TG101"}));
    let object = server(
        &json!({"shared": bucket(5), "tools": [{"name": "a", "shared": bucket(1)}, {"name": "b", "shared": bucket(1), "global": bucket(1)}]}),
    );
    let response = World::default().ask(Hook::Mutate, &create(&object));
    assert_eq!(response["auditAnnotations"], json!({"alias": "3,5a"}));
}

#[test]
fn a_dry_run_gets_the_same_answer() {
    for object in [refused(), server(&json!({"shared": bucket(5)}))] {
        for hook in [Hook::Mutate, Hook::Validate] {
            let wet = World::default().answer(hook, &body(&create(&object)));
            let dry = World::default().answer(hook, &body(&json_with(&create(&object), "dryRun", json!(true))));
            assert_eq!(String::from_utf8_lossy(&wet.body), String::from_utf8_lossy(&dry.body));
            assert!(dry.record.dry_run && !wet.record.dry_run);
        }
    }
}

#[test]
fn the_record_says_what_happened() {
    let world = World::default();
    let record = |hook, object: &Value| world.answer(hook, &body(&create(object))).record;
    let denied = record(Hook::Validate, &refused());
    assert_eq!((denied.operation, denied.kind, denied.verdict), ("CREATE", "MCPServer", Ending::Denied));
    assert_eq!((denied.namespace.as_str(), denied.name.as_str()), ("demo", "fetch"));
    assert_eq!(denied.rules.into_iter().collect::<Vec<_>>(), [("TG002", true), ("TG006", true), ("TG007", true)]);
    let patched = record(Hook::Mutate, &server(&json!({"shared": bucket(5)})));
    assert_eq!((patched.verdict, patched.alias), (Ending::Patched, vec![Case::Moved]));
    assert_eq!(record(Hook::Mutate, &server(&json!({"global": bucket(5)}))).verdict, Ending::Allowed);
    assert_eq!(world.answer(Hook::Mutate, b"{").record.verdict, Ending::Malformed);
}

#[test]
fn an_object_on_its_way_out_is_never_held_up() {
    let mut old = refused();
    old["metadata"] = json!({"name": "fetch", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]});
    let mut new = old.clone();
    new["metadata"]["finalizers"] = Value::Null;
    assert_eq!(World::default().validate(&update(&old, &new)), json!({"uid": UID, "allowed": true}), "allowed, and silently");

    new["spec"]["rateLimiting"]["global"]["maxTokens"] = json!(-1);
    let response = World::default().validate(&update(&old, &new));
    assert_eq!(
        causes(&response),
        ["TG006 spec.rateLimiting.global.maxTokens", "TG007 spec.rateLimiting.global.refillPeriod"],
        "its spec changed"
    );
    assert_eq!(warnings(&response).len(), 1, "TG002 stands as before");
}

#[test]
fn an_update_ratchets() {
    let response = World::default().validate(&update(&refused(), &refused()));
    assert_eq!((&response["allowed"], warnings(&response).len()), (&json!(true), 3));
}
