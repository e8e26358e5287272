//! The servers do what tests rely on.

use std::time::Duration;

use redis::{ErrorKind, ServerErrorKind};
use tokio::time::timeout;

use super::{Brand, Cluster, Setup, Tls, Watched};

on_both! {
    #[tokio::test]:
    a_server_is_the_one_that_was_asked_for,
    a_killed_server_comes_back_on_its_port_with_what_it_kept,
    a_frozen_server_hangs_until_it_is_thawed,
    users_may_do_what_they_were_given,
    a_cluster_serves_every_slot_and_redirects_where_one_has_moved,
    sentinels_promote_the_replica_of_a_dead_master,
    three_sentinels_agree,
}

async fn a_killed_server_comes_back_on_its_port_with_what_it_kept(brand: Brand) {
    for (appendonly, kept) in [("no", None), ("yes", Some("v".to_owned()))] {
        let server = brand.setup().line(&format!("appendonly {appendonly}")).line("appendfsync no").start().await;
        server.ask::<()>("SET k v").await;
        server.kill();
        assert!(server.try_ask::<()>("PING").await.is_err_and(|error| error.is_connection_refusal()));
        server.restart().await;
        assert_eq!(server.ask::<Option<String>>("GET k").await, kept, "appendonly {appendonly}");
    }
}

async fn a_frozen_server_hangs_until_it_is_thawed(brand: Brand) {
    let server = brand.start().await;
    let connection = server.connect().await;
    server.freeze();
    let ping = || async { redis::cmd("PING").query_async::<String>(&mut connection.clone()).await };
    assert!(timeout(Duration::from_millis(100), ping()).await.is_err(), "it answered");
    server.thaw();
    assert_eq!(ping().await.expect("it answers"), "PONG");
}

#[tokio::test]
async fn tls_wants_a_certificate_of_the_client() {
    let tls = Tls::new();
    let server = Setup::default().password("administrator").tls(tls.clone()).start().await;
    assert_eq!(server.ask::<String>("PING").await, "PONG");
    let without = redis::TlsCertificates { client_tls: None, root_cert: Some(tls.ca_pem.clone().into()) };
    let client = redis::Client::build_with_tls(format!("rediss://:administrator@{}", server.address()), without).expect("a good client");
    assert!(client.get_multiplexed_async_connection().await.is_err_and(|error| error.is_io_error()), "who came in without one?");
}

async fn users_may_do_what_they_were_given(brand: Brand) {
    let server = brand.setup().password("administrator").line("user guest on >secret ~mine:* +get").start().await;
    let client = redis::Client::open(format!("redis://guest:secret@{}", server.address())).expect("a good URL");
    let mut guest = client.get_multiplexed_async_connection().await.expect("the server is up");
    let mut get = async |key: &str| redis::cmd("GET").arg(key).query_async::<Option<String>>(&mut guest).await;
    assert_eq!(get("mine:k").await.expect("it is the guest's"), None);
    assert_eq!(get("k").await.map_err(|error| error.kind()), Err(ErrorKind::Server(ServerErrorKind::NoPerm)));
}

async fn a_cluster_serves_every_slot_and_redirects_where_one_has_moved(brand: Brand) {
    let cluster = Cluster::start_of(brand).await;
    let nodes = cluster.nodes.iter().map(|node| format!("redis://{}", node.address()));
    let client = redis::cluster::ClusterClient::new(nodes).expect("good URLs");
    let mut connection = client.get_async_connection().await.expect("the cluster is up");
    for key in ["{a}", "{b}", "{c}", "{d}"] {
        redis::cmd("SET").arg(key).arg("v").query_async::<()>(&mut connection).await.expect("somebody has the slot");
    }
    for key in ["{a}", "{b}"] {
        cluster.move_slot_of(key).await;
        assert_eq!(redis::cmd("GET").arg(key).query_async::<String>(&mut connection).await.expect("it is found"), "v");
    }
}

async fn sentinels_promote_the_replica_of_a_dead_master(brand: Brand) {
    let watched = Watched::start_of(brand, 1).await;
    let mut connection = watched.master.connect().await;
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg("k").arg("v").ignore().cmd("WAIT").arg(1).arg(5000);
    assert_eq!(pipe.query_async::<(u32,)>(&mut connection).await.expect("it is up"), (1,), "replicas that have it");
    watched.master.kill();
    watched.wait_for_promotion().await;
    assert_eq!(watched.replica.ask::<String>("GET k").await, "v");
    watched.replica.ask::<()>("SET k w").await;
}

async fn three_sentinels_agree(brand: Brand) {
    let watched = Watched::start_of(brand, 3).await;
    watched.master.freeze();
    watched.wait_for_promotion().await;
}

async fn a_server_is_the_one_that_was_asked_for(brand: Brand) {
    let expected = (brand == Brand::Valkey).then(|| "valkey".to_owned());
    assert_eq!(brand.start().await.info("server", "server_name").await, expected);
}
