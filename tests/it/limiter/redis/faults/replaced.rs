//! Another Redis takes over.

use std::time::Duration;

use tokio::time::sleep;

use super::harness::{Kept, Load, PATIENCE, server_id};
use crate::{
    limiter::redis::places::at,
    support::redis::{Cluster, Server, Watched},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn master_killed_and_its_replica_promoted() {
    let watched = Watched::start(1).await;
    let fail_over = async |_: &Load| {
        watched.master.kill();
        watched.wait_for_promotion().await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("master killed, replica promoted by Sentinel", fail_over).await;
    figures.check_tokens(&watched.replica, Kept::Most).await;
}

/// The old master lives on, and takes for itself what it is asked on old connections, until Sentinel has made a replica of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_exchanged() {
    let watched = Watched::start(1).await;
    let exchange = async |_: &Load| {
        watched.fail_over().await;
        watched.wait_for_promotion().await;
        // The old master goes on taking writes, which are lost, for some ten seconds; its successor is found in a second.
        sleep(Duration::from_secs(3)).await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("SENTINEL FAILOVER, three seconds past the promotion", exchange).await;
    let (allowed, taken) = figures.check_tokens(&watched.replica, Kept::Most).await;
    assert!(taken * 4 >= allowed, "the successor is found: {taken} taken there for {allowed} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "Sentinel takes some ten seconds, for figures"]
async fn roles_exchanged_and_the_old_master_a_replica() {
    let watched = Watched::start(1).await;
    let exchange = async |_: &Load| {
        watched.fail_over().await;
        watched.wait_for_promotion().await;
        watched.master.wait_for_info("replication", "role", "slave").await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("SENTINEL FAILOVER, as far as the old master's end", exchange).await;
    figures.check_tokens(&watched.replica, Kept::Most).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_a_replica_for_a_while() {
    let (server, other) = (Server::start().await, Server::start().await);
    let load = Load::start(&at(&server.url())).await;
    let demote = async |_: &Load| {
        // Its master has no data to give: what it has would be lost if the link came up, so it never does.
        other.freeze();
        server.ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", other.port())).await;
        sleep(Duration::from_secs(1)).await;
        server.ask::<()>("REPLICAOF NO ONE").await;
    };
    let figures = load.under("READONLY for 1 s", demote).await;
    figures.check_tokens(&server, Kept::All).await;
}

/// The slot goes from node to node while calls come in: redirections are followed, and no call knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_moved_to_and_fro() {
    let cluster = Cluster::start().await;
    let load = Load::start_with(&at(&cluster.url()).response_timeout(PATIENCE), PATIENCE).await;
    let key = server_id().global_key();
    let mut owner = 0;
    let moving = async |_: &Load| {
        for _ in 0..6 {
            owner = cluster.move_slot_of(&key).await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    let figures = load.under("a cluster's slot moved 6 times", moving).await;
    assert_eq!(figures.without(), 0, "{:?}", figures.errors);
    figures.check_tokens(&cluster.nodes[owner], Kept::All).await;
}
