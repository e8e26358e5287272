//! Every row of the design's table for `shared` and `global`, at the server level; and where rows differ by level or by place.

use serde_json::{Value, json};

use tollgate::admission::Hook;

use super::{World, apply_of, bucket, causes, create, json_with, limits, server, update, warnings};

/// The object with kubectl's annotation saying that this was applied.
fn declaring(object: &Value, limits: &Value) -> Value {
    let text = json!({"spec": {"rateLimiting": limits}}).to_string();
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
    let mut object = object.clone();
    object["metadata"]["annotations"] = annotations;
    object
}

/// The object with managed fields: who owns which scopes at the server level, by which operation.
fn owned(object: &Value, owners: &[(&str, &str, &[&str])]) -> Value {
    let entries = owners.iter().map(|(manager, operation, scopes)| {
        let owned: serde_json::Map<_, _> =
            scopes.iter().map(|scope| (format!("f:{scope}"), json!({"f:maxTokens": {}, "f:refillPeriod": {}}))).collect();
        let api_version = "toolhive.stacklok.dev/v1beta1";
        json!({"manager": manager, "operation": operation, "apiVersion": api_version, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:image": {}, "f:rateLimiting": owned}}})
    });
    let entries: Vec<_> = entries.collect();
    let mut object = object.clone();
    object["metadata"]["managedFields"] = entries.into();
    object
}

/// What `/mutate` leaves of the limits, and the row it took.
fn row(request: &Value) -> (Value, String) {
    let mutated = World::default().mutate(request);
    (limits(&mutated.object).clone(), mutated.alias)
}

#[test]
fn row_0_an_object_on_its_way_out_is_left_alone() {
    let old = json_with(
        &server(&json!({"shared": bucket(5)})),
        "metadata",
        json!({"name": "fetch", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}),
    );
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    let mutated = World::default().mutate(&update(&old, &new));
    assert_eq!((mutated.object, mutated.alias.as_str(), mutated.warnings), (new.clone(), "", vec![]));

    new["spec"]["rateLimiting"]["shared"]["maxTokens"] = json!(6);
    assert_eq!(row(&update(&old, &new)), (json!({"global": bucket(6)}), "3".to_owned()), "its spec changed");
}

#[test]
fn row_1_stays_where_the_object_opts_out() {
    let mut object = server(&json!({"shared": bucket(5)}));
    object["metadata"]["annotations"] = json!({"tollgate.dev/shared-alias": "keep"});
    assert_eq!(row(&create(&object)), (json!({"shared": bucket(5)}), "1".to_owned()));
    let response = World::default().validate(&create(&object));
    assert_eq!(
        warnings(&response),
        ["TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: tollgate.dev/shared-alias is keep)"]
    );

    object["metadata"]["annotations"] = json!({"tollgate.dev/shared-alias": "Keep"});
    assert_eq!(row(&create(&object)).1, "3", "only keep keeps");
}

#[test]
fn row_1_stays_where_it_is_no_bucket() {
    for odd in [json!("100/m"), json!(5), json!([bucket(5)]), json!(true)] {
        let object = server(&json!({"shared": odd, "global": bucket(5)}));
        assert_eq!(row(&create(&object)), (limits(&object).clone(), "1".to_owned()));
    }
}

#[test]
fn row_2a_goes_when_the_annotation_gave_it_up() {
    // Stored after a rename: kubectl's annotation says global by then; one from before tollgate says shared still.
    let old = declaring(&server(&json!({"global": bucket(5), "tools": []})), &json!({"shared": bucket(5), "tools": []}));
    let new = declaring(&server(&json!({"global": bucket(5), "tools": []})), &json!({"tools": []}));
    let mutated = World::default().mutate(&update(&old, &new));
    assert_eq!((limits(&mutated.object), mutated.alias.as_str()), (&json!({"tools": []}), "2a"));
    assert_eq!(mutated.warnings, ["TG101 spec.rateLimiting.global: removed, as shared was dropped from the manifest"]);
}

#[test]
fn row_2a_takes_the_block_when_that_empties_it() {
    let old = declaring(&server(&json!({"global": bucket(5)})), &json!({"shared": bucket(5)}));
    let new = declaring(&server(&json!({"global": bucket(5)})), &Value::Null);
    let mutated = World::default().mutate(&update(&old, &new));
    assert_eq!(mutated.alias, "2a");
    assert_eq!(mutated.object["spec"], json!({"sessionStorage": {"provider": "redis", "address": "redis:6379"}}));
}

#[test]
fn row_2a_goes_when_the_apply_entry_gave_it_up() {
    let stored = server(&json!({"global": bucket(5), "perUser": bucket(1)}));
    let old = owned(&stored, &[("argocd", "Apply", &["shared", "perUser"])]);
    let new = owned(&stored, &[("argocd", "Apply", &["perUser"])]);
    assert_eq!(row(&apply_of("argocd", false, update(&old, &new))), (json!({"perUser": bucket(1)}), "2a".to_owned()));
    assert_eq!(row(&apply_of("flux", false, update(&old, &new))), (limits(&stored).clone(), String::new()), "somebody else's entry");
    assert_eq!(row(&update(&old, &new)), (limits(&stored).clone(), String::new()), "no apply at all");
    let kept_by_another = owned(&stored, &[("argocd", "Apply", &["perUser"]), ("helm", "Update", &["global"])]);
    assert_eq!(
        row(&apply_of("argocd", false, update(&old, &kept_by_another))),
        (limits(&stored).clone(), String::new()),
        "helm still wants it"
    );
}

#[test]
fn row_2b_nothing_where_nobody_gave_up_anything() {
    let stored = server(&json!({"global": bucket(5)}));
    let says_shared = declaring(&stored, &json!({"shared": bucket(5)}));
    let says_global = declaring(&stored, &json!({"global": bucket(5)}));
    let says_none = declaring(&stored, &json!({}));
    for (case, old, new) in [
        ("no annotation", &stored, &stored),
        ("the annotation is as before", &says_shared, &says_shared),
        ("it moved to global", &says_shared, &says_global),
        ("it gave up global, which the API server has removed if kubectl asked for that", &says_global, &says_none),
        ("the annotation itself is gone", &says_shared, &stored),
        ("the annotation is new", &stored, &says_none),
    ] {
        assert_eq!(row(&update(old, new)), (json!({"global": bucket(5)}), String::new()), "{case}");
    }
    assert_eq!(row(&create(&says_none)), (json!({"global": bucket(5)}), String::new()));
    let asserted = declaring(&server(&json!({"global": bucket(6)})), &json!({}));
    assert_eq!(
        row(&update(&says_shared, &asserted)),
        (json!({"global": bucket(6)}), String::new()),
        "somebody set it in this very request"
    );
}

#[test]
fn row_3_moves() {
    assert_eq!(row(&create(&server(&json!({"shared": bucket(5)})))), (json!({"global": bucket(5)}), "3".to_owned()));
    let old = server(&json!({"global": bucket(5)}));
    assert_eq!(row(&update(&old, &server(&json!({"shared": bucket(7)})))), (json!({"global": bucket(7)}), "3".to_owned()));
    let null_beside = server(&json!({"shared": bucket(5), "global": null}));
    assert_eq!(row(&create(&null_beside)), (json!({"global": bucket(5)}), "3".to_owned()));
}

#[test]
fn row_3_lays_a_part_over_what_is_stored() {
    let old = server(&json!({"global": bucket(5)}));
    let part = server(&json!({"shared": {"maxTokens": 9}}));
    assert_eq!(row(&update(&old, &part)), (json!({"global": bucket(9)}), "3".to_owned()));
    assert_eq!(row(&create(&part)), (json!({"global": {"maxTokens": 9}}), "3".to_owned()), "with nothing stored it stays a part");
}

#[test]
fn row_3_keeps_the_text() {
    let odd = json!({"refillPeriod": "60s", "maxTokens": 5, "burst": {"x": [1, null]}});
    assert_eq!(row(&create(&server(&json!({"shared": odd})))).0, json!({"global": odd}));
}

#[test]
fn row_4a_merges_over_what_is_stored() {
    let old = server(&json!({"global": bucket(5)}));
    for (shared, want) in [
        (json!({"maxTokens": 9}), bucket(9)),
        (json!({"refillPeriod": "5s"}), json!({"maxTokens": 5, "refillPeriod": "5s"})),
        (bucket(9), bucket(9)),
        (bucket(5), bucket(5)),
        (json!({}), bucket(5)),
    ] {
        let new = server(&json!({"global": bucket(5), "shared": shared}));
        assert_eq!(row(&update(&old, &new)), (json!({"global": want}), "4a".to_owned()), "{shared}");
    }
}

#[test]
fn row_4a_conflict_stays_for_validate_to_refuse() {
    let old = owned(&server(&json!({"global": bucket(5)})), &[("helm", "Update", &["global"])]);
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    let new = owned(&both, &[("helm", "Update", &["global"]), ("argocd", "Apply", &["shared"])]);
    let request = apply_of("argocd", false, update(&old, &new));
    assert_eq!(row(&request), (limits(&both).clone(), "4a-conflict".to_owned()));

    let response = World::default().validate(&request);
    assert_eq!((&response["allowed"], causes(&response)), (&json!(false), vec!["TG008 spec.rateLimiting.shared".to_owned()]));
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("shared (9 per 1m0s, set by argocd) and global (5 per 1m0s, set by helm)"), "{message}");
}

#[test]
fn row_4a_where_there_is_no_conflict() {
    let old = owned(&server(&json!({"global": bucket(5)})), &[("helm", "Update", &["global"])]);
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    let new = owned(&both, &[("helm", "Update", &["global"]), ("argocd", "Apply", &["shared"])]);
    assert_eq!(row(&apply_of("argocd", true, update(&old, &new))), (json!({"global": bucket(9)}), "4a".to_owned()), "forced");
    assert_eq!(row(&update(&old, &new)), (json!({"global": bucket(9)}), "4a".to_owned()), "no apply");
    let same = owned(
        &server(&json!({"global": bucket(5), "shared": bucket(5)})),
        &[("helm", "Update", &["global"]), ("argocd", "Apply", &["shared"])],
    );
    assert_eq!(row(&apply_of("argocd", false, update(&old, &same))), (json!({"global": bucket(5)}), "4a".to_owned()), "the same value");
    let free = owned(&both, &[("argocd", "Apply", &["shared"])]);
    assert_eq!(row(&apply_of("argocd", false, update(&old, &free))), (json!({"global": bucket(9)}), "4a".to_owned()), "nobody owns it");
}

#[test]
fn row_4b_a_changed_shared_wins() {
    let old = server(&json!({"global": bucket(5), "shared": bucket(5)}));
    let new = server(&json!({"global": bucket(5), "shared": bucket(7)}));
    assert_eq!(row(&update(&old, &new)), (json!({"global": bucket(7)}), "4b".to_owned()));
}

#[test]
fn row_4c_equal_loses_the_old_name() {
    let both = server(&json!({"global": bucket(5), "shared": {"maxTokens": 5, "refillPeriod": "60s"}}));
    assert_eq!(row(&update(&both, &both)), (json!({"global": bucket(5)}), "4c".to_owned()));
}

#[test]
fn row_4c_different_stays_and_warns() {
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    assert_eq!(row(&update(&both, &both)), (limits(&both).clone(), "4c-conflict".to_owned()));
    let response = World::default().validate(&update(&both, &both));
    assert_eq!(response["allowed"], true);
    let warnings = warnings(&response);
    assert!(
        warnings[0].starts_with("TG008 spec.rateLimiting.shared: shared (9 per 1m0s) and global (5 per 1m0s) disagree"),
        "{warnings:?}"
    );
    assert_eq!(warnings[1], "TG101 spec.rateLimiting.shared: deprecated, write global (not renamed: global has a different limit)");
}

#[test]
fn row_5a_equal_by_meaning_loses_the_old_name() {
    let both = server(&json!({"global": bucket(5), "shared": {"maxTokens": 5, "refillPeriod": "60s"}}));
    assert_eq!(row(&create(&both)), (json!({"global": bucket(5)}), "5a".to_owned()));
    let old = server(&json!({"global": bucket(1), "shared": bucket(1)}));
    assert_eq!(row(&update(&old, &both)), (json!({"global": bucket(5)}), "5a".to_owned()));
}

#[test]
fn row_5b_moving_over_loses_the_old_name() {
    let old = server(&json!({"shared": bucket(5)}));
    let new = server(&json!({"shared": bucket(5), "global": bucket(7)}));
    assert_eq!(row(&update(&old, &new)), (json!({"global": bucket(7)}), "5b".to_owned()));
    let old = server(&json!({"shared": bucket(5), "global": bucket(5)}));
    assert_eq!(row(&update(&old, &new)), (json!({"global": bucket(7)}), "5b".to_owned()));
}

#[test]
fn row_5b_a_null_that_an_apply_left_goes_in_silence() {
    let old = server(&json!({"shared": bucket(5)}));
    let new = server(&json!({"shared": null, "global": bucket(5)}));
    let request = update(&old, &new);
    assert_eq!(row(&request), (json!({"global": bucket(5)}), "5b".to_owned()));
    assert_eq!(warnings(&World::default().ask(Hook::Mutate, &request)), Vec::<String>::new());
}

#[test]
fn row_5c_stays_for_validate_to_refuse() {
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    let olds = [
        None,
        Some(server(&json!({}))),
        Some(server(&json!({"shared": bucket(1)}))),
        Some(server(&json!({"global": bucket(1), "shared": bucket(1)}))),
    ];
    for old in olds {
        let request = old.as_ref().map_or_else(|| create(&both), |old| update(old, &both));
        assert_eq!(row(&request), (limits(&both).clone(), "5c".to_owned()), "{old:?}");
        let response = World::default().validate(&request);
        assert_eq!(
            (&response["allowed"], causes(&response)),
            (&json!(false), vec!["TG008 spec.rateLimiting.shared".to_owned()]),
            "{old:?}"
        );
    }
}

#[test]
fn row_5c_names_both_values_and_their_managers() {
    let both = server(&json!({"global": bucket(5), "shared": bucket(9)}));
    let both = owned(&both, &[("helm", "Update", &["shared"]), ("kubectl-edit", "Update", &["global"]), ("argocd", "Apply", &["global"])]);
    let response = World::default().validate(&create(&both));
    let message = response["status"]["message"].as_str().unwrap_or_default();
    let want =
        "TG008 spec.rateLimiting.shared: shared (9 per 1m0s, set by helm) and global (5 per 1m0s, set by kubectl-edit and argocd) disagree";
    assert!(message.starts_with(want), "{message}");
}

#[test]
fn row_5c_where_one_manifest_says_both_over_what_is_stored() {
    // global is as stored, so nothing asserts it but the manifest itself: to the oracle that is one key twice.
    let stored = server(&json!({"global": bucket(5)}));
    let both = json!({"global": bucket(5), "shared": bucket(9)});
    let old = declaring(&stored, &json!({"global": bucket(5)}));
    let new = declaring(&server(&both), &both);
    assert_eq!(row(&update(&old, &new)), (both.clone(), "5c".to_owned()));
    let new = owned(&server(&both), &[("argocd", "Apply", &["global", "shared"])]);
    assert_eq!(row(&apply_of("argocd", true, update(&stored, &new))), (both, "5c".to_owned()));
}

#[test]
fn every_level_and_place_has_a_row_of_its_own() {
    let mut object = server(&json!({
        "shared": bucket(100),
        "tools": [
            {"name": "moves", "shared": bucket(1)},
            {"name": "has global", "global": bucket(2)},
            {"name": "equal", "shared": bucket(3), "global": bucket(3)},
            {"name": "different", "shared": bucket(4), "global": bucket(5)},
        ],
    }));
    object["kind"] = json!("VirtualMCPServer");
    object["spec"]["config"] = json!({"rateLimiting": {"shared": bucket(6)}});
    let mutated = World::default().mutate(&create(&object));
    assert_eq!(mutated.alias, "3,5a,5c");
    assert_eq!(
        limits(&mutated.object),
        &json!({
            "global": bucket(100),
            "tools": [
                {"name": "moves", "global": bucket(1)},
                {"name": "has global", "global": bucket(2)},
                {"name": "equal", "global": bucket(3)},
                {"name": "different", "shared": bucket(4), "global": bucket(5)},
            ],
        })
    );
    assert_eq!(mutated.object["spec"]["config"]["rateLimiting"], json!({"global": bucket(6)}));
    assert_eq!(
        mutated.warnings,
        [
            "TG101 spec.rateLimiting.shared: deprecated, renamed to global; write global",
            "TG101 spec.rateLimiting.tools[0].shared: deprecated, renamed to global; write global",
            "TG101 spec.rateLimiting.tools[2].shared: deprecated, renamed to global; write global",
            "TG101 spec.config.rateLimiting.shared: deprecated, renamed to global; write global",
        ]
    );
}

#[test]
fn tools_are_matched_by_name_not_by_place() {
    let old = server(&json!({"tools": [{"name": "a", "global": bucket(1)}, {"name": "b", "global": bucket(2)}]}));
    let new = server(&json!({"tools": [{"name": "b", "shared": {"maxTokens": 9}}, {"name": "a", "shared": {"maxTokens": 8}}]}));
    assert_eq!(
        row(&update(&old, &new)),
        (json!({"tools": [{"name": "b", "global": bucket(9)}, {"name": "a", "global": bucket(8)}]}), "3".to_owned())
    );
}

#[test]
fn what_is_not_ours_stays_as_it_is() {
    let mut object =
        server(&json!({"shared": bucket(5), "prompts": [{"name": "p", "shared": bucket(1)}], "x-unknown": {"shared": bucket(2)}}));
    object["spec"]["shared"] = bucket(3);
    object["spec"]["podTemplateSpec"] =
        json!({"spec": {"containers": [{"name": "mcp", "env": []}]}, "rateLimiting": {"shared": bucket(4)}});
    object["status"] = json!({"rateLimiting": {"shared": bucket(4)}});
    let mutated = World::default().mutate(&create(&object));
    let mut want = object.clone();
    let shared = want["spec"]["rateLimiting"].as_object_mut().and_then(|map| map.remove("shared")).expect("put there above");
    want["spec"]["rateLimiting"]["global"] = shared;
    assert_eq!(mutated.object, want);
    assert_eq!(mutated.patch.iter().map(|edit| edit["op"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["test", "move"]);
}
