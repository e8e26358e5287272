//! Rotations under load: no create fails, whatever happens to the Secret and to the replicas in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tollgate::certs::authority::{Ca, Kept};

use super::rig::{CLUSTER, KINDS, Rig, signers};
use crate::support::{load::Load, serve::wait_until};

/// How long after a kill -9 calls that were in flight may still fail.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// How a storm is sized.
struct Storm {
    about: &'static str,
    ca_life: Duration,
    rotations: usize,
    per_second: u32,
}

#[test]
fn no_create_fails_in_a_rotation() {
    storm(&Storm { about: "storm", ca_life: Duration::from_secs(24), rotations: 2, per_second: 20 });
}

#[test]
#[ignore = "minutes: make proof"]
fn proof_no_create_fails_in_five_rotations_of_a_minute() {
    storm(&Storm { about: "proof", ca_life: Duration::from_secs(60), rotations: 5, per_second: 50 });
}

/// Polls without the limit of other tests: a rotation takes as long as a CA lives.
fn wait(about: &str, life: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + life * 2 + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {about}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[allow(clippy::print_stdout, reason = "the figures are what a proof is run for")]
fn storm(Storm { about, ca_life, rotations, per_second }: &Storm) {
    let life = format!("{}s", ca_life.as_secs());
    let mut rig = Rig::started(about, 3, &["--certs-ca-life", &life]);
    let load = Load::start(CLUSTER.kubeconfig(), &rig.name, *per_second);
    let mut seen = BTreeSet::new();
    signers(&mut seen, &rig);
    // A replica dies between the two phases, and a fourth joins.
    wait("a CA is published", *ca_life, || !rig.kept("next.crt").is_empty());
    let killed = Instant::now();
    rig.kill(0);
    rig.start();
    wait("rotations", *ca_life * u32::try_from(*rotations).expect("few"), || signers(&mut seen, &rig) > *rotations);
    rig.start();
    rig.wait_ready();

    let healed = |rig: &Rig, about: &str| {
        wait(about, *ca_life, || {
            let ca = rig.kept("tls.crt");
            ca.starts_with("-----BEGIN") && KINDS.iter().all(|kind| rig.bundle(kind).contains(&ca))
        });
    };
    let secret = ["secret", rig.name.as_str(), "-n", "tollgate-system"];
    CLUSTER.kubectl(&[&["delete"][..], &secret].concat()).expect_ok();
    std::thread::sleep(Duration::from_millis(500));
    CLUSTER.kubectl(&["create", "secret", "generic", &rig.name, "-n", "tollgate-system"]).expect_ok();
    healed(&rig, "a new CA after the Secret was deleted");
    // Long enough for every replica to have a certificate of the new CA, or it could not renew the one that it has.
    std::thread::sleep(*ca_life / 4);
    let garbage = ["tls.crt", "tls.key", "next.crt", "next.key", "ca.crt"].map(|key| (key.to_owned(), json!(STANDARD.encode("garbage"))));
    rig.patch_secret(&json!({"data": BTreeMap::from(garbage)}));
    healed(&rig, "a new CA after the Secret was overwritten");
    std::thread::sleep(*ca_life / 4);

    let outcome = load.stop();
    let (in_flight, failed): (Vec<_>, Vec<_>) =
        outcome.failed.iter().partition(|(at, why)| *at >= killed && *at < killed + IN_FLIGHT && is_of_a_killed_process(why));
    println!(
        "{about}: {} created, {} refused, {} failed, {} in flight in a killed process; {} CAs signed",
        outcome.created,
        outcome.refused,
        failed.len(),
        in_flight.len(),
        seen.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert!(in_flight.len() <= 10, "{in_flight:?}");
    assert!(outcome.created > outcome.refused && outcome.refused > 0, "{outcome:?}");
    wait_until("every replica is ready", || rig.front.ready() == rig.replicas.len());
}

/// As Go reports a connection that broke, or that none took.
fn is_of_a_killed_process(why: &str) -> bool {
    ["EOF", "connection reset", "connection refused", "broken pipe", "http2: client connection lost"].iter().any(|text| why.contains(text))
}

/// The rig has teeth: a rotation as most programs do it, new CA and `caBundle` at once, is noticed.
#[test]
fn a_rotation_without_overlap_fails_creates() {
    let rig = Rig::started("teeth", 2, &[]);
    let load = Load::start(CLUSTER.kubeconfig(), &rig.name, 50);
    wait_until("creates pass", || load.so_far().0 > 20);
    assert_eq!(load.so_far().1, 0);
    for _ in 0..20 {
        rotate_at_once(&rig);
        std::thread::sleep(Duration::from_millis(300));
        if load.so_far().1 > 0 {
            break;
        }
    }
    let failed = load.stop().failed;
    assert!(failed.iter().any(|(_, why)| why.contains("certificate signed by unknown authority")), "{failed:?}");
    // And heals.
    rig.wait_ready();
}

fn rotate_at_once(rig: &Rig) {
    let now = OffsetDateTime::now_utc();
    let ca = Ca::create(time::Duration::HOUR, now).expect("a CA");
    let kept = Kept { bundle: vec![ca.root().clone()], current: Some(ca.clone()), ..Kept::default() };
    let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    kept.write(&mut data, &mut annotations);
    let data: BTreeMap<_, Value> = data.into_iter().map(|(key, value)| (key, json!(STANDARD.encode(value)))).collect();
    rig.patch_secret(&json!({"data": data}));
    for kind in KINDS {
        let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": STANDARD.encode(ca.root().pem())}]);
        CLUSTER.kubectl(&["patch", kind, &rig.name, "--type=json", "-p", &patch.to_string()]).expect_ok();
    }
}
