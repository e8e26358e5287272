//! Create, edit and drop, by both kinds of apply, with both kinds of CRD; and an operator that comes later.

use serde_json::json;
use tollgate::model::operator::FINALIZERS;

use super::{BOTH, MIRROR, PUBLISHED, READ, State, Way, cluster, found, limits, rendered, run_audit, webhook};
use crate::{
    apiserver::places::{Place, bucket},
    support::{
        apiserver::{Cluster, Names},
        operator::{Operator, Reads},
        serve::wait_until,
    },
};

/// An object of the namespace that shows the operator, and a webhook that has seen it.
fn show_operator(cluster: &Cluster, names: Names, namespace: &str) {
    let mut evidence = Place::Server.bare(namespace);
    evidence["metadata"]["name"] = json!("evidence");
    cluster.apply(&evidence).expect_ok();
    let probe = Place::VirtualConfig.with(namespace, &json!({"shared": bucket(1)})).to_string();
    let says = if names == Names::Both {
        "kept equal to global, as ToolHive's operator reads only shared"
    } else {
        "the installed CRD lacks global"
    };
    wait_until("the webhook knows the operator", || {
        cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe).stderr.contains(says)
    });
}

/// Creates, applies again, edits, drops the limit, sets it again, drops the block and deletes, all with manifests that say `key`; after each
/// step the operator has rendered exactly the limits of the manifest.
fn enforced_as_written(names: Names, about: &str, mode: &[&str], key: &str) {
    let cluster: &Cluster = if names == Names::Both { &BOTH } else { &PUBLISHED };
    for way in [Way::ClientSide, Way::ServerSide] {
        let namespace = cluster.namespace(about);
        let webhook = webhook(cluster, &namespace, mode);
        let operator = Operator::start(cluster, &namespace, Reads::SharedOnly);
        if mode.is_empty() {
            show_operator(cluster, names, &namespace);
        }
        let with = |tokens: u32| Some(json!({key: bucket(tokens), "perUser": bucket(5)}));
        let steps = [
            ("create", with(100)),
            ("the same", with(100)),
            ("edit", with(200)),
            ("drop", Some(json!({"perUser": bucket(5)}))),
            ("set again", with(300)),
            ("drop the block", None),
        ];
        for (step, keys) in steps {
            let manifest = |place: Place| keys.as_ref().map_or_else(|| place.bare(&namespace), |keys| place.with(&namespace, keys));
            way.apply(cluster, READ.map(manifest).to_vec());
            let state = rendered(cluster, &namespace, &READ);
            for place in READ {
                let wanted = limits(manifest(place).pointer(place.block()));
                let stored = state.object(place);
                assert_eq!(
                    limits(stored.pointer(place.block())),
                    wanted,
                    "stored: {way:?}, {mode:?}, {key}, {step}, {place:?}: {stored:#}"
                );
                assert_eq!(state.rendered(place), wanted, "{way:?}, {mode:?}, {key}, {step}, {place:?}: {stored:#}");
            }
        }
        // The operator's finalizer is on servers, and its removal passes the webhook.
        assert_eq!(State::of(cluster, &namespace).object(Place::Server)["metadata"]["finalizers"], json!([FINALIZERS[0]]));
        cluster.kubectl(&["delete", "mcpservers,virtualmcpservers", "--all", "-n", &namespace, "--timeout=180s"]).expect_ok();
        drop((operator, webhook));
    }
}

#[test]
fn mirror_enforces_what_is_written_where_the_crd_has_both_names() {
    enforced_as_written(Names::Both, "mirror-both", &MIRROR, "shared");
    enforced_as_written(Names::Both, "mirror-global", &MIRROR, "global");
}

#[test]
fn mirror_enforces_what_is_written_where_the_crd_is_as_published() {
    enforced_as_written(Names::SharedOnly, "mirror-published", &MIRROR, "shared");
}

#[test]
fn the_default_enforces_what_is_written_where_the_crd_has_both_names() {
    enforced_as_written(Names::Both, "auto-shared", &[], "shared");
    enforced_as_written(Names::Both, "auto-global", &[], "global");
}

#[test]
fn the_default_enforces_what_is_written_where_the_crd_is_as_published() {
    enforced_as_written(Names::SharedOnly, "auto-published", &[], "shared");
}

#[test]
fn what_was_renamed_before_the_operator_came_heals_with_the_next_write() {
    // Of its own, without a trace of the operator.
    let cluster = cluster(Names::Both);
    let namespace = cluster.namespace("late");
    let webhook = webhook(&cluster, &namespace, &[]);
    let manifest = |place: Place, tokens| place.with(&namespace, &json!({"shared": bucket(tokens), "perUser": bucket(5)}));
    let names_at = |state: &State, place: Place| {
        let level = state.object(place).pointer(place.level()).expect("stored").clone();
        (level.get("shared").is_some(), level.get("global").is_some())
    };
    Way::ClientSide.apply(&cluster, READ.map(|place| manifest(place, 100)).to_vec());
    let state = State::of(&cluster, &namespace);
    assert_eq!(READ.map(|place| names_at(&state, place)), [(false, true); 3], "renamed, as nothing speaks against it");

    // Its first write to a server is its own finalizer, which heals that server.
    let operator = Operator::start(&cluster, &namespace, Reads::SharedOnly);
    let wanted = |place: Place, tokens| limits(manifest(place, tokens).pointer(place.block()));
    wait_until("servers heal with the finalizer", || {
        let state = rendered(&cluster, &namespace, &READ);
        [Place::Server, Place::Tool].iter().all(|place| state.rendered(*place) == wanted(*place, 100))
    });
    let state = State::of(&cluster, &namespace);
    assert_eq!(names_at(&state, Place::VirtualConfig), (false, true), "there is no finalizer on it");
    let lost = "VirtualMCPServer/virtual-config not-enforced spec.config.rateLimiting.global";
    assert!(found(&run_audit(&cluster, &["--output", "json"])).contains(&lost.to_owned()), "an audit finds it until then");

    // Any write heals it.
    wait_until("the next write heals", || {
        cluster.kubectl(&["annotate", "virtualmcpservers", "--all", "-n", &namespace, "--overwrite", "touched=yes"]).expect_ok();
        cluster.kubectl(&["annotate", "virtualmcpservers", "--all", "-n", &namespace, "touched-"]).expect_ok();
        names_at(&State::of(&cluster, &namespace), Place::VirtualConfig) == (true, true)
    });
    let state = rendered(&cluster, &namespace, &READ);
    assert_eq!(READ.map(|place| state.rendered(place)), READ.map(|place| wanted(place, 100)));
    assert!(
        !found(&run_audit(&cluster, &["--output", "json"])).iter().any(|row| row.contains("not-enforced")),
        "and then nothing is found"
    );
    // The manifest goes on to decide.
    Way::ClientSide.apply(&cluster, READ.map(|place| manifest(place, 200)).to_vec());
    let state = rendered(&cluster, &namespace, &READ);
    assert_eq!(READ.map(|place| state.rendered(place)), READ.map(|place| wanted(place, 200)));
    let dropped = |place: Place| place.with(&namespace, &json!({"perUser": bucket(5)}));
    Way::ClientSide.apply(&cluster, READ.map(dropped).to_vec());
    let state = rendered(&cluster, &namespace, &READ);
    assert_eq!(READ.map(|place| state.rendered(place)), READ.map(|place| limits(dropped(place).pointer(place.block()))));
    drop((operator, webhook));
}

#[test]
fn an_operator_that_reads_global_enforces_what_was_renamed() {
    for mode in [&["--shared-alias", "rename"][..], &["--toolhive-reads-global"]] {
        let namespace = BOTH.namespace("reads-global");
        let webhook = webhook(&BOTH, &namespace, mode);
        let operator = Operator::start(&BOTH, &namespace, Reads::Both);
        let manifest = |place: Place| place.with(&namespace, &json!({"shared": bucket(100), "perUser": bucket(5)}));
        Way::ClientSide.apply(&BOTH, READ.map(manifest).to_vec());
        let state = rendered(&BOTH, &namespace, &READ);
        for place in READ {
            assert_eq!(state.rendered(place), limits(manifest(place).pointer(place.block())), "{mode:?}, {place:?}");
            assert!(state.object(place).pointer(place.level()).expect("stored").get("shared").is_none(), "{mode:?}, {place:?}");
        }
        drop((operator, webhook));
    }
}
