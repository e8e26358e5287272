//! Ownership moves with the value: managed fields and kubectl's annotation, as the API server hands them to a webhook.

use serde_json::{Value, json};

use tollgate::model::alias::Mode;

use super::{World, apply_of, bucket, create, json_with, server, update};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All of a bucket, as an entry that created it holds it.
fn whole() -> Value {
    json!({".": {}, "f:maxTokens": {}, "f:refillPeriod": {}})
}

/// One entry of `metadata.managedFields`, owning this much of the limits.
fn entry(manager: &str, operation: &str, limits: &Value) -> Value {
    json!({
        "manager": manager,
        "operation": operation,
        "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:image": {}, "f:rateLimiting": limits}},
    })
}

fn with_fields(object: &Value, entries: &[Value]) -> Value {
    let mut object = object.clone();
    object["metadata"]["managedFields"] = entries.into();
    object
}

fn with_annotation(object: &Value, text: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["annotations"] = json!({ANNOTATION: text, "other": "stays"});
    object
}

fn fields(object: &Value) -> &Value {
    &object["metadata"]["managedFields"]
}

/// kubectl's own text: compact, its key order, a newline at the end.
fn manifest(limits: &str) -> String {
    format!(
        r#"{{"apiVersion":"toolhive.stacklok.dev/v1beta1","kind":"MCPServer","metadata":{{"annotations":{{}},"name":"fetch","namespace":"demo"}},"spec":{{"image":"a\u003cb","rateLimiting":{limits},"sessionStorage":{{"address":"redis:6379","provider":"redis"}}}}}}
"#
    )
}

const SHARED: &str =
    r#"{"shared":{"maxTokens":5,"refillPeriod":"1m0s"},"tools":[{"name":"a","shared":{"maxTokens":1,"refillPeriod":"1m0s"}}]}"#;

fn applied(scope: &str, max_tokens: i64) -> Value {
    server(&json!({scope: bucket(max_tokens), "tools": [{"name": "a", scope: bucket(1)}]}))
}

/// What owns all of [`applied`], at both levels.
fn owns(scope: &str) -> Value {
    json!({".": {}, format!("f:{scope}"): whole(), "f:tools": {".": {}, "k:{\"name\":\"a\"}": {".": {}, "f:name": {}, format!("f:{scope}"): whole()}}})
}

/// An object as client-side apply sends it: value, annotation, entry.
fn client_side(scope: &str, max_tokens: i64, text: &str) -> Value {
    let object = with_annotation(&applied(scope, max_tokens), text);
    with_fields(&object, &[entry("kubectl-client-side-apply", "Update", &owns(scope))])
}

fn client_side_shared() -> Value {
    client_side("shared", 5, &manifest(SHARED))
}

fn client_side_stored() -> Value {
    client_side("global", 5, &manifest(&SHARED.replace("shared", "global")))
}

#[test]
fn client_side_create_is_stored_as_if_it_had_said_global() {
    assert_eq!(World::default().mutate(&create(&client_side_shared())).object, client_side_stored());
}

#[test]
fn client_side_reapply_changes_nothing() {
    // kubectl compared the renamed annotation with the manifest: it removed global and added shared.
    let mutated = World::default().mutate(&update(&client_side_stored(), &client_side_shared()));
    assert_eq!(mutated.object, client_side_stored());
    assert_eq!(mutated.alias, "3");
}

#[test]
fn client_side_edit_is_stored_as_if_it_had_said_global() {
    let text = manifest(&SHARED.replacen('5', "9", 1));
    let mutated = World::default().mutate(&update(&client_side_stored(), &client_side("shared", 9, &text)));
    assert_eq!(mutated.object, client_side("global", 9, &text.replace("shared", "global")));
}

#[test]
fn the_annotation_stays_byte_for_byte_but_for_the_key() {
    let mutated = World::default().mutate(&create(&client_side_shared()));
    let text = mutated.object["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    assert_eq!(text, manifest(&SHARED.replace("shared", "global")));
    assert!(text.ends_with("}\n") && text.contains(r"a\u003cb"));
}

#[test]
fn an_annotation_that_is_no_manifest_stays() {
    for text in ["", "{", "[]", r#"{"spec":5}"#, r#"{"spec":{"rateLimiting":{"global":{}}}}"#] {
        let object = with_annotation(&applied("shared", 5), text);
        assert_eq!(World::default().mutate(&create(&object)).object, with_annotation(&applied("global", 5), text), "{text}");
    }
}

#[test]
fn server_side_create_is_stored_as_if_it_had_said_global() {
    let sent = with_fields(&applied("shared", 5), &[entry("argocd", "Apply", &owns("shared"))]);
    let stored = with_fields(&applied("global", 5), &[entry("argocd", "Apply", &owns("global"))]);
    assert_eq!(World::default().mutate(&apply_of("argocd", false, create(&sent))).object, stored);
}

#[test]
fn server_side_reapply_changes_nothing() {
    let stored = with_fields(&applied("global", 5), &[entry("argocd", "Apply", &owns("global"))]);
    let sent = with_fields(&applied("shared", 5), &[entry("argocd", "Apply", &owns("shared"))]);
    assert_eq!(World::default().mutate(&apply_of("argocd", false, update(&stored, &sent))).object, stored);
}

#[test]
fn server_side_apply_of_a_shared_limit_leaves_both_owners() {
    // Another manager owns global with the same value: an apply of global would have made two owners of one value.
    let limits = |scope: &str| json!({format!("f:{scope}"): {"f:maxTokens": {}, "f:refillPeriod": {}}});
    let helm = entry("helm", "Update", &limits("global"));
    let old = with_fields(&server(&json!({"global": bucket(5)})), std::slice::from_ref(&helm));
    let sent = with_fields(
        &server(&json!({"global": bucket(5), "shared": bucket(5)})),
        &[entry("argocd", "Apply", &limits("shared")), helm.clone()],
    );
    let mutated = World::default().mutate(&apply_of("argocd", false, update(&old, &sent)));
    assert_eq!(fields(&mutated.object), &json!([entry("argocd", "Apply", &limits("global")), helm]));
}

#[test]
fn a_forced_apply_takes_changed_leaves_from_the_others() {
    let limits = |scope: &str, leaves: Value| json!({format!("f:{scope}"): leaves});
    let both = json!({"f:maxTokens": {}, "f:refillPeriod": {}});
    let helm = entry("helm", "Update", &limits("global", both.clone()));
    let old = with_fields(&server(&json!({"global": bucket(5)})), std::slice::from_ref(&helm));
    let sent = with_fields(
        &server(&json!({"global": bucket(5), "shared": bucket(9)})),
        &[entry("argocd", "Apply", &limits("shared", both.clone())), helm],
    );
    let mutated = World::default().mutate(&apply_of("argocd", true, update(&old, &sent)));
    let want =
        [entry("argocd", "Apply", &limits("global", both)), entry("helm", "Update", &limits("global", json!({"f:refillPeriod": {}})))];
    assert_eq!(fields(&mutated.object), &json!(want));
}

#[test]
fn an_updater_gets_the_leaves_that_it_changed() {
    // helm upgrade with a changed maxTokens: a merge patch of shared over a stored global that kubectl owns.
    let kubectl = json!({"f:global": {"f:maxTokens": {}, "f:refillPeriod": {}}});
    let old = with_fields(&server(&json!({"global": bucket(5)})), &[entry("kubectl", "Apply", &kubectl)]);
    let sent = with_fields(
        &server(&json!({"global": bucket(5), "shared": {"maxTokens": 9, "refillPeriod": "1m0s"}})),
        &[entry("kubectl", "Apply", &kubectl), entry("helm", "Update", &json!({"f:shared": whole()}))],
    );
    let mutated = World::default().mutate(&update(&old, &sent));
    let want = [
        entry("kubectl", "Apply", &json!({"f:global": {"f:refillPeriod": {}}})),
        entry("helm", "Update", &json!({"f:global": {"f:maxTokens": {}}})),
    ];
    assert_eq!(fields(&mutated.object), &json!(want));
}

#[test]
fn an_entry_left_empty_goes() {
    let only = |manager: &str, limits: Value| json!({"manager": manager, "operation": "Update", "apiVersion": "toolhive.stacklok.dev/v1beta1", "fieldsV1": {"f:spec": {"f:rateLimiting": limits}}});
    let old = with_fields(
        &server(&json!({"global": bucket(5)})),
        &[only("a", json!({"f:global": {"f:maxTokens": {}}})), only("b", json!({"f:global": {"f:refillPeriod": {}}}))],
    );
    let sent = with_fields(
        &server(&json!({"global": bucket(5), "shared": {"maxTokens": 9}})),
        &[
            only("a", json!({"f:global": {"f:maxTokens": {}}})),
            only("b", json!({"f:global": {"f:refillPeriod": {}}})),
            only("c", json!({"f:shared": {"f:maxTokens": {}}})),
        ],
    );
    let mutated = World::default().mutate(&update(&old, &sent));
    let want = [only("b", json!({"f:global": {"f:refillPeriod": {}}})), only("c", json!({"f:global": {"f:maxTokens": {}}}))];
    assert_eq!(fields(&mutated.object), &json!(want));
}

#[test]
fn a_co_owner_keeps_the_limit_that_another_gave_up() {
    // Both keys are stored, equal, and two managers own the old name; one of them drops it.
    let both = server(&json!({"shared": bucket(5), "global": bucket(5), "perUser": bucket(1)}));
    let helm = |scope: &str| entry("helm", "Update", &json!({format!("f:{scope}"): whole()}));
    let argocd = |limits: &Value| entry("argocd", "Apply", limits);
    let old = with_fields(&both, &[argocd(&json!({"f:shared": whole(), "f:perUser": whole()})), helm("shared")]);
    let sent = with_fields(&both, &[argocd(&json!({"f:perUser": whole()})), helm("shared")]);
    let mutated = World::default().mutate(&apply_of("argocd", false, update(&old, &sent)));
    assert_eq!(mutated.alias, "4c");
    assert_eq!(fields(&mutated.object), &json!([argocd(&json!({"f:perUser": whole()})), helm("global")]));
}

#[test]
fn entries_of_others_stay() {
    let foreign = [
        json_with(&entry("a", "Update", &owns("shared")), "subresource", json!("status")),
        json_with(&entry("b", "Update", &owns("shared")), "apiVersion", json!("example.com/v1beta1")),
        json_with(&entry("c", "Update", &owns("shared")), "fieldsV1", Value::Null),
        json!("no entry"),
        entry("d", "Update", &json!({"f:perUser": whole()})),
    ];
    let sent = with_fields(&applied("shared", 5), &foreign);
    assert_eq!(fields(&World::default().mutate(&create(&sent)).object), &json!(foreign));
}

#[test]
fn an_entry_of_the_other_version_is_ours_too() {
    let older = json_with(&entry("helm", "Update", &owns("shared")), "apiVersion", json!("toolhive.stacklok.dev/v1alpha1"));
    let sent = with_fields(&applied("shared", 5), &[older]);
    let want = json_with(&entry("helm", "Update", &owns("global")), "apiVersion", json!("toolhive.stacklok.dev/v1alpha1"));
    assert_eq!(fields(&World::default().mutate(&create(&sent)).object), &json!([want]));
}

#[test]
fn a_bucket_owned_as_a_whole_moves_as_a_whole() {
    let sent = with_fields(&server(&json!({"shared": bucket(5)})), &[entry("a", "Apply", &json!({"f:shared": {}}))]);
    let mutated = World::default().mutate(&create(&sent));
    assert_eq!(fields(&mutated.object), &json!([entry("a", "Apply", &json!({"f:global": {}}))]));
}

#[test]
fn tools_with_odd_names_are_found_among_the_owners() {
    for name in ["a/b~c", "\"quoted\"", "ä", "<&>", "a.b", ""] {
        // Go's encoder escapes <, > and &; others may escape what is not ASCII.
        let escaped = serde_json::to_string(name)
            .expect("JSON")
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('ä', "\\u00e4");
        for key in [format!("k:{{\"name\":{escaped}}}"), format!("k:{}", json!({"name": name}))] {
            let tool = |scope: &str| json!({"f:tools": {key.as_str(): {"f:name": {}, format!("f:{scope}"): whole()}}});
            let sent =
                with_fields(&server(&json!({"tools": [{"name": name, "shared": bucket(1)}]})), &[entry("a", "Update", &tool("shared"))]);
            assert_eq!(
                fields(&World::default().mutate(&create(&sent)).object),
                &json!([entry("a", "Update", &tool("global"))]),
                "{name} {key}"
            );
        }
    }
}

#[test]
fn both_places_of_a_virtual_server_move_with_their_owners() {
    let at = |scope: &str| {
        let owned = json!({format!("f:{scope}"): whole()});
        let text = json!({"spec": {"config": {"rateLimiting": {scope: bucket(1)}}, "rateLimiting": {scope: bucket(5)}}}).to_string();
        let mut object = with_annotation(&server(&json!({scope: bucket(5)})), &text);
        object["kind"] = json!("VirtualMCPServer");
        object["spec"]["config"] = json!({"rateLimiting": {scope: bucket(1)}});
        let mut entry = entry("a", "Update", &owned);
        entry["fieldsV1"]["f:spec"]["f:config"] = json!({".": {}, "f:rateLimiting": owned});
        with_fields(&object, &[entry])
    };
    assert_eq!(World::default().mutate(&create(&at("shared"))).object, at("global"));
}

#[test]
fn a_table_of_any_shape_is_left_alone() {
    for odd in [
        json!(null),
        json!("x"),
        json!({}),
        json!([null, 5, []]),
        json!([{"apiVersion": "toolhive.stacklok.dev/v1beta1", "fieldsV1": {"f:spec": 5}}]),
    ] {
        let mut object = applied("shared", 5);
        object["metadata"]["managedFields"] = odd.clone();
        assert_eq!(fields(&World::default().mutate(&create(&object)).object), &odd);
    }
}

/// Where both names are kept, each keeps its spelling, so that no manager lost its own.
#[test]
fn another_spelling_of_a_period_takes_no_ownership() {
    let world = World::mode(Mode::Mirror);
    let spelled = |scope: &str, period: &str| json!({scope: {"maxTokens": 5, "refillPeriod": period}});
    let both = |shared: &str| json!({"shared": spelled("shared", shared)["shared"], "global": spelled("global", "60s")["global"]});
    let of_both = json!({"f:shared": whole(), "f:global": whole()});
    let of_helm = entry("helm", "Apply", &of_both);

    // As an editor saves it: the API server gives it what it changed.
    let stored = with_fields(&server(&both("60s")), std::slice::from_ref(&of_helm));
    let without_period = json!({"f:shared": {".": {}, "f:maxTokens": {}}, "f:global": whole()});
    let edited = json!({"f:shared": {"f:refillPeriod": {}}});
    let edited = [entry("helm", "Apply", &without_period), entry("kubectl-edit", "Update", &edited)];
    let mutated = world.mutate(&update(&stored, &with_fields(&server(&both("1m0s")), &edited)));
    assert_eq!(mutated.object["spec"], server(&both("1m0s"))["spec"]);
    assert_eq!((&fields(&mutated.object)[0], &fields(&mutated.object)[1]["fieldsV1"]["f:spec"]), (&of_helm, &json!({"f:image": {}})));

    // An apply says so of its own: it owns the limit beside the others.
    let stored = with_fields(&server(&spelled("global", "60s")), &[entry("helm", "Apply", &json!({"f:global": whole()}))]);
    let applied = [entry("helm", "Apply", &json!({"f:global": whole()})), entry("argocd", "Apply", &json!({"f:shared": whole()}))];
    let request = update(&stored, &with_fields(&server(&both("1m0s")), &applied));
    for force in [false, true] {
        let mutated = world.mutate(&apply_of("argocd", force, request.clone()));
        let of_argocd = entry("argocd", "Apply", &of_both);
        assert_eq!(mutated.object, with_fields(&server(&both("1m0s")), &[of_helm.clone(), of_argocd]), "force: {force}");
    }
}
