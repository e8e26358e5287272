//! The rules, case by case: each folder of `tests/cases/rules` holds an object and every violation that is found in it, in order.
//!
//! A new case needs no code. A folder that starts with a rule's id shows where the rule speaks, or, next door, where it does not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tollgate::{
    model::{
        limits::Limits,
        subject::{Kind, RefKind, Subject},
    },
    rules::{Context, Effect, RULES, References, Violation, check},
};

/// One violation that a case expects.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    rule: String,
    level: String,
    path: String,
    message_contains: Option<String>,
}

pub fn read_object(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("a case's file");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub fn subject(object: &Value) -> Subject<'_> {
    let kind = object["kind"].as_str().and_then(Kind::from_name).expect("an object of one of our kinds");
    Subject::new(kind, object)
}

pub fn level_name(level: Effect) -> &'static str {
    match level {
        Effect::Deny => "deny",
        Effect::Warn => "warn",
    }
}

/// A violation without its message.
fn row(found: &Violation) -> String {
    format!("{} {} {}", found.rule, level_name(found.level), found.path)
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/rules");
    let mut cases: Vec<_> = fs::read_dir(root).expect("the cases").map(|entry| entry.expect("a case").path()).collect();
    assert!(cases.len() > 100, "the cases are gone");
    cases.sort();
    cases
}

fn name(case: &Path) -> &str {
    case.file_name().and_then(|name| name.to_str()).expect("a plain name")
}

fn wanted(case: &Path) -> Vec<Wanted> {
    let text = fs::read_to_string(case.join("want.yaml")).unwrap_or_else(|error| panic!("{}: want.yaml: {error}", name(case)));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: want.yaml: {error}", name(case)))
}

#[test]
fn every_case_finds_exactly_what_it_wants() {
    let mut failures = Vec::new();
    for case in cases() {
        let (object, wanted) = (read_object(&case.join("object.yaml")), wanted(&case));
        let found = check(&Context::new(subject(&object)));
        let want: Vec<_> = wanted.iter().map(|want| format!("{} {} {}", want.rule, want.level, want.path)).collect();
        let got: Vec<_> = found.iter().map(row).collect();
        if got != want {
            failures.push(format!("{}:\n  want {want:#?}\n  got {got:#?}", name(&case)));
            continue;
        }
        for (found, want) in found.iter().zip(&wanted) {
            let contains = want.message_contains.as_deref().unwrap_or_default();
            if !found.problem.to_string().contains(contains) {
                failures.push(format!("{}: {} says {:?}, not {contains:?}", name(&case), row(found), found.problem.to_string()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_message_is_one_line() {
    for case in cases() {
        for found in check(&Context::new(subject(&read_object(&case.join("object.yaml"))))) {
            let line = found.to_string();
            assert!(!line.contains(char::is_control), "{}: {line:?}", name(&case));
            assert!(!line.contains("hunter2"), "{}: a password is repeated: {line}", name(&case));
        }
    }
}

#[test]
fn limits_are_refused_exactly_where_a_rule_denies() {
    for case in cases() {
        let object = read_object(&case.join("object.yaml"));
        let denials = wanted(&case).iter().filter(|want| want.level == "deny").count();
        let limits = Limits::of(subject(&object));
        assert_eq!(limits.as_ref().err().map_or(0, Vec::len), denials, "{}: {limits:?}", name(&case));
        if let Ok(limits) = limits {
            assert_eq!(limits.is_some(), !subject(&object).blocks().is_empty(), "{}", name(&case));
        }
    }
}

#[test]
fn every_rule_has_a_case_and_a_neighbour() {
    let cases = cases();
    // TG106 needs a cluster: it has tests of its own below.
    for rule in RULES.iter().filter(|rule| rule.id != "TG106") {
        let own: Vec<_> = cases.iter().filter(|case| name(case).starts_with(&rule.id.to_lowercase())).collect();
        let speaks = |case: &&&PathBuf| wanted(case).iter().any(|want| want.rule == rule.id && want.level == level_name(rule.level));
        assert!(own.iter().any(|case| speaks(&case)), "{}: no case in which it speaks", rule.id);
        assert!(own.iter().any(|case| !speaks(&case)), "{}: no case in which it is silent", rule.id);
    }
}

#[test]
fn cases_cover_both_kinds_and_both_places() {
    let all: Vec<_> = cases().iter().map(|case| read_object(&case.join("object.yaml"))).collect();
    for kind in Kind::ALL {
        for place in kind.places() {
            let pointer = format!("/{}", place.join("/"));
            let here = all.iter().filter(|object| object["kind"] == kind.name() && object.pointer(&pointer).is_some());
            assert!(here.count() > 10, "{} {pointer}", kind.name());
        }
    }
}

#[test]
fn ids_are_in_order_and_say_their_level() {
    assert!(RULES.is_sorted_by(|a, b| a.id < b.id));
    for rule in &RULES {
        assert_eq!(rule.level == Effect::Deny, rule.id < "TG100", "{}", rule.id);
        assert!(!rule.says.is_empty() && !rule.says.contains('\n'), "{}", rule.id);
    }
}

fn with_tools(tools: Vec<Value>) -> Value {
    json!({"kind": "MCPServer", "spec": {
        "sessionStorage": {"provider": "redis", "address": "redis:6379"},
        "rateLimiting": {"global": {"maxTokens": 100, "refillPeriod": "1m0s"}, "tools": tools},
    }})
}

/// Ten thousand of anything must not take seconds: the API server waits for an answer. A slow machine's debug build is allowed for.
fn check_quickly(object: &Value) -> Vec<Violation> {
    let start = Instant::now();
    let found = check(&Context::new(subject(object)));
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    found
}

#[test]
fn ten_thousand_tools_are_judged_fast() {
    let good = (0..10_000).map(|i| json!({"name": format!("tool-{i}"), "global": {"maxTokens": 5, "refillPeriod": "1m0s"}}));
    assert_eq!(check_quickly(&with_tools(good.collect())), []);

    let bad = (0..10_000).map(|i| json!({"name": format!("tool-{i}"), "global": {"maxTokens": 0, "refillPeriod": "1m0s"}, "burst": 1}));
    let found = check_quickly(&with_tools(bad.collect()));
    assert_eq!(found.len(), 20_000);
    assert_eq!(row(&found[0]), "TG011 deny spec.rateLimiting.tools[0].burst");
    assert_eq!(row(&found[19_999]), "TG006 deny spec.rateLimiting.tools[9999].global.maxTokens");
}

#[test]
fn ten_thousand_tools_of_one_name_are_told_fast() {
    let same = vec![json!({"name": "a", "global": {"maxTokens": 5, "refillPeriod": "1m0s"}}); 10_000];
    let found = check_quickly(&with_tools(same));
    assert_eq!(found.len(), 9_999);
    assert_eq!(row(&found[0]), "TG005 deny spec.rateLimiting.tools[1].name");
    assert!(found.iter().all(|found| found.problem.fault.contains("tools[0]")));
}

/// A cluster that has only the objects named here, and cannot tell about Secrets unless it may look.
#[derive(Debug)]
struct Cluster {
    has: Vec<(RefKind, &'static str, &'static str)>,
    may_read_secrets: bool,
}

impl References for Cluster {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        (self.may_read_secrets || kind != RefKind::Secret).then(|| self.has.contains(&(kind, namespace, name)))
    }
}

fn references_found(cluster: &Cluster, object: &Value) -> Vec<String> {
    check(&Context::new(subject(object)).references(Some(cluster))).iter().map(ToString::to_string).collect()
}

fn with_references(kind: &str) -> Value {
    let sign_in = match kind {
        "MCPServer" => json!({"oidcConfigRef": {"name": "corp"}, "externalAuthConfigRef": {"name": "exchange"}}),
        _ => json!({"incomingAuth": {"type": "oidc", "oidcConfigRef": {"name": "corp"}}}),
    };
    let mut object = json!({"kind": kind, "metadata": {"namespace": "demo"}, "spec": sign_in});
    object["spec"]["sessionStorage"] =
        json!({"provider": "redis", "address": "redis:6379", "passwordRef": {"name": "redis", "key": "password"}});
    object["spec"]["rateLimiting"] = json!({"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}});
    object
}

#[test]
fn tg106_names_each_object_that_is_not_there() {
    let empty = Cluster { has: vec![], may_read_secrets: true };
    assert_eq!(
        references_found(&empty, &with_references("MCPServer")),
        [
            r#"TG106 spec.externalAuthConfigRef.name: MCPExternalAuthConfig "exchange" does not exist (yet)"#,
            r#"TG106 spec.oidcConfigRef.name: MCPOIDCConfig "corp" does not exist (yet)"#,
            r#"TG106 spec.sessionStorage.passwordRef.name: Secret "redis" does not exist (yet)"#,
        ]
    );
    assert_eq!(
        references_found(&empty, &with_references("VirtualMCPServer")),
        [
            r#"TG106 spec.incomingAuth.oidcConfigRef.name: MCPOIDCConfig "corp" does not exist (yet)"#,
            r#"TG106 spec.sessionStorage.passwordRef.name: Secret "redis" does not exist (yet)"#,
        ]
    );
}

#[test]
fn tg106_looks_in_the_objects_own_namespace() {
    let has = |namespace| vec![(RefKind::OidcConfig, namespace, "corp"), (RefKind::Secret, namespace, "redis")];
    let object = with_references("VirtualMCPServer");
    assert_eq!(references_found(&Cluster { has: has("demo"), may_read_secrets: true }, &object), [""; 0]);
    assert_eq!(references_found(&Cluster { has: has("other"), may_read_secrets: true }, &object).len(), 2);
}

#[test]
fn tg106_is_silent_about_what_it_cannot_tell() {
    let object = with_references("VirtualMCPServer");
    let blind = Cluster { has: vec![(RefKind::OidcConfig, "demo", "corp")], may_read_secrets: false };
    assert_eq!(references_found(&blind, &object), [""; 0]);
    assert_eq!(check(&Context::new(subject(&object))), [], "without a cluster, references are not checked");

    let empty = Cluster { has: vec![], may_read_secrets: true };
    let mut without_limits = object.clone();
    without_limits["spec"]["rateLimiting"] = Value::Null;
    assert_eq!(references_found(&empty, &without_limits), [""; 0], "without limits nothing is ours to say");
    let mut without_namespace = object;
    without_namespace["metadata"] = json!({});
    assert_eq!(references_found(&empty, &without_namespace), [""; 0], "without a namespace there is nowhere to look");
}

#[test]
fn shared_may_be_denied() {
    let object =
        read_object(&cases().into_iter().find(|case| name(case) == "tg101-warns-at-the-server").expect("the case").join("object.yaml"));
    let found = check(&Context::new(subject(&object)).shared_is_denied(true));
    assert_eq!(found.iter().map(row).collect::<Vec<_>>(), ["TG101 deny spec.rateLimiting.shared"]);
}
