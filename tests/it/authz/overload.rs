//! More checks at once than are decided: what callers see, what passes, and what is left afterwards.

use std::{collections::BTreeMap, future::pending, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;
use tollgate::{authz::AuthzSettings, stores::OnStoreError};

use super::{
    Behind, ask,
    stores::{Counted, bound, settings},
};
use crate::{
    proxy::{assert_denied, assert_passed, assert_refused, bucket, call, posted, resource, sample},
    support::{
        authz::Authz,
        envoy::Envoy,
        https::{Answer, get, send_plain, whole},
        link::{Flow, Link},
        redis::Server,
        time::{LONGEST, eventually},
        upstream::Upstream,
    },
};

const MIB: usize = 1024 * 1024;
/// The arguments of a large call.
const LARGE: usize = 200_000;
/// An eighth of the memory is reserved for small bodies.
const FIT: usize = (4 * MIB - 4 * MIB / 8) / LARGE;
const NO_ROOM: &str = "no memory is left for request bodies";

/// How many answers have each status.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    answers.iter().fold(BTreeMap::new(), |mut counts, answer| {
        *counts.entry(answer.status).or_default() += 1;
        counts
    })
}

async fn buffered(metrics: SocketAddr) -> usize {
    let metrics = get(metrics, "/metrics").await.text();
    sample(&metrics, "tollgate_authz_buffered_bytes").unwrap_or_else(|| panic!("{metrics}")) as usize
}

fn large(id: u32) -> String {
    call(id, "search").replace("\"arguments\":{}", &format!("\"arguments\":{{\"text\":\"{}\"}}", "x".repeat(LARGE)))
}

/// Sends a call, and waits for its answer longer than others do.
async fn sent(envoy: SocketAddr, body: String) -> Answer {
    let answer = async { whole(send_plain(envoy, posted(&[], body)).await).await.expect("a whole answer") };
    timeout(LONGEST, answer).await.expect("an answer in time")
}

/// Leaves the time to tollgate.
fn patient(config: String) -> String {
    config.replace("timeout: 0.25s}", "timeout: 60s}")
}

/// Redis pauses, so that bodies are in memory for as long as the test wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_memory_is_refused_at_once_and_what_fits_is_decided_exactly() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let limits = resource(json!({"global": bucket(FIT as u32 + 3)}));
    let outfit = Counted { redis: redis.address(), policy: OnStoreError::Closed, deadline: Duration::from_secs(60) };
    let service = bound(AuthzSettings { max_body: MIB, max_buffered: 4 * MIB, ..settings() }, outfit, &limits).await;
    let (address, metrics) = (service.address(), service.metrics_address());
    tokio::spawn(service.run(|_| pending(), pending()));
    let running = Envoy::start_with(upstream.address, address, patient);
    let envoy = running.address;
    assert_passed(&sent(envoy, call(0, "search")).await, "search");

    redis.ask::<()>("CLIENT PAUSE 600000 WRITE").await;
    let mut held = Vec::new();
    for id in 1..=FIT {
        held.push(tokio::spawn(sent(envoy, large(id as u32))));
        eventually("the body to be held", async || buffered(metrics).await >= id * LARGE).await;
    }
    let full = buffered(metrics).await;
    // All of these are answered before any of those.
    for answer in join_all((100..160).map(|id| sent(envoy, large(id)))).await {
        assert_refused(&answer, 503, NO_ROOM);
        assert_eq!(answer.headers["retry-after"], "5");
    }
    assert!(held.iter().all(|answer| !answer.is_finished()));
    eventually("only what fits to be held", async || buffered(metrics).await == full).await;
    held.push(tokio::spawn(sent(envoy, call(99, "search"))));
    eventually("a small body to have room", async || buffered(metrics).await > full).await;
    assert_eq!(upstream.called().len(), 1);

    redis.ask::<()>("CLIENT UNPAUSE").await;
    for answer in join_all(held).await {
        assert_passed(&answer.expect("no panic"), "search");
    }
    eventually("the memory to be free", async || buffered(metrics).await == 0).await;
    // Of the bucket, one is left: those without room took nothing.
    assert_passed(&sent(envoy, large(200)).await, "search");
    assert_denied(&sent(envoy, large(201)).await, 201, "global");
    assert_eq!(upstream.called().len(), FIT + 3);
}

/// Of a process of its own, with a Redis that is slow enough for bodies to pile up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_large_bodies_takes_no_more_memory_than_it_may() {
    let (redis, upstream) = (Server::start().await, Upstream::start().await);
    let link = Link::to(redis.address()).await;
    let url = format!("redis://{}", link.address);
    let store = ["--redis-url", &url, "--store-deadline", "8s", "--on-store-error", "closed"];
    let memory = ["--max-body", "1048576", "--max-buffered-bytes", "4194304"];
    let authz = Authz::start(&[&resource(json!({"global": bucket(1000)}))], &[&store[..], &memory].concat());
    let running = Envoy::start_with(upstream.address, authz.address, patient);
    let envoy = running.address;
    assert_passed(&sent(envoy, large(0)).await, "search");
    let before = authz.memory();
    link.set(Flow::Slow(Duration::from_millis(300)));
    let mut all = Box::pin(join_all((1..=200).map(|id| sent(envoy, large(id)))));
    let (mut most, mut peak) = (0, 0);
    let answers = loop {
        tokio::select! {
            answers = &mut all => break answers,
            held = buffered(authz.metrics) => {
                (most, peak) = (most.max(held), peak.max(authz.memory()));
            }
        }
    };
    assert!((MIB..=4 * MIB).contains(&most), "{most} bytes were held");
    // Of 40 MB.
    assert!(peak < before + 20 * MIB as u64, "{before} bytes before, {peak} in the flood");
    let counts = statuses(&answers);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.status, 503, "{}", refused.text());
        // On a machine that is busy enough, Redis is late, or the body is.
        assert!(!refused.text().contains(NO_ROOM) || refused.headers["retry-after"] == "5");
    }
    assert!(answers.iter().any(|answer| answer.text().contains(NO_ROOM)), "{counts:?}");
    assert_eq!(upstream.called().len(), 1 + counts.get(&200).copied().unwrap_or_default(), "{counts:?}");
    link.set(Flow::Free);
    eventually("the memory to be free", async || buffered(authz.metrics).await == 0).await;
    eventually("a large body to pass", async || sent(envoy, large(500)).await.status == 200).await;
    assert!(!authz.log().contains("panicked"), "{}", authz.log());
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
    assert!(behind.authz.memory() < before + 32 * MIB as u64, "{} bytes, {before} before", behind.authz.memory());
    eventually("nothing is held", async || buffered(behind.authz.metrics).await == 0).await;
    assert!(!behind.authz.log().contains("panicked"), "{}", behind.authz.log());
}
