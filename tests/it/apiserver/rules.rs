//! Rules, samples and old faults on the real API server.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::places::{Place, bucket};
use crate::support::{
    apiserver::{Cluster, Judging, MAIN, Names, crds, names},
    serve::wait_until,
};

fn manifest(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

fn redis() -> Value {
    json!({"provider": "redis", "address": "redis:6379"})
}

#[test]
fn every_rule_is_refused_by_its_id_at_every_place() {
    let namespace = MAIN.namespace("rules");
    let _webhook = MAIN.webhook(&namespace, &[]);
    for place in Place::ALL {
        let refused = |about: &str, spec: &dyn Fn(&mut Value), rule: &str, path: &str| {
            let mut object = place.with(&namespace, &json!({"global": bucket(10)}));
            spec(&mut object);
            let said = MAIN.apply(&object);
            assert!(!said.ok && said.stderr.contains(rule) && said.stderr.contains(path), "{place:?} {about}: {}", said.all());
        };
        let block = place.block();
        let path = block.trim_start_matches('/').replace('/', ".");
        let level = place.level();
        let at = |pointer: &str| pointer.trim_start_matches('/').replace("/tools/0", "/tools[0]").replace('/', ".");
        refused("no storage", &|o| drop(o["spec"].as_object_mut().unwrap().remove("sessionStorage")), "TG001", "spec.sessionStorage");
        refused("memory", &|o| o["spec"]["sessionStorage"]["provider"] = json!("memory"), "TG001", "spec.sessionStorage.provider");
        refused(
            "nobody signs in",
            &|o| {
                o["spec"].as_object_mut().unwrap().remove("oidcConfigRef");
                if place != Place::Server && place != Place::Tool {
                    o["spec"]["incomingAuth"]["type"] = json!("anonymous");
                }
                o.pointer_mut(level).unwrap()["perUser"] = bucket(1);
            },
            "TG002",
            &format!("{}.perUser", at(level)),
        );
        refused("an empty block", &|o| *o.pointer_mut(block).unwrap() = json!({}), "TG003", &path);
        refused(
            "an empty tool",
            &|o| o.pointer_mut(block).unwrap()["tools"] = json!([{"name": "idle"}]),
            "TG004",
            &format!("{path}.tools[0]"),
        );
        refused(
            "slow",
            &|o| o.pointer_mut(level).unwrap()["global"]["refillPeriod"] = json!("1 minute"),
            "TG007",
            &format!("{}.global.refillPeriod", at(level)),
        );
        refused("never", &|o| o.pointer_mut(level).unwrap()["global"]["refillPeriod"] = json!("0s"), "TG007", "must be longer than zero");
        refused("two words", &|o| o.pointer_mut(level).unwrap()["shared"] = bucket(11), "TG008", &format!("{}.shared", at(level)));
        refused("a URL", &|o| o["spec"]["sessionStorage"]["address"] = json!("redis://redis:6379"), "TG009", "spec.sessionStorage.address");
    }
    // The types, and that tools are a map by name, the schema always sees to itself.
    let said = |spec: Value| MAIN.apply(&manifest(&namespace, "x", json!({"sessionStorage": redis(), "rateLimiting": spec})));
    said(json!({"tools": [{"name": "a", "global": bucket(1)}, {"name": "a", "global": bucket(1)}]})).expect_refused(&["Duplicate"]);
    said(json!({"global": {"maxTokens": "5", "refillPeriod": "1s"}})).expect_refused(&["maxTokens"]);
    let mut both = Place::VirtualSpec.with(&namespace, &json!({"global": bucket(1)}));
    both["spec"]["config"] = json!({"rateLimiting": {"global": bucket(1)}});
    MAIN.apply(&both).expect_refused(&["TG010", "spec.config.rateLimiting"]);
}

#[test]
fn the_shipped_definitions_refuse_by_the_same_ids_without_a_webhook() {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::Yes, Names::Both));
    let namespace = cluster.namespace("cel");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples");
    let mut judged = 0;
    for (kind, is_good) in [("good", true), ("bad", false)] {
        for file in fs::read_dir(folder.join(kind)).expect("shipped").map(|file| file.expect("readable").path()) {
            let yaml = fs::read_to_string(&file).expect("readable");
            let said = cluster
                .kubectl_with(&["create", "--dry-run=server", "--validate=ignore", "-n", &namespace, "-f", "-"], &without_namespace(&yaml));
            let rules: Vec<_> = yaml.lines().filter_map(|line| line.strip_prefix("# expect: ")?.split(' ').next()).collect();
            // What CEL cannot say: durations, addresses, deprecation, fields that are pruned.
            let beyond = ["TG007", "TG009", "TG011", "TG012", "TG101"];
            if is_good || rules.iter().all(|rule| beyond.contains(rule)) {
                if is_good {
                    assert!(said.ok, "{}: {}", file.display(), said.all());
                }
                continue;
            }
            judged += 1;
            // The schema says itself what is wrong with a number or a name, in its own words.
            let by_schema = ["TG005", "TG006", "TG009"];
            let reported = rules.iter().any(|rule| by_schema.contains(rule) || said.stderr.contains(*rule));
            assert!(!said.ok && reported, "{}: {}", file.display(), said.all());
        }
    }
    assert!(judged >= 7, "only {judged} bad samples were judged");
}

fn without_namespace(yaml: &str) -> String {
    yaml.lines().filter(|line| !line.trim_start().starts_with("namespace:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn bad_samples_are_refused_and_good_ones_pass() {
    let namespace = MAIN.namespace("samples");
    let _webhook = MAIN.webhook(&namespace, &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples");
    for (kind, is_good) in [("good", true), ("bad", false)] {
        for file in fs::read_dir(folder.join(kind)).expect("shipped").map(|file| file.expect("readable").path()) {
            let yaml = fs::read_to_string(&file).expect("readable");
            let said = MAIN.kubectl_with(&["create", "--validate=ignore", "-n", &namespace, "-f", "-"], &without_namespace(&yaml));
            let rules: Vec<_> = yaml.lines().filter_map(|line| line.strip_prefix("# expect: ")?.split(' ').next()).collect();
            // The server prunes unknown fields, and its schema refuses some numbers and names, before a webhook sees them.
            if rules.contains(&"TG011") || rules.contains(&"TG012") {
                continue;
            }
            let by_schema = ["TG005", "TG006", "TG007", "TG009"];
            let reported = is_good || rules.iter().any(|rule| by_schema.contains(rule) || said.stderr.contains(*rule));
            assert!(said.ok == is_good && reported, "{}: {}", file.display(), said.all());
        }
    }
}

#[test]
fn old_faults_never_block_what_does_not_touch_them() {
    let namespace = MAIN.namespace("old");
    let place = Place::Server;
    let mut faulty = manifest(
        &namespace,
        "faulty",
        json!({
            "image": "example.com/mcp:1",
            "rateLimiting": {"perUser": bucket(3), "shared": {"maxTokens": 9, "refillPeriod": "1 minute"}},
        }),
    );
    faulty["metadata"]["finalizers"] = json!(["example.com/hold"]);
    MAIN.kubectl_with(&["create", "-f", "-"], &faulty.to_string()).expect_ok();
    let _webhook = MAIN.webhook(&namespace, &[]);
    let (kind, name, _) = names(&faulty);
    let object = || MAIN.get(&faulty);

    // A migrator puts the whole object back; the alias goes, the faults stay.
    MAIN.kubectl_with(&["replace", "-f", "-"], &object().to_string()).expect_ok();
    let stored = object();
    assert_eq!(stored.pointer(place.level()).and_then(|level| level.get("shared")), None);
    assert_eq!(stored["spec"]["rateLimiting"]["global"]["refillPeriod"], "1 minute");
    // Another part of the spec.
    let said = MAIN
        .kubectl(&["patch", &kind, &name, "-n", &namespace, "--type=merge", "-p", r#"{"spec":{"image":"example.com/mcp:2"}}"#])
        .expect_ok();
    assert!(["TG001", "TG002", "TG007"].iter().all(|rule| said.stderr.contains(rule)), "still told: {}", said.stderr);
    // The faulty part itself.
    MAIN.kubectl(&[
        "patch",
        &kind,
        &name,
        "-n",
        &namespace,
        "--type=merge",
        "-p",
        r#"{"spec":{"rateLimiting":{"global":{"refillPeriod":"2 minutes"}}}}"#,
    ])
    .expect_refused(&["TG007"]);
    // Deleting: the finalizer goes without a word.
    MAIN.kubectl(&["delete", &kind, &name, "-n", &namespace, "--wait=false"]).expect_ok();
    MAIN.kubectl(&["patch", &kind, &name, "-n", &namespace, "--type=json", "-p", r#"[{"op":"remove","path":"/metadata/finalizers"}]"#])
        .expect_ok();
    wait_until("the object is gone", || !MAIN.kubectl(&["get", &kind, &name, "-n", &namespace]).ok);
}

#[test]
fn status_writes_do_not_come_by() {
    let namespace = MAIN.namespace("status");
    let webhook = MAIN.webhook(&namespace, &[]);
    let object = Place::Server.with(&namespace, &json!({"global": bucket(10)}));
    MAIN.apply(&object).expect_ok();
    webhook.serve.signal("KILL");
    let (kind, name, _) = names(&object);
    let patch = r#"{"status":{"phase":"Ready"}}"#;
    MAIN.kubectl(&["patch", &kind, &name, "-n", &namespace, "--subresource=status", "--type=merge", "-p", patch]).expect_ok();
    // While the webhook is away, nothing that it should judge gets past, and everything else does.
    MAIN.apply(&Place::Server.with(&namespace, &json!({"global": bucket(11)}))).expect_refused(&["failed calling webhook"]);
    MAIN.kubectl(&["label", &kind, &name, "-n", &namespace, "a=b"]).expect_ok();
    MAIN.apply(&Place::VirtualSpec.bare(&namespace)).expect_ok();
}
