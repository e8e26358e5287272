//! Alias transparency on the real API server: whatever kubectl does with `shared` ends as if the manifest had said `global`.

use serde_json::{Value, json};

use super::places::{Place, bucket};
use crate::support::apiserver::{Cluster, MAIN, names};

/// Runs a scenario at every place, behind a webhook of its own.
fn everywhere(about: &str, scenario: impl Fn(&Cluster, Place, &str)) {
    let namespace = MAIN.namespace(about);
    let _webhook = MAIN.webhook(&namespace, &[]);
    for place in Place::ALL {
        scenario(&MAIN, place, &namespace);
    }
}

/// The keys at the level of the stored object.
#[track_caller]
fn level(cluster: &Cluster, place: Place, manifest: &Value) -> Value {
    cluster.get(manifest).pointer(place.level()).cloned().unwrap_or(Value::Null)
}

#[track_caller]
fn assert_global(cluster: &Cluster, place: Place, manifest: &Value, tokens: u32) {
    let level = level(cluster, place, manifest);
    assert_eq!((level.get("global"), level.get("shared")), (Some(&bucket(tokens)), None), "{place:?}: {level}");
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

#[test]
fn client_side_apply_is_transparent() {
    everywhere("csa", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let said = cluster.apply(&manifest).expect_ok();
        assert!(said.stderr.contains("TG101"), "{}", said.stderr);
        assert_global(cluster, place, &manifest, 100);

        // Unchanged: a true no-op, every time.
        let first = cluster.get(&manifest);
        for _ in 0..3 {
            cluster.apply(&manifest).expect_ok();
            assert_eq!(version(&cluster.get(&manifest)), version(&first), "{place:?}");
        }
        // An edit wins.
        let edited = place.with(namespace, &json!({"shared": bucket(200), "perUser": bucket(5)}));
        cluster.apply(&edited).expect_ok();
        assert_global(cluster, place, &manifest, 200);
        // Dropped, while another limit stays: the limit goes.
        let dropped = place.with(namespace, &json!({"perUser": bucket(5)}));
        cluster.apply(&dropped).expect_ok();
        let left = level(cluster, place, &manifest);
        assert_eq!((left.get("global"), left.get("shared"), left.get("perUser")), (None, None, Some(&bucket(5))), "{place:?}");
        // Set again, then the whole block dropped.
        cluster.apply(&manifest).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        cluster.apply(&place.bare(namespace)).expect_ok();
        assert_eq!(cluster.get(&manifest).pointer(place.block()), None, "{place:?}");
    });
}

#[test]
fn server_side_apply_is_transparent() {
    everywhere("ssa", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let apply = |manifest: &Value| cluster.apply_server_side(manifest, "kubectl", &[]).expect_ok();
        apply(&manifest);
        assert_global(cluster, place, &manifest, 100);
        let first = cluster.get(&manifest);
        for _ in 0..3 {
            apply(&manifest);
            assert_eq!(version(&cluster.get(&manifest)), version(&first), "{place:?}");
        }
        apply(&place.with(namespace, &json!({"shared": bucket(200), "perUser": bucket(5)})));
        assert_global(cluster, place, &manifest, 200);
        apply(&place.with(namespace, &json!({"perUser": bucket(5)})));
        let left = level(cluster, place, &manifest);
        assert_eq!((left.get("global"), left.get("shared"), left.get("perUser")), (None, None, Some(&bucket(5))), "{place:?}");
        apply(&manifest);
        assert_global(cluster, place, &manifest, 100);
        apply(&place.bare(namespace));
        assert_eq!(cluster.get(&manifest).pointer(place.block()), None, "{place:?}");
    });
}

#[test]
fn a_manifest_may_move_to_global_at_any_time() {
    everywhere("move", |cluster, place, namespace| {
        let old = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let new = place.with(namespace, &json!({"global": bucket(100), "perUser": bucket(5)}));
        cluster.apply(&old).expect_ok();
        let before = cluster.get(&old);
        let said = cluster.apply(&new).expect_ok();
        assert!(!said.stderr.contains("TG101"), "{}", said.stderr);
        assert_global(cluster, place, &old, 100);
        // kubectl writes its annotation anew, so the object has a new version; what it says has not changed.
        assert_eq!(cluster.get(&old)["metadata"]["generation"], before["metadata"]["generation"], "{place:?}");
        cluster.apply(&place.with(namespace, &json!({"global": bucket(300), "perUser": bucket(5)}))).expect_ok();
        assert_global(cluster, place, &old, 300);
        // And back.
        cluster.apply(&old).expect_ok();
        assert_global(cluster, place, &old, 100);
    });
}

#[test]
fn both_names_equal_pass_and_different_are_refused() {
    everywhere("both", |cluster, place, namespace| {
        let different = place.with(namespace, &json!({"shared": bucket(100), "global": bucket(7)}));
        cluster.apply(&different).expect_refused(&["TG008", "100 per 1m0s", "7 per 1m0s", "keep only global"]);
        let same = json!({"maxTokens": 100, "refillPeriod": "60s"});
        let equal = place.with(namespace, &json!({"shared": bucket(100), "global": same}));
        cluster.apply(&equal).expect_ok();
        let stored = level(cluster, place, &equal);
        assert_eq!((stored.get("global"), stored.get("shared")), (Some(&same), None), "{place:?}");
        cluster.apply(&equal).expect_ok();
        cluster.apply(&different).expect_refused(&["TG008"]);
        let stored = level(cluster, place, &equal);
        assert_eq!((stored.get("global"), stored.get("shared")), (Some(&same), None), "{place:?}");
    });
}

#[test]
fn partial_merge_patches_land_on_global() {
    everywhere("merge", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        cluster.apply(&manifest).expect_ok();
        if place == Place::Tool {
            // A merge patch replaces lists whole, so there is no partial one for a tool.
            return;
        }
        // As Helm sends an upgrade that only changes maxTokens.
        let mut patch = json!({"spec": {"rateLimiting": {"shared": {"maxTokens": 42}}}});
        if place == Place::VirtualConfig {
            patch = json!({"spec": {"config": patch["spec"]}});
        }
        let (kind, name, _) = names(&manifest);
        cluster.kubectl(&["patch", &kind, &name, "-n", namespace, "--type=merge", "-p", &patch.to_string()]).expect_ok();
        assert_global(cluster, place, &manifest, 42);
        // The manifest's own apply takes it back.
        cluster.apply(&manifest).expect_ok();
        assert_global(cluster, place, &manifest, 100);
    });
}

#[test]
fn replace_and_edit_are_transparent() {
    everywhere("replace", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100)}));
        cluster.kubectl_with(&["create", "-f", "-"], &manifest.to_string()).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        let replaced = place.with(namespace, &json!({"shared": bucket(50)}));
        cluster.kubectl_with(&["replace", "-f", "-"], &replaced.to_string()).expect_ok();
        assert_global(cluster, place, &manifest, 50);
        // kubectl edit, where somebody types the old name over the new one, with another number.
        let (kind, name, _) = names(&manifest);
        let mut edit = cluster.kubectl_command();
        edit.env("KUBE_EDITOR", "sed -i -e s/global:/shared:/ -e s/50$/60/");
        cluster.run(edit.args(["edit", &kind, &name, "-n", namespace]), "").expect_ok();
        assert_global(cluster, place, &manifest, 60);
    });
}

#[test]
fn dry_runs_and_diffs_tell_what_would_be_stored() {
    everywhere("dry", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let said = cluster.kubectl_with(&["apply", "--dry-run=server", "-o", "json", "-f", "-"], &manifest.to_string()).expect_ok();
        let would: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(would.pointer(place.level()).and_then(|level| level.get("global")), Some(&bucket(100)), "{place:?}");
        cluster.apply(&manifest).expect_ok();
        let diff = cluster.kubectl_with(&["diff", "-f", "-"], &manifest.to_string());
        assert!(diff.ok && diff.stdout.is_empty(), "{place:?}: {}", diff.all());
        let diff = cluster.kubectl_with(&["diff", "--server-side", "--force-conflicts", "-f", "-"], &manifest.to_string());
        assert!(!diff.stdout.contains("shared"), "{place:?}: {}", diff.all());
    });
}

#[test]
fn switching_to_server_side_apply_keeps_the_limit() {
    everywhere("switch", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        cluster.apply(&manifest).expect_ok();
        cluster.apply_server_side(&manifest, "kubectl", &[]).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        cluster.apply_server_side(&manifest, "kubectl", &[]).expect_ok();
        let settled = cluster.get(&manifest);
        cluster.apply_server_side(&manifest, "kubectl", &[]).expect_ok();
        assert_eq!(version(&cluster.get(&manifest)), version(&settled), "{place:?}");
        cluster.apply_server_side(&place.with(namespace, &json!({"perUser": bucket(5)})), "kubectl", &[]).expect_ok();
        assert_eq!(level(cluster, place, &manifest).get("global"), None, "{place:?}");
    });
}

#[test]
fn two_managers_share_and_conflict_as_with_any_field() {
    everywhere("managers", |cluster, place, namespace| {
        let says = |key: &str, tokens| place.with(namespace, &json!({key: bucket(tokens), "perUser": bucket(5)}));
        let apply = |manifest: &Value, manager: &str, flags: &[&str]| cluster.apply_server_side(manifest, manager, flags);
        let manifest = says("shared", 100);
        apply(&manifest, "team-a", &[]).expect_ok();
        // The same value under either name: both own it.
        apply(&says("global", 100), "team-b", &[]).expect_ok();
        apply(&says("shared", 100), "team-c", &[]).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        // Another value without force: refused, and the others are named.
        apply(&says("shared", 150), "team-a", &[]).expect_refused(&["TG008", "team-b", "team-c"]);
        assert_global(cluster, place, &manifest, 100);
        // Webhooks are not told of force, so it takes the new name: then the others lose it.
        apply(&says("global", 150), "team-a", &[]).expect_refused(&["conflict", "team-b", "team-c"]);
        apply(&says("global", 150), "team-a", &["--force-conflicts"]).expect_ok();
        assert_global(cluster, place, &manifest, 150);
        apply(&says("global", 100), "team-b", &[]).expect_refused(&["conflict", "team-a"]);
    });
}

#[test]
fn an_apply_takes_back_what_somebody_edited() {
    everywhere("drift", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        let apply = || cluster.apply_server_side(&manifest, "flux", &["--force-conflicts"]);
        apply().expect_ok();
        let (kind, name, _) = names(&manifest);
        let edit = json!([{"op": "replace", "path": format!("{}/global/maxTokens", place.level()), "value": 7}]);
        cluster.kubectl(&["patch", &kind, &name, "-n", namespace, "--type=json", "-p", &edit.to_string()]).expect_ok();
        assert_global(cluster, place, &manifest, 7);
        apply().expect_ok();
        assert_global(cluster, place, &manifest, 100);
    });
}

#[test]
fn v1alpha1_requests_are_renamed_too() {
    everywhere("v1alpha1", |cluster, place, namespace| {
        let mut manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        manifest["apiVersion"] = json!("toolhive.stacklok.dev/v1alpha1");
        cluster.apply(&manifest).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        let first = cluster.get(&manifest);
        cluster.apply(&manifest).expect_ok();
        assert_eq!(version(&cluster.get(&manifest)), version(&first), "{place:?}");
    });
}

#[test]
fn stripped_managed_fields_do_no_harm() {
    everywhere("stripped", |cluster, place, namespace| {
        let manifest = place.with(namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        cluster.apply(&manifest).expect_ok();
        let (kind, name, _) = names(&manifest);
        let strip = r#"{"metadata":{"managedFields":[{}]}}"#;
        cluster.kubectl(&["patch", &kind, &name, "-n", namespace, "--type=merge", "-p", strip]).expect_ok();
        assert_eq!(cluster.get(&manifest)["metadata"].get("managedFields"), None);
        cluster.apply(&manifest).expect_ok();
        assert_global(cluster, place, &manifest, 100);
        cluster.apply(&place.with(namespace, &json!({"shared": bucket(9), "perUser": bucket(5)}))).expect_ok();
        assert_global(cluster, place, &manifest, 9);
        cluster.apply(&place.with(namespace, &json!({"perUser": bucket(5)}))).expect_ok();
        assert_eq!(level(cluster, place, &manifest).get("global"), None, "{place:?}");
    });
}
