//! `tollgate doctor --redis-url`: what is told of private Redis servers.

use crate::{
    apiserver::doctor::Said,
    support::{
        redis::{self, Setup},
        serve::command,
    },
};

/// What is told of Redis alone: without a cluster, the rest could not be looked at.
fn said_of_redis(url: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(&folder);
    command.args(["doctor", "--output", "json", "--kubeconfig", "/nonexistent", "--redis-url", url]);
    Said::of(&command.output().expect("the binary starts"))
}

#[tokio::test]
async fn redis_is_looked_at_where_its_url_is_given() {
    let careful = Setup::default().line("maxmemory 64mb").line("maxmemory-policy volatile-ttl").start().await;
    let said = said_of_redis(&careful.url());
    assert!(said.has("ok", "redis", "answers, maxmemory-policy volatile-ttl", ""), "{said:?}");
    assert_eq!(said.code, Some(2), "the cluster could not be looked at: {said:?}");

    let forgetful = Setup::default().line("maxmemory 64mb").line("maxmemory-policy allkeys-lru").start().await;
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

#[tokio::test]
async fn redis_that_keeps_to_itself_is_told_without_its_password() {
    let locked = Setup::default().password("hunter2").line("user reader on >secret ~* -@all +ping +hello +client +select").start().await;
    let as_user = |user: &str| said_of_redis(&format!("redis://{user}{}", locked.address()));
    for (user, state, words, todo) in [
        (":hunter2@", "ok", "answers, maxmemory-policy noeviction", ""),
        ("", "problem", "it does not answer", "credentials"),
        (":hunter3@", "problem", "it does not answer", "credentials"),
        ("reader:secret@", "unknown", "it answers, but tells nothing of itself", "+info"),
    ] {
        let said = as_user(user);
        assert!(said.has(state, "redis", words, todo), "{user}: {said:?}");
        let told = said.report.to_string();
        assert!(!told.contains("hunter") && !told.contains("secret@"), "{told}");
    }
}

#[tokio::test]
async fn every_master_of_a_redis_cluster_is_looked_at() {
    let cluster = redis::Cluster::start().await;
    let said = said_of_redis(&cluster.url());
    assert!(said.has("ok", "redis", "answers, maxmemory-policy noeviction", ""), "{said:?}");
}
