//! Redis: does it answer, is it new enough, and does it forget buckets?

use super::report::Notes;
use crate::{
    limiter::Store,
    stores::redis::{Redis, RedisSettings, RedisStoreError, facts::RedisFacts},
};

const CHECK: &str = "redis";

pub(super) async fn look(settings: &RedisSettings, notes: &mut Notes) -> Result<(), RedisStoreError> {
    // A doctor has more patience than a call that waits.
    let patience = std::time::Duration::from_secs(5);
    let store = Redis::new(&settings.clone().connect_timeout(patience).response_timeout(patience))?;
    if let Err(error) = store.probe().await {
        notes.problem(
            CHECK,
            format!("it does not answer: {error}"),
            "see address, credentials and TLS, and whether a NetworkPolicy is in between",
        );
        return Ok(());
    }
    match store.facts().await {
        Err(error) => notes.unknown(CHECK, format!("it answers, but reports nothing about itself: {error}"), "let the ACL user call +info"),
        Ok(servers) if servers.is_empty() => notes.unknown(CHECK, "it answers, but reports nothing about itself", "ask its administrator"),
        Ok(servers) => servers.iter().for_each(|facts| look_at(facts, notes)),
    }
    Ok(())
}

fn look_at(facts: &RedisFacts, notes: &mut Notes) {
    let before = notes.len();
    match facts.is_new_enough() {
        Some(true) => {}
        Some(false) => {
            notes.problem(CHECK, format!("version {} cannot run the limiter's script", facts.version), "use Redis 6.2 or newer, or Valkey")
        }
        None => notes.unknown(CHECK, format!("which version it is: {:?}", facts.version), "the limiter needs what Redis 6.2 has"),
    }
    if facts.evicts_any_key() {
        let policy = &facts.max_memory_policy;
        let when = match facts.max_memory {
            0 => "once a maxmemory is set".to_owned(),
            bytes => format!("once {} MiB are full", bytes.div_ceil(1024 * 1024)),
        };
        notes.problem(
            CHECK,
            format!("maxmemory-policy is {policy}: {when}, buckets are forgotten, and a forgotten bucket is a full one"),
            "CONFIG SET maxmemory-policy noeviction (or volatile-ttl), and see `tollgate explain FILE` for the keys that are needed",
        );
    }
    if notes.len() == before {
        notes.ok(CHECK, format!("{} answers, maxmemory-policy {}", facts.version, facts.max_memory_policy));
    }
}
