//! `tollgate doctor --redis-url`: what it reports about Redis and Valkey.

use crate::{
    apiserver::doctor::Said,
    support::{
        redis::{Brand, Cluster, on_both},
        serve::command,
    },
};

on_both! {
    #[tokio::test]:
    redis_is_looked_at_where_its_url_is_given,
    redis_that_keeps_to_itself_is_told_without_its_password,
    every_master_of_a_redis_cluster_is_looked_at,
}

/// What is told of Redis alone: without a cluster, the rest could not be looked at.
fn said_of_redis(url: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(&folder);
    command.args(["doctor", "--output", "json", "--kubeconfig", "/nonexistent", "--redis-url", url]);
    Said::of(&command.output().expect("the binary starts"))
}

async fn redis_is_looked_at_where_its_url_is_given(brand: Brand) {
    let careful = brand.setup().line("maxmemory 64mb").line("maxmemory-policy volatile-ttl").start().await;
    let said = said_of_redis(&careful.url());
    assert!(said.has("ok", "redis", "answers, maxmemory-policy volatile-ttl", ""), "{said:?}");
    assert_eq!(said.code, Some(2), "the cluster could not be looked at: {said:?}");

    let forgetful = brand.setup().line("maxmemory 64mb").line("maxmemory-policy allkeys-lru").start().await;
    let said = said_of_redis(&forgetful.url());
    assert!(
        said.has("problem", "redis", "maxmemory-policy is allkeys-lru: once 64 MiB are full, buckets are forgotten", "noeviction"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(1));
    forgetful.kill();
    let said = said_of_redis(&forgetful.url());
    assert!(said.has("problem", "redis", "it does not answer", "address"), "{said:?}");
}

async fn redis_that_keeps_to_itself_is_told_without_its_password(brand: Brand) {
    let locked = brand.setup().password("hunter2").line("user reader on >secret ~* -@all +ping +hello +client +select").start().await;
    let as_user = |user: &str| said_of_redis(&format!("redis://{user}{}", locked.address()));
    for (user, state, words, todo) in [
        (":hunter2@", "ok", "answers, maxmemory-policy noeviction", ""),
        ("", "problem", "it does not answer", "credentials"),
        (":hunter3@", "problem", "it does not answer", "credentials"),
        ("reader:secret@", "unknown", "it answers, but reports nothing about itself", "+info"),
    ] {
        let said = as_user(user);
        assert!(said.has(state, "redis", words, todo), "{user}: {said:?}");
        let reported = said.report.to_string();
        assert!(!reported.contains("hunter") && !reported.contains("secret@"), "{reported}");
    }
}

async fn every_master_of_a_redis_cluster_is_looked_at(brand: Brand) {
    let cluster = Cluster::start_of(brand).await;
    let said = said_of_redis(&cluster.url());
    assert!(said.has("ok", "redis", "answers, maxmemory-policy noeviction", ""), "{said:?}");
}
