//! What prevents the rename: the mode, and a CRD that would drop `global`.

use serde_json::{Value, json};
use tollgate::model::{alias::Mode, operator::Operator, schema::Schema};

use super::{World, bucket, causes, create, json_with, limits, server, update, warnings};

fn shared() -> Value {
    server(&json!({"shared": bucket(5), "tools": [{"name": "a", "shared": bucket(1)}]}))
}

/// The OpenAPI v3 document of one version, whose limits have these keys at the server level and in tools.
fn document(version: &str, server: &[&str], tool: &[&str]) -> Value {
    let keys = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!({"type": "object"}))).collect::<serde_json::Map<_, _>>();
    let mut block = keys(server);
    block.insert("tools".to_owned(), json!({"items": {"properties": keys(tool)}}));
    let limits = json!({"rateLimiting": {"properties": block}});
    let mut spec = limits.clone();
    spec["config"] = json!({"properties": limits});
    let schemas = ["MCPServer", "VirtualMCPServer"].map(|kind| {
        let gvk = json!([{"group": "toolhive.stacklok.dev", "version": version, "kind": kind}]);
        (kind.to_owned(), json!({"x-kubernetes-group-version-kind": gvk, "properties": {"spec": {"properties": spec}}}))
    });
    json!({"components": {"schemas": schemas.into_iter().collect::<serde_json::Map<_, _>>()}})
}

const OLD: [&str; 2] = ["shared", "perUser"];
const NEW: [&str; 3] = ["shared", "global", "perUser"];

fn installed(v1alpha1: &Value, v1beta1: &Value) -> World {
    World { schema: Schema::installed([("v1alpha1", v1alpha1), ("v1beta1", v1beta1)]), ..World::default() }
}

/// A request that came in `sent` and is shown to us in `shown`.
fn converted(sent: &str, shown: &str) -> Value {
    let mut request = create(&shared());
    request["requestKind"]["version"] = json!(sent);
    request["kind"]["version"] = json!(shown);
    request
}

fn warnings_of_validate(world: &World, request: &Value) -> Vec<String> {
    let response = world.validate(request);
    assert_eq!(response["allowed"], true, "{response}");
    warnings(&response)
}

#[test]
fn without_an_operator_the_default_renames_in_both_versions() {
    assert_eq!(Mode::default(), Mode::Auto);
    for version in ["v1alpha1", "v1beta1"] {
        let mutated = World::auto(Operator::Absent).mutate(&converted(version, version));
        assert_eq!(limits(&mutated.object), &json!({"global": bucket(5), "tools": [{"name": "a", "global": bucket(1)}]}), "{version}");
    }
}

#[test]
fn warn_changes_nothing() {
    let world = World::mode(Mode::Warn);
    let mutated = world.mutate(&create(&shared()));
    assert_eq!((mutated.object, mutated.alias.as_str(), mutated.warnings), (shared(), "1", vec![]));
    assert_eq!(
        warnings_of_validate(&world, &create(&shared())),
        [
            "TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: --shared-alias is warn)",
            "TG101 spec.rateLimiting.tools[0].shared: deprecated, write global (not renamed: --shared-alias is warn)",
        ]
    );
}

#[test]
fn deny_refuses_shared_and_lets_an_old_one_stand() {
    let world = World::mode(Mode::Deny);
    assert_eq!(world.mutate(&create(&shared())).object, shared());
    let response = world.validate(&create(&shared()));
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(422)));
    assert_eq!(causes(&response), ["TG101 spec.rateLimiting.shared", "TG101 spec.rateLimiting.tools[0].shared"]);
    let global = server(&json!({"global": bucket(5)}));
    assert_eq!(world.validate(&create(&global))["allowed"], true);

    let labelled = json_with(&shared(), "metadata", json!({"labels": {"a": "b"}}));
    assert_eq!(warnings_of_validate(&world, &update(&shared(), &labelled)).len(), 2);
}

#[test]
fn a_crd_without_global_keeps_shared_and_says_so() {
    let world = World { schema: Schema::assuming(false), ..World::default() };
    let mutated = world.mutate(&create(&shared()));
    assert_eq!((mutated.object, mutated.alias.as_str()), (shared(), "1"));
    let reported = warnings_of_validate(&world, &create(&shared()));
    assert_eq!(reported[0], "TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: the installed CRD lacks global)");
}

#[test]
fn a_crd_that_is_not_read_yet_keeps_shared_and_says_so() {
    let world = World { schema: Schema::unread(), ..World::default() };
    assert_eq!(world.mutate(&create(&shared())).object, shared());
    let reported = warnings_of_validate(&world, &create(&shared()));
    assert_eq!(reported[0], "TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: the installed CRD is not read yet)");
}

#[test]
fn a_disagreement_is_refused_whatever_the_crd() {
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    for schema in [Schema::assuming(true), Schema::assuming(false), Schema::unread()] {
        assert_eq!(causes(&World { schema, ..World::default() }.validate(&create(&both))), ["TG008 spec.rateLimiting.shared"]);
    }
}

#[test]
fn every_version_that_the_object_passes_through_must_know_global() {
    let world = installed(&document("v1alpha1", &OLD, &OLD), &document("v1beta1", &NEW, &NEW));
    let renamed = |sent: &str, shown: &str| world.mutate(&converted(sent, shown)).object != shared();
    assert!(renamed("v1beta1", "v1beta1"));
    assert!(!renamed("v1alpha1", "v1alpha1"));
    assert!(!renamed("v1alpha1", "v1beta1"), "a v1alpha1 client would be answered without its limit");
    assert!(!renamed("v1beta1", "v1alpha1"));
    assert!(!renamed("v1beta2", "v1beta1"), "a version that nobody has read");

    let reported = warnings_of_validate(&world, &converted("v1alpha1", "v1beta1"));
    assert!(reported[0].ends_with("(not renamed: the installed CRD lacks global)"), "{reported:?}");

    let mut without_request_kind = converted("v1beta1", "v1beta1");
    without_request_kind["requestKind"] = Value::Null;
    assert_ne!(world.mutate(&without_request_kind).object, shared());
}

#[test]
fn each_level_asks_for_its_own_key() {
    let new = document("v1beta1", &NEW, &OLD);
    let mutated = installed(&new, &new).mutate(&create(&shared()));
    assert_eq!(limits(&mutated.object), &json!({"global": bucket(5), "tools": [{"name": "a", "shared": bucket(1)}]}));
    assert_eq!(mutated.alias, "1,3");

    let mut object = shared();
    object["kind"] = json!("VirtualMCPServer");
    object["spec"]["config"] = json!({"rateLimiting": object["spec"]["rateLimiting"].take()});
    let mutated = installed(&new, &new).mutate(&create(&object));
    let want = json!({"global": bucket(5), "tools": [{"name": "a", "shared": bucket(1)}]});
    assert_eq!(mutated.object["spec"]["config"]["rateLimiting"], want);
}
