//! More checks at once than are decided: what callers see, what passes, and what is left afterwards.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Behind, ask};
use crate::{
    proxy::{call, sample},
    support::{
        authz::Authz,
        https::{Answer, get},
        time::eventually,
    },
};

const MIB: u64 = 1024 * 1024;

/// How many answers have each status.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    answers.iter().fold(BTreeMap::new(), |mut counts, answer| {
        *counts.entry(answer.status).or_default() += 1;
        counts
    })
}

async fn buffered(authz: &Authz) -> u64 {
    let metrics = get(authz.metrics, "/metrics").await.text();
    sample(&metrics, "tollgate_authz_buffered_bytes").unwrap_or_else(|| panic!("{metrics}")) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_it_is_stopped_is_refused_by_envoy_and_it_recovers() {
    let behind = Behind::limited(1000, &[]).await;
    assert_eq!(behind.ask(&[], call(0, "search")).await.status, 200);
    let before = behind.authz.memory();
    behind.authz.signal("STOP");
    // More than the streams of a connection: 256.
    let answers = join_all((1..=600).map(|id| ask(behind.envoy.address, &[], call(id, "search")))).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(503, 600)]), "failure_mode_allow: false");
    assert_eq!(behind.upstream.called().len(), 1);
    behind.authz.signal("CONT");
    eventually("it decides again", async || behind.ask(&[], call(1, "search")).await.status == 200).await;
    assert!(behind.authz.memory() < before + 32 * MIB, "{} bytes, {before} before", behind.authz.memory());
    eventually("nothing is held", async || buffered(&behind.authz).await == 0).await;
    assert!(!behind.authz.log().contains("panicked"), "{}", behind.authz.log());
}
