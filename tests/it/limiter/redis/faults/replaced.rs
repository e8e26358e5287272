//! Another Redis takes over.

use std::time::Duration;

use super::harness::{Kept, Load, PATIENCE, lasts, server_id};
use crate::{
    limiter::redis::places::at,
    support::redis::{Brand, Cluster, Watched, on_both},
};

on_both! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]:
    master_killed_and_its_replica_promoted,
    roles_exchanged,
    #[ignore = "Sentinel takes some ten seconds, for figures"]
    roles_exchanged_and_the_old_master_a_replica,
    a_master_that_is_a_replica_for_a_while,
    slot_moved_to_and_fro,
}

async fn master_killed_and_its_replica_promoted(brand: Brand) {
    let watched = Watched::start_of(brand, 1).await;
    let fail_over = async |_: &Load| {
        watched.master.kill();
        watched.wait_for_promotion().await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("master killed, replica promoted by Sentinel", fail_over).await;
    figures.check_tokens(&watched.replica, Kept::Most).await;
}

/// The old master lives on, and takes for itself what it is asked on old connections, until Sentinel has made a replica of it.
async fn roles_exchanged(brand: Brand) {
    let watched = Watched::start_of(brand, 1).await;
    let exchange = async |_: &Load| {
        watched.fail_over().await;
        watched.wait_for_promotion().await;
        // The old master goes on taking writes, which are lost, for some ten seconds; its successor is found in a second.
        lasts(Duration::from_secs(3)).await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("SENTINEL FAILOVER, three seconds past the promotion", exchange).await;
    let (allowed, taken) = figures.check_tokens(&watched.replica, Kept::Most).await;
    assert!(taken * 4 >= allowed, "the successor is found: {taken} taken there for {allowed} calls");
}

async fn roles_exchanged_and_the_old_master_a_replica(brand: Brand) {
    let watched = Watched::start_of(brand, 1).await;
    let exchange = async |_: &Load| {
        watched.fail_over().await;
        watched.wait_for_promotion().await;
        watched.master.wait_for_info("replication", "role", "slave").await;
    };
    let figures = Load::start(&at(&watched.url())).await.under("SENTINEL FAILOVER, as far as the old master's end", exchange).await;
    figures.check_tokens(&watched.replica, Kept::Most).await;
}

async fn a_master_that_is_a_replica_for_a_while(brand: Brand) {
    let (server, other) = (brand.start().await, brand.start().await);
    let load = Load::start(&at(&server.url())).await;
    let demote = async |_: &Load| {
        // Its master has no data to give: what it has would be lost if the link came up, so it never does.
        other.freeze();
        server.ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", other.port())).await;
        lasts(Duration::from_secs(1)).await;
        server.ask::<()>("REPLICAOF NO ONE").await;
    };
    let figures = load.under("READONLY for 1 s", demote).await;
    figures.check_tokens(&server, Kept::All).await;
}

/// The slot goes from node to node while calls come in: redirections are followed, and no call knows.
async fn slot_moved_to_and_fro(brand: Brand) {
    let cluster = Cluster::start_of(brand).await;
    let load = Load::start_with(&at(&cluster.url()).response_timeout(PATIENCE), PATIENCE).await;
    let key = server_id().global_key();
    let mut owner = 0;
    let moving = async |_: &Load| {
        for _ in 0..6 {
            owner = cluster.move_slot_of(&key).await;
            lasts(Duration::from_millis(100)).await;
        }
    };
    let figures = load.under("a cluster's slot moved 6 times", moving).await;
    assert_eq!(figures.without(), 0, "{:?}", figures.errors);
    figures.check_tokens(&cluster.nodes[owner], Kept::All).await;
}

/// Valkey moves a slot in one step, and for a moment writes wait; calls may take longer, and none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_migrated_by_valkey_itself() {
    let cluster = Cluster::start_of(Brand::Valkey).await;
    let load = Load::start_with(&at(&cluster.url()).response_timeout(PATIENCE), PATIENCE).await;
    let key = server_id().global_key();
    let mut owner = 0;
    let moving = async |_: &Load| {
        for _ in 0..3 {
            owner = cluster.migrate_slot_of(&key).await;
            lasts(Duration::from_millis(100)).await;
        }
    };
    let figures = load.under("a slot migrated 3 times by Valkey itself", moving).await;
    assert_eq!(figures.without(), 0, "{:?}", figures.errors);
    figures.check_tokens(&cluster.nodes[owner], Kept::All).await;
}
