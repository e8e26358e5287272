//! Ratcheting: on an update, an unchanged existing fault only warns; whatever the request changes is checked in full.

use serde_json::{Value, json};
use tollgate::rules::{Context, check, ratchet::check_update};

use crate::rules::{level_name, subject};

/// An object with these limits and usable storage, where nobody signs in.
fn server(limits: &Value) -> Value {
    json!({"kind": "MCPServer", "metadata": {"name": "fetch"}, "spec": {
        "sessionStorage": {"provider": "redis", "address": "redis:6379"},
        "rateLimiting": limits,
    }})
}

fn good() -> Value {
    json!({"maxTokens": 5, "refillPeriod": "1m0s"})
}

fn no_tokens() -> Value {
    json!({"maxTokens": 0, "refillPeriod": "1m0s"})
}

/// `object` with the value at a JSON pointer replaced, or put there.
fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = changed.pointer_mut(parent).expect("the parent is there");
    match parent {
        Value::Array(entries) => entries[key.parse::<usize>().expect("an index")] = value,
        parent => parent[key] = value,
    }
    changed
}

/// What an update finds: rule, level, path.
fn update(old: &Value, new: &Value) -> Vec<String> {
    let found = check_update(&Context::new(subject(new)), old);
    found.iter().map(|found| format!("{} {} {}", found.rule, level_name(found.level), found.path)).collect()
}

#[test]
fn an_old_fault_in_an_unchanged_subtree_warns() {
    let old = server(&json!({"global": no_tokens()}));
    assert_eq!(update(&old, &old), ["TG006 warn spec.rateLimiting.global.maxTokens"]);
    let labelled = with(&old, "/metadata/labels", json!({"team": "a"}));
    assert_eq!(update(&old, &labelled), ["TG006 warn spec.rateLimiting.global.maxTokens"]);
    let elsewhere = with(&old, "/spec/rateLimiting/tools", json!([{"name": "a", "global": good()}]));
    assert_eq!(update(&old, &elsewhere), ["TG006 warn spec.rateLimiting.global.maxTokens"]);
}

#[test]
fn every_rule_ratchets_while_nothing_changes() {
    let mut old = server(&json!({
        "global": no_tokens(),
        "shared": good(),
        "perUser": {"maxTokens": 1},
        "burst": 1,
        "tools": [{"name": ""}, {"name": "a", "global": []}, {"name": "a", "perUser": good()}, "b"],
    }));
    old["kind"] = json!("VirtualMCPServer");
    old["spec"]["sessionStorage"] = json!({"provider": "redis", "db": -1});
    old["spec"]["config"] = json!({"rateLimiting": {}});
    let mut fired: Vec<_> = check(&Context::new(subject(&old))).iter().map(|found| found.rule).collect();
    fired.sort_unstable();
    fired.dedup();
    assert_eq!(fired, ["TG002", "TG003", "TG004", "TG005", "TG006", "TG007", "TG008", "TG009", "TG010", "TG011", "TG101"]);
    let after = update(&old, &with(&old, "/metadata/finalizers", json!(["x"])));
    assert!(after.len() > 15 && after.iter().all(|found| found.contains(" warn ")), "{after:#?}");

    old["spec"]["sessionStorage"]["provider"] = json!("memory");
    let after = update(&old, &old);
    assert!(after.contains(&"TG001 warn spec.sessionStorage.provider".to_owned()), "{after:#?}");
}

#[test]
fn a_fault_in_a_changed_subtree_denies() {
    let old = server(&json!({"global": no_tokens()}));
    let worse = with(&old, "/spec/rateLimiting/global/maxTokens", json!(-1));
    assert_eq!(update(&old, &worse), ["TG006 deny spec.rateLimiting.global.maxTokens"]);
    let beside = with(&old, "/spec/rateLimiting/global/refillPeriod", json!("2m0s"));
    assert_eq!(update(&old, &beside), ["TG006 deny spec.rateLimiting.global.maxTokens"]);
}

#[test]
fn a_new_fault_denies_beside_an_old_one() {
    let old = server(&json!({"global": no_tokens()}));
    let new = with(&old, "/spec/rateLimiting/tools", json!([{"name": "a", "global": no_tokens()}]));
    assert_eq!(
        update(&old, &new),
        ["TG006 warn spec.rateLimiting.global.maxTokens", "TG006 deny spec.rateLimiting.tools[0].global.maxTokens"]
    );
}

#[test]
fn a_fault_that_moves_to_the_other_scope_denies() {
    let old = server(&json!({"global": no_tokens(), "perUser": good()}));
    let new = server(&json!({"global": good(), "perUser": no_tokens()}));
    let new = with(&new, "/spec/oidcConfigRef", json!({"name": "corp"}));
    assert!(update(&old, &new).contains(&"TG006 deny spec.rateLimiting.perUser.maxTokens".to_owned()));
}

#[test]
fn a_fault_that_moves_with_its_tool_warns() {
    let faulty = json!({"name": "a", "global": no_tokens()});
    let sound = json!({"name": "b", "global": good()});
    let old = server(&json!({"tools": [faulty, sound]}));
    let reordered = server(&json!({"tools": [sound, faulty]}));
    assert_eq!(update(&old, &reordered), ["TG006 warn spec.rateLimiting.tools[1].global.maxTokens"]);
    let another_in_front = server(&json!({"tools": [{"name": "c", "global": good()}, faulty, sound]}));
    assert_eq!(update(&old, &another_in_front), ["TG006 warn spec.rateLimiting.tools[1].global.maxTokens"]);
}

#[test]
fn the_same_fault_in_a_tool_of_another_name_denies() {
    let old = server(&json!({"tools": [{"name": "a", "global": no_tokens()}]}));
    let new = server(&json!({"tools": [{"name": "b", "global": no_tokens()}]}));
    assert_eq!(update(&old, &new), ["TG006 deny spec.rateLimiting.tools[0].global.maxTokens"]);
    let swapped = server(&json!({"tools": [{"name": "b", "global": no_tokens()}, {"name": "a", "global": good()}]}));
    assert_eq!(update(&old, &swapped), ["TG006 deny spec.rateLimiting.tools[0].global.maxTokens"]);
}

#[test]
fn a_fault_that_was_called_shared_is_the_same_one() {
    let old = server(&json!({"shared": no_tokens(), "tools": [{"name": "a", "shared": no_tokens()}]}));
    let new = server(&json!({"global": no_tokens(), "tools": [{"name": "a", "global": no_tokens()}]}));
    assert_eq!(
        update(&old, &new),
        ["TG006 warn spec.rateLimiting.global.maxTokens", "TG006 warn spec.rateLimiting.tools[0].global.maxTokens"]
    );
    let changed = with(&new, "/spec/rateLimiting/global/maxTokens", json!(-5));
    assert_eq!(
        update(&old, &changed),
        ["TG006 deny spec.rateLimiting.global.maxTokens", "TG006 warn spec.rateLimiting.tools[0].global.maxTokens"]
    );
}

#[test]
fn limits_without_storage_may_be_renamed_and_not_edited() {
    let mut old = server(&json!({"shared": good(), "tools": [{"name": "a", "shared": good()}]}));
    old["spec"]["sessionStorage"] = Value::Null;
    let mut renamed = server(&json!({"global": good(), "tools": [{"name": "a", "global": good()}]}));
    renamed["spec"]["sessionStorage"] = Value::Null;
    let tg001 = |found: &[String]| found.iter().find(|found| found.starts_with("TG001")).cloned();
    assert_eq!(tg001(&update(&old, &renamed)).as_deref(), Some("TG001 warn spec.sessionStorage"));
    let edited = with(&renamed, "/spec/rateLimiting/global/maxTokens", json!(6));
    assert_eq!(tg001(&update(&old, &edited)).as_deref(), Some("TG001 deny spec.sessionStorage"));
    let other_storage = with(&renamed, "/spec/sessionStorage", json!({"provider": "memory"}));
    assert_eq!(tg001(&update(&old, &other_storage)).as_deref(), Some("TG001 deny spec.sessionStorage.provider"));
}

#[test]
fn sign_in_that_goes_while_per_user_stays_denies() {
    let old = with(&server(&json!({"perUser": good()})), "/spec/oidcConfigRef", json!({"name": "corp"}));
    let new = server(&json!({"perUser": good()}));
    assert_eq!(update(&old, &new), ["TG002 deny spec.rateLimiting.perUser"]);
    assert_eq!(update(&new, &new), ["TG002 warn spec.rateLimiting.perUser"]);
}

#[test]
fn limits_that_move_to_the_other_place_are_judged_anew() {
    let mut old = server(&json!({"global": no_tokens()}));
    old["kind"] = json!("VirtualMCPServer");
    let mut new = old.clone();
    new["spec"]["config"] = json!({"rateLimiting": new["spec"]["rateLimiting"].take()});
    assert_eq!(update(&old, &new), ["TG006 deny spec.config.rateLimiting.global.maxTokens"]);
}

#[test]
fn unusable_storage_denies_once_it_is_touched() {
    let old =
        with(&server(&json!({"global": good()})), "/spec/sessionStorage", json!({"provider": "redis", "db": -1, "address": "redis:6379"}));
    assert_eq!(update(&old, &old), ["TG009 warn spec.sessionStorage.db"]);
    let other_address = with(&old, "/spec/sessionStorage/address", json!("other:6379"));
    assert_eq!(update(&old, &other_address), ["TG009 deny spec.sessionStorage.db"]);
}

#[test]
fn an_old_disagreement_denies_once_either_side_changes() {
    let old = server(&json!({"shared": {"maxTokens": 1, "refillPeriod": "1m0s"}, "global": good()}));
    assert_eq!(update(&old, &old), ["TG008 warn spec.rateLimiting.shared", "TG101 warn spec.rateLimiting.shared"]);
    for scope in ["shared", "global"] {
        let new = with(&old, &format!("/spec/rateLimiting/{scope}/maxTokens"), json!(9));
        assert_eq!(update(&old, &new), ["TG008 deny spec.rateLimiting.shared", "TG101 warn spec.rateLimiting.shared"], "{scope}");
    }
}

#[test]
fn a_denied_shared_ratchets_like_every_fault() {
    let old = server(&json!({"shared": good()}));
    let judge = |new: &Value| {
        let found = check_update(&Context::new(subject(new)).shared_is_denied(true), &old);
        found.iter().map(|found| format!("{} {}", found.rule, level_name(found.level))).collect::<Vec<_>>()
    };
    assert_eq!(judge(&old), ["TG101 warn"]);
    assert_eq!(judge(&with(&old, "/spec/rateLimiting/shared/maxTokens", json!(6))), ["TG101 deny"]);
}

#[test]
fn null_and_absent_are_no_change() {
    let old = server(&json!({"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}, "tools": null}));
    let new = server(&json!({"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}, "global": null}));
    assert_eq!(update(&old, &new), ["TG002 warn spec.rateLimiting.perUser"]);
}

#[test]
fn an_old_object_of_any_shape_is_no_excuse() {
    let new = server(&json!({"global": no_tokens()}));
    for old in
        [json!({}), json!({"spec": null}), json!({"spec": {"rateLimiting": "none"}}), json!({"spec": {"rateLimiting": {"global": 5}}})]
    {
        assert_eq!(update(&old, &new), ["TG006 deny spec.rateLimiting.global.maxTokens"], "{old}");
    }
}
