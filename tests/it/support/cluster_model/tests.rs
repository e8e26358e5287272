//! Facts about the real server and its clients that the model must reproduce.

use super::fields::FieldSet;
use super::{Cluster, Crd, Hook, LAST_APPLIED, NoHook, Op, Outcome, Refused, Request, canonical, limits};
use serde_json::{Value, json};

fn bucket(max_tokens: u32) -> Value {
    json!({"maxTokens": max_tokens, "refillPeriod": "1m0s"})
}

fn server(limits: Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "kind": "MCPServer",
        "metadata": {"name": "weather", "namespace": "default"},
        "spec": {"image": "x", "rateLimiting": limits},
    })
}

fn client_apply(limits: Value) -> Op {
    Op::ClientApply { manifest: server(limits) }
}

fn apply(manager: &str, limits: Value) -> Op {
    Op::ServerApply { manifest: server(limits), manager: manager.to_owned(), force: false }
}

fn forced(manager: &str, limits: Value) -> Op {
    Op::ServerApply { manifest: server(limits), manager: manager.to_owned(), force: true }
}

fn patch(limits: Value) -> Op {
    Op::MergePatch { patch: json!({"spec": {"rateLimiting": limits}}), manager: "kubectl-patch".to_owned() }
}

fn cluster() -> Cluster<NoHook> {
    Cluster::new(Crd::BOTH, NoHook)
}

fn run<H: Hook>(cluster: &mut Cluster<H>, op: &Op) -> Outcome {
    cluster.run(op).unwrap_or_else(|refused| panic!("{op:?}: {refused:?}"))
}

fn rate_limiting<H: Hook>(cluster: &Cluster<H>) -> Value {
    cluster.live().expect("an object is stored")["spec"]["rateLimiting"].clone()
}

/// The `f:rateLimiting` part of what a manager owns.
fn owned<H: Hook>(cluster: &Cluster<H>, manager: &str, operation: &str) -> Value {
    let live = cluster.live().expect("an object is stored");
    let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.into_iter().find(|entry| entry["manager"] == manager && entry["operation"] == operation);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"]["f:spec"]["f:rateLimiting"].clone())
}

/// Says `global` where the request says `shared`, and does nothing about ownership.
struct PlainRename;

impl Hook for PlainRename {
    fn mutate(&self, request: &Request) -> Result<Value, String> {
        let mut object = request.object.clone();
        if let Some(block) = object.pointer_mut("/spec/rateLimiting").and_then(Value::as_object_mut)
            && let Some(shared) = block.remove("shared")
        {
            block.insert("global".to_owned(), shared);
        }
        Ok(object)
    }

    fn validate(&self, _: &Request) -> Result<(), String> {
        Ok(())
    }
}

/// Hands out managedFields that cannot be read, and refuses an image named `bad`.
struct Broken;

impl Hook for Broken {
    fn mutate(&self, request: &Request) -> Result<Value, String> {
        let mut object = request.object.clone();
        object["metadata"]["managedFields"][0]["fieldsV1"] = json!({"no colon": {}});
        Ok(object)
    }

    fn validate(&self, request: &Request) -> Result<(), String> {
        if request.object["spec"]["image"] == "bad" { Err("bad image".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn client_apply_after_a_plain_rename_adds_shared_again() {
    let mut cluster = Cluster::new(Crd::BOTH, PlainRename);
    run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    assert_eq!(rate_limiting(&cluster), json!({"global": bucket(1)}));
    assert_eq!(owned(&cluster, "kubectl-client-side-apply", "Update")["f:global"], Value::Null);

    let again = run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    let seen = again.request.expect("kubectl sends a patch").object;
    assert_eq!(seen["spec"]["rateLimiting"], json!({"global": bucket(1), "shared": bucket(1)}));
}

#[test]
fn client_apply_of_the_same_manifest_sends_nothing() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    assert_eq!(
        run(&mut cluster, &client_apply(json!({"shared": bucket(1)}))),
        Outcome { changed: false, request: None, managed_fields_reset: false }
    );
}

#[test]
fn client_apply_deletes_only_what_its_last_manifest_had() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1), "perUser": bucket(2)})));
    run(&mut cluster, &patch(json!({"global": bucket(3)})));
    run(&mut cluster, &client_apply(json!({"perUser": bucket(2)})));
    assert_eq!(rate_limiting(&cluster), json!({"global": bucket(3), "perUser": bucket(2)}));
}

#[test]
fn the_annotation_is_sorted_compact_json_with_a_line_end() {
    let mut cluster = cluster();
    run(
        &mut cluster,
        &Op::ClientApply { manifest: json!({"kind": "K", "apiVersion": "g/v1", "metadata": {"name": "x"}, "spec": {"b": 1, "a": 2}}) },
    );
    let live = cluster.live().expect("an object is stored");
    let want = "{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"annotations\":{},\"name\":\"x\"},\"spec\":{\"a\":2,\"b\":1}}\n";
    assert_eq!(live["metadata"]["annotations"][LAST_APPLIED], want);
}

#[test]
fn a_created_object_is_owned_as_the_server_writes_it() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1), "tools": [{"name": "s", "perUser": bucket(2)}]})));
    let live = cluster.live().expect("an object is stored");
    let leaves = json!({".": {}, "f:maxTokens": {}, "f:refillPeriod": {}});
    let want = json!([{
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "time": super::ownership::TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:annotations": {".": {}, (format!("f:{LAST_APPLIED}")): {}}},
            "f:spec": {
                ".": {},
                "f:image": {},
                "f:rateLimiting": {
                    ".": {},
                    "f:shared": leaves,
                    "f:tools": {".": {}, "k:{\"name\":\"s\"}": {".": {}, "f:name": {}, "f:perUser": leaves}},
                },
            },
        },
    }]);
    assert_eq!(live["metadata"]["managedFields"], want);
    assert_eq!((&live["metadata"]["generation"], &live["metadata"]["resourceVersion"]), (&json!(1), &json!("1")));
}

#[test]
fn an_applied_object_is_owned_by_leaves_and_items() {
    let mut cluster = cluster();
    run(&mut cluster, &apply("flux", json!({"tools": [{"name": "s", "shared": bucket(1)}]})));
    let leaves = json!({"f:maxTokens": {}, "f:refillPeriod": {}});
    let item = json!({".": {}, "f:name": {}, "f:shared": leaves});
    assert_eq!(owned(&cluster, "flux", "Apply"), json!({"f:tools": {"k:{\"name\":\"s\"}": item}}));
}

#[test]
fn server_apply_prunes_what_it_no_longer_says() {
    let mut cluster = cluster();
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1), "perUser": bucket(2), "tools": [{"name": "a", "shared": bucket(3)}]})));
    run(&mut cluster, &apply("flux", json!({"perUser": bucket(2)})));
    assert_eq!(rate_limiting(&cluster), json!({"perUser": bucket(2)}));
}

#[test]
fn server_apply_again_is_a_no_op() {
    let mut cluster = cluster();
    let op = apply("flux", json!({"shared": bucket(1), "tools": [{"name": "b", "shared": bucket(1)}, {"name": "a", "shared": bucket(1)}]}));
    assert!(run(&mut cluster, &op).changed);
    let before = cluster.live();
    let again = run(&mut cluster, &op);
    assert!(!again.changed && again.request.is_some(), "the hook is asked, nothing is written");
    assert_eq!(cluster.live(), before);
}

#[test]
fn an_apply_orders_the_tools_as_it_says_them() {
    let mut cluster = cluster();
    let tools = |names: &[&str]| json!({"tools": names.iter().map(|name| json!({"name": name, "shared": bucket(1)})).collect::<Vec<_>>()});
    run(&mut cluster, &apply("flux", tools(&["a", "x", "b"])));
    run(&mut cluster, &apply("argocd", tools(&["b", "n", "a"])));
    assert_eq!(rate_limiting(&cluster), tools(&["x", "b", "n", "a"]));
}

#[test]
fn field_sets_survive_reading_and_writing() {
    let item = "k:{\"name\":\"a \\\"quoted\\\" one\"}";
    let fields = json!({"f:a": {".": {}, "f:b": {}}, "f:list": {item: {".": {}, "f:name": {}}, "i:3": {}, "v:\"x\"": {}}});
    assert_eq!(FieldSet::decode(&fields).map(|set| set.encode()), Ok(fields));
    assert_eq!(FieldSet::decode(&json!({"f:a": {"z:later": {}}})).map(|set| set.encode()), Ok(json!({"f:a": {}})));
    assert!(matches!(FieldSet::decode(&json!({"f:a": {"k:nonsense": {}}})), Err(why) if why.starts_with("k:nonsense: ")));
}

#[test]
fn equal_values_are_owned_together_and_outlive_one_owner() {
    let mut cluster = cluster();
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1), "perUser": bucket(2)})));
    run(&mut cluster, &apply("argocd", json!({"shared": bucket(1)})));
    assert_eq!(owned(&cluster, "flux", "Apply")["f:shared"], owned(&cluster, "argocd", "Apply")["f:shared"]);
    run(&mut cluster, &apply("flux", json!({"perUser": bucket(2)})));
    assert_eq!(rate_limiting(&cluster), json!({"shared": bucket(1), "perUser": bucket(2)}));
}

#[test]
fn a_conflict_names_the_manager_and_the_field_and_changes_nothing() {
    let mut cluster = cluster();
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1), "tools": [{"name": "a", "shared": bucket(1)}]})));
    let before = cluster.live();
    let other = json!({"shared": bucket(2), "tools": [{"name": "a", "shared": bucket(2)}]});
    let field = ".spec.rateLimiting.shared.maxTokens".to_owned();
    let item = ".spec.rateLimiting.tools[name=\"a\"].shared.maxTokens".to_owned();
    let want = Refused::Conflict { managers: vec!["flux".to_owned()], fields: vec![field, item] };
    assert_eq!(cluster.run(&apply("argocd", other.clone())), Err(want));
    assert_eq!(cluster.live(), before);

    run(&mut cluster, &forced("argocd", other));
    assert_eq!(owned(&cluster, "flux", "Apply")["f:shared"], json!({"f:refillPeriod": {}}));
}

#[test]
fn an_update_takes_what_it_changes_and_only_that() {
    let mut cluster = cluster();
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1), "perUser": bucket(1)})));
    run(&mut cluster, &patch(json!({"shared": {"maxTokens": 5}, "perUser": null})));
    assert_eq!(owned(&cluster, "flux", "Apply"), json!({"f:shared": {"f:refillPeriod": {}}}));
    assert_eq!(owned(&cluster, "kubectl-patch", "Update"), json!({"f:shared": {"f:maxTokens": {}}}));
}

#[test]
fn a_field_that_the_object_lacks_stays_owned_and_can_conflict() {
    let mut cluster = Cluster::new(Crd::BOTH, PlainRename);
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1)})));
    assert_eq!(rate_limiting(&cluster), json!({"global": bucket(1)}));
    let stale = json!({"f:shared": {"f:maxTokens": {}, "f:refillPeriod": {}}});
    run(&mut cluster, &Op::Label { key: "a".to_owned(), value: "b".to_owned() });
    assert_eq!(owned(&cluster, "flux", "Apply"), stale);
    let refused = cluster.run(&apply("argocd", json!({"shared": bucket(1)})));
    assert!(matches!(refused, Err(Refused::Conflict { managers, .. }) if managers == ["flux"]));
}

#[test]
fn a_merge_patch_replaces_lists_and_merges_maps() {
    let mut cluster = cluster();
    run(
        &mut cluster,
        &apply("flux", json!({"perUser": bucket(1), "tools": [{"name": "a", "shared": bucket(1)}, {"name": "b", "shared": bucket(1)}]})),
    );
    run(&mut cluster, &patch(json!({"perUser": {"maxTokens": 9}, "tools": [{"name": "b", "shared": bucket(2), "global": null}]})));
    assert_eq!(rate_limiting(&cluster), json!({"perUser": bucket(9), "tools": [{"name": "b", "shared": bucket(2)}]}));
}

#[test]
fn helm_sends_the_difference_of_its_charts() {
    let mut cluster = cluster();
    let (old, new) = (json!({"shared": bucket(1), "perUser": bucket(1)}), json!({"shared": bucket(2), "perUser": bucket(1)}));
    run(&mut cluster, &Op::Create { manifest: server(json!({"global": bucket(7), "perUser": bucket(7)})) });
    let upgrade = Op::HelmUpgrade { previous: server(old), next: server(new) };
    let refused = cluster.run(&upgrade);
    assert_eq!(refused, Err(Refused::Schema("spec.rateLimiting.shared: must have an integer maxTokens and a refillPeriod".to_owned())));

    run(&mut cluster, &patch(json!({"shared": bucket(8)})));
    run(&mut cluster, &upgrade);
    assert_eq!(rate_limiting(&cluster), json!({"global": bucket(7), "perUser": bucket(7), "shared": bucket(2)}));
}

#[test]
fn put_drops_what_the_manifest_lacks_and_keeps_who_owns_the_rest() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    run(
        &mut cluster,
        &Op::Put { manifest: server(json!({"shared": bucket(1), "perUser": bucket(2)})), manager: "kubectl-replace".to_owned() },
    );
    let live = cluster.live().expect("an object is stored");
    assert_eq!(live["metadata"].get("annotations"), None);
    assert_eq!((&live["metadata"]["generation"], &live["metadata"]["resourceVersion"]), (&json!(2), &json!("2")));
    assert_eq!(owned(&cluster, "kubectl-client-side-apply", "Update").get("f:perUser"), None);
    assert_ne!(owned(&cluster, "kubectl-client-side-apply", "Update")["f:shared"], Value::Null);

    assert!(!run(&mut cluster, &Op::PutBack).changed);
}

#[test]
fn kubectl_may_take_over_from_its_own_client_side_apply() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    assert!(matches!(cluster.run(&apply("flux", json!({"shared": bucket(2)}))), Err(Refused::Conflict { .. })));
    run(&mut cluster, &apply("kubectl", json!({"shared": bucket(2)})));
    let live = cluster.live().expect("an object is stored");
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().expect("the annotation is kept up to date");
    assert_eq!(serde_json::from_str::<Value>(text).expect("it is JSON"), server(json!({"shared": bucket(2)})));
}

#[test]
fn an_apply_that_empties_a_map_of_another_manager_leaves_a_null_that_is_refused() {
    let mut cluster = cluster();
    run(&mut cluster, &Op::Create { manifest: server(json!({"shared": bucket(1)})) });
    run(&mut cluster, &forced("flux", json!({"shared": {"maxTokens": 2, "refillPeriod": "2m0s"}})));
    let refused = cluster.run(&apply("flux", json!({})));
    assert_eq!(refused, Err(Refused::Schema("spec.rateLimiting.shared: must not be null".to_owned())));
}

#[test]
fn a_key_unknown_to_the_crd_is_pruned_on_the_way_in_and_on_reading() {
    let mut cluster = Cluster::new(Crd::SHARED_ONLY, NoHook);
    run(&mut cluster, &Op::Create { manifest: server(json!({"global": bucket(1), "perUser": bucket(2)})) });
    assert_eq!(rate_limiting(&cluster), json!({"perUser": bucket(2)}));
    let refused = cluster.run(&apply("flux", json!({"global": bucket(1)})));
    assert_eq!(refused, Err(Refused::Schema(".global: field not declared in schema".to_owned())));

    let mut renaming = cluster.with_hook(PlainRename);
    run(&mut renaming, &patch(json!({"shared": bucket(3)})));
    assert_eq!(rate_limiting(&renaming), json!({"perUser": bucket(2)}), "the limit is lost");
    renaming.crd = Crd::BOTH;
    assert_eq!(rate_limiting(&renaming), json!({"perUser": bucket(2), "global": bucket(3)}), "and comes back with the new CRD");
}

#[test]
fn the_review_never_says_patch_nor_force() {
    let mut cluster = cluster();
    let options = |outcome: Outcome| outcome.request.expect("a request was sent").options;
    let created = options(run(&mut cluster, &forced("flux", json!({"shared": bucket(1)}))));
    assert_eq!(created, json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "flux"}));
    let updated = options(run(&mut cluster, &forced("flux", json!({"shared": bucket(2)}))));
    assert_eq!(updated, json!({"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions", "fieldManager": "flux"}));
    let put_back = options(run(&mut cluster, &Op::PutBack));
    assert_eq!(put_back, json!({"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"}));
}

#[test]
fn unreadable_managed_fields_of_a_hook_are_put_back() {
    let mut cluster = Cluster::new(Crd::BOTH, Broken);
    let outcome = run(&mut cluster, &apply("flux", json!({"shared": bucket(1)})));
    assert!(outcome.managed_fields_reset);
    assert_ne!(owned(&cluster, "flux", "Apply")["f:shared"], Value::Null);
    let image = Op::MergePatch { patch: json!({"spec": {"image": "bad"}}), manager: "m".to_owned() };
    assert_eq!(cluster.run(&image), Err(Refused::Denied("bad image".to_owned())));
}

#[test]
fn stripped_managed_fields_stay_stripped_until_an_apply() {
    let mut cluster = cluster();
    run(&mut cluster, &client_apply(json!({"shared": bucket(1)})));
    run(&mut cluster, &Op::MergePatch { patch: json!({"metadata": {"managedFields": [{}]}}), manager: "m".to_owned() });
    run(&mut cluster, &patch(json!({"perUser": bucket(1)})));
    assert_eq!(cluster.live().expect("an object is stored")["metadata"].get("managedFields"), None);
    run(&mut cluster, &apply("flux", json!({"shared": bucket(1)})));
    assert_ne!(owned(&cluster, "before-first-apply", "Update")["f:perUser"], Value::Null);
}

#[test]
fn who_may_create_and_who_may_not() {
    assert_eq!(cluster().run(&patch(json!({}))), Err(Refused::NotFound));
    assert_eq!(cluster().run(&Op::PutBack), Err(Refused::NotFound));
    assert_eq!(cluster().run(&Op::Label { key: "a".to_owned(), value: "b".to_owned() }), Err(Refused::NotFound));
    let mut cluster = cluster();
    let create = Op::Create { manifest: server(json!({"shared": bucket(1)})) };
    run(&mut cluster, &create);
    assert_eq!(cluster.run(&create), Err(Refused::AlreadyExists));
    let twice = json!({"tools": [{"name": "a", "shared": bucket(1)}, {"name": "a", "shared": bucket(1)}]});
    let refused = cluster.run(&patch(twice));
    assert_eq!(refused, Err(Refused::Schema("spec.rateLimiting.tools: duplicate value".to_owned())));
}

#[test]
fn the_canonical_operation_says_global_at_every_place() {
    let said = json!({"spec": {
        "rateLimiting": {"shared": {"maxTokens": 1}, "global": {"maxTokens": 2, "refillPeriod": "1s"}, "tools": [{"name": "a", "shared": null}]},
        "config": {"rateLimiting": {"shared": bucket(3), "tools": [{"name": "b", "shared": bucket(4)}]}},
    }});
    let meant = json!({"spec": {
        "rateLimiting": {"global": {"maxTokens": 1, "refillPeriod": "1s"}, "tools": [{"name": "a", "global": null}]},
        "config": {"rateLimiting": {"global": bucket(3), "tools": [{"name": "b", "global": bucket(4)}]}},
    }});
    let op = |patch: Value| Op::MergePatch { patch, manager: "m".to_owned() };
    assert_eq!(canonical(&op(said)), op(meant));
}

#[test]
fn limits_read_the_alias_sort_the_tools_and_forget_what_is_empty() {
    let object = json!({"spec": {
        "rateLimiting": {"shared": bucket(1), "tools": [{"name": "b", "shared": bucket(2)}, {"name": "a", "global": bucket(3), "shared": bucket(9)}, {"name": "c"}]},
        "config": {"rateLimiting": {}},
    }});
    let tools = json!({"a": {"global": bucket(3)}, "b": {"global": bucket(2)}});
    assert_eq!(limits(&object), json!({"spec.rateLimiting": {"global": bucket(1), "tools": tools}}));
}
