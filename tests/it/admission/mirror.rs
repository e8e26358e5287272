//! Both names kept equal: because the mode says so, or because ToolHive's operator reads `shared` only.

use serde_json::{Value, json};
use tollgate::model::{alias::Mode, operator::Operator};

use super::{World, bucket, causes, create, json_with, limits, server, update, warnings};

const FINALIZER: &str = "mcpserver.toolhive.stacklok.dev/finalizer";

fn both(max_tokens: i64) -> Value {
    server(&json!({"shared": bucket(max_tokens), "global": bucket(max_tokens)}))
}

/// An object that kubectl applied with these limits in its manifest.
fn applied(object: &Value, manifest: &Value) -> Value {
    let text = server(manifest).to_string();
    let mut object = object.clone();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = text.into();
    object
}

fn is_mirrored(world: &World, object: &Value) -> bool {
    let mutated = world.mutate(&create(object));
    limits(&mutated.object).get("shared").is_some()
}

#[test]
fn the_default_mirrors_where_the_operator_may_read_shared_only() {
    let shared = server(&json!({"shared": bucket(5)}));
    for (operator, mirrors, because) in [
        (Operator::Absent, false, "renamed to global, as no ToolHive operator is at work"),
        (Operator::ReadsGlobal, false, "renamed to global, which ToolHive's operator reads"),
        (Operator::AtWork, true, "kept equal to global, as ToolHive's operator reads only shared"),
        (Operator::Unknown, true, "kept equal to global, as a ToolHive operator that reads only shared may be at work"),
    ] {
        let mutated = World::auto(operator).mutate(&create(&shared));
        let want = if mirrors { limits(&both(5)).clone() } else { json!({"global": bucket(5)}) };
        assert_eq!(limits(&mutated.object), &want, "{operator:?}");
        assert_eq!(mutated.warnings, [format!("TG101 spec.rateLimiting.shared: deprecated, {because}; write global")]);
    }
}

#[test]
fn the_finalizer_of_the_object_itself_is_evidence() {
    let mut managed = server(&json!({"shared": bucket(5)}));
    managed["metadata"]["finalizers"] = json!(["example.com/backup", FINALIZER]);
    assert!(is_mirrored(&World::auto(Operator::Absent), &managed));
    assert!(!is_mirrored(&World::auto(Operator::ReadsGlobal), &managed), "the administrator knows better");
    assert!(!is_mirrored(&World::mode(Mode::Rename), &managed), "an explicit mode stays as it is");
    managed["metadata"]["finalizers"] = json!(["mcpserver.example.com/finalizer"]);
    assert!(!is_mirrored(&World::auto(Operator::Absent), &managed));
}

#[test]
fn both_stay_equal_whichever_is_edited() {
    let world = World::mode(Mode::Mirror);
    let object = server(&json!({"shared": bucket(5), "tools": [{"name": "a", "shared": bucket(1)}]}));
    let mutated = world.mutate(&create(&object));
    let want = json!({"shared": bucket(5), "global": bucket(5), "tools": [{"name": "a", "shared": bucket(1), "global": bucket(1)}]});
    assert_eq!((limits(&mutated.object), mutated.alias.as_str()), (&want, "3"));
    assert_eq!(mutated.warnings[0], "TG101 spec.rateLimiting.shared: deprecated, kept equal to global; write global");

    let stored = mutated.object;
    for (edit, case) in [("shared", "4b"), ("global", "5b")] {
        let mut new = stored.clone();
        new["spec"]["rateLimiting"][edit]["maxTokens"] = json!(9);
        let mutated = world.mutate(&update(&stored, &new));
        assert_eq!((&limits(&mutated.object)["shared"], &limits(&mutated.object)["global"]), (&bucket(9), &bucket(9)), "{edit}");
        assert!(mutated.alias.contains(case), "{edit}: {}", mutated.alias);
    }
}

/// An object that was renamed before the operator came looks like one that always said `global`.
#[test]
fn a_global_alone_gets_its_shared() {
    let world = World::auto(Operator::AtWork);
    let global = server(&json!({"global": bucket(5), "tools": [{"name": "a", "global": bucket(1)}]}));
    let want = json!({"shared": bucket(5), "global": bucket(5), "tools": [{"name": "a", "shared": bucket(1), "global": bucket(1)}]});
    let labelled = json_with(&global, "metadata", json!({"name": "fetch", "namespace": "demo", "labels": {"a": "b"}}));
    for request in [create(&global), update(&global, &labelled)] {
        let mutated = world.mutate(&request);
        assert_eq!((limits(&mutated.object), mutated.alias.as_str()), (&want, "2c"));
        assert_eq!(mutated.warnings, [""; 0], "whoever writes global has nothing to change");
        assert_eq!(warnings(&world.validate(&create(&mutated.object))), [""; 0]);
    }
}

#[test]
fn a_warning_stays_while_the_manifest_says_shared() {
    let world = World::auto(Operator::AtWork);
    let stored = applied(&both(5), &json!({"shared": bucket(5)}));
    let reported = warnings(&world.validate(&update(&stored, &stored)));
    let why = "(kept equal to global, as ToolHive's operator reads only shared)";
    assert_eq!(reported, [format!("TG101 spec.rateLimiting.shared: deprecated, write global {why}")]);
}

#[test]
fn whoever_drops_the_one_name_drops_both() {
    for dropped in ["shared", "global"] {
        let stored = applied(&both(5), &json!({dropped: bucket(5), "perUser": bucket(1)}));
        let mut new = applied(&both(5), &json!({"perUser": bucket(1)}));
        new["spec"]["rateLimiting"].as_object_mut().expect("a map").remove(dropped);
        for operator in [Operator::AtWork, Operator::Absent] {
            let mutated = World::auto(operator).mutate(&update(&stored, &new));
            assert_eq!((mutated.object["spec"].get("rateLimiting"), mutated.alias.as_str()), (None, "2a"), "{dropped} {operator:?}");
            let left = if dropped == "shared" { "global" } else { "shared" };
            assert_eq!(mutated.warnings, [format!("TG101 spec.rateLimiting.{left}: removed, as {dropped} was dropped from the manifest")]);
        }
    }
}

/// A request that takes one name away and says nothing of who declares it: a limit too many is better than none.
#[test]
fn a_name_that_no_one_is_known_to_drop_comes_back() {
    let world = World::auto(Operator::AtWork);
    for dropped in ["shared", "global"] {
        let mut new = both(5);
        new["spec"]["rateLimiting"].as_object_mut().expect("a map").remove(dropped);
        let mutated = world.mutate(&update(&both(5), &new));
        assert_eq!(limits(&mutated.object), limits(&both(5)), "{dropped}");
        let said = mutated.warnings[0].contains("remove both names to remove the limit");
        assert_eq!(said, dropped == "shared", "{:?}", mutated.warnings);
    }
}

#[test]
fn a_disagreement_is_still_refused() {
    let object = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    let world = World::auto(Operator::AtWork);
    assert_eq!(world.mutate(&create(&object)).object, object);
    assert_eq!(causes(&world.validate(&create(&object))), ["TG008 spec.rateLimiting.shared"]);
}

#[test]
fn limits_that_the_operator_does_not_read_are_warned_of_where_mirror_may_not_act() {
    let unread = "TG107 spec.rateLimiting.global: ToolHive's operator reads only shared, so this limit is not enforced: write shared with the \
                  same limit too";
    let global = server(&json!({"global": bucket(5)}));
    let mut opted_out = global.clone();
    opted_out["metadata"]["annotations"] = json!({"tollgate.dev/shared-alias": "keep"});
    for (mode, object) in [(Mode::Rename, &global), (Mode::Warn, &global), (Mode::Deny, &global), (Mode::Auto, &opted_out)] {
        let mut world = World::auto(Operator::AtWork);
        world.policy.mode = mode;
        let stored = world.mutate(&create(object)).object;
        assert_eq!(warnings(&world.validate(&create(&stored))), [unread], "{mode:?}");
        world.policy.operator = Operator::ReadsGlobal;
        assert_eq!(warnings(&world.validate(&create(&stored))), [""; 0], "{mode:?}");
    }

    let mut virtual_server = global.clone();
    virtual_server["kind"] = json!("VirtualMCPServer");
    let reported = warnings(&World::auto(Operator::AtWork).validate(&create(&virtual_server)));
    let place = "TG107 spec.rateLimiting: ToolHive's operator does not read limits here, so they are not enforced: write them at \
                 spec.config.rateLimiting";
    assert_eq!(reported, [place]);
}
