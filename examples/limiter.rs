//! The limiter in a few lines: limits, five calls, and when the denied one may be retried.
//!
//! `cargo run --example limiter` counts in memory, `cargo run --example limiter -- redis://127.0.0.1` in Redis.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{env, error::Error};

use tollgate::{
    limiter::{Call, Decision, Limiter, Policy, ServerId, Store},
    model::{
        bucket::Bucket,
        limits::{Limits, ToolLimits},
    },
    stores::{Guard, GuardSettings, Memory, Redis, redis::RedisSettings},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1) {
        Some(url) => call(Guard::new(Redis::new(&RedisSettings::parse(&url)?)?, GuardSettings::default())).await,
        None => call(Memory::default()).await,
    }
}

async fn call(store: impl Store) -> Result<(), Box<dyn Error>> {
    let limits = Limits::new().global(Bucket::per_minute(100)).tool("web_search", ToolLimits::new().per_user(Bucket::per_minute(2)));
    let limiter = Limiter::new(store, Policy::new(&ServerId::new("default", "search"), &limits));

    for (user, tool) in
        [("alice", "web_search"), ("alice", "web_search"), ("alice", "web_search"), ("bob", "web_search"), ("alice", "list")]
    {
        match limiter.decide(&Call::of(tool).by(user)).await? {
            Decision::Allowed { remaining, .. } => println!("{user} {tool}: allowed, {} left", remaining.unwrap_or(u32::MAX)),
            Decision::Denied(denial) => {
                println!("{user} {tool}: denied by {}, again in {:.1?}", denial.limit, denial.retry_after().unwrap_or_default());
            }
        }
    }
    Ok(())
}
