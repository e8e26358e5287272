//! `tollgate top`: the buckets of a server, live.
//!
//! | file | what lives there |
//! |---|---|
//! | `looking` | a sample, from a proxy or from Redis |
//! | `rates` | from samples to what happens each second (pure) |
//! | `board` | what is on the screen, and what keys do to it (pure) |
//! | `view` | the screen, drawn |
//! | `screen` | the terminal, and what happens meanwhile |
//! | `once` | one sample as a text |

mod board;
mod looking;
mod once;
mod rates;
mod screen;
mod view;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Parser;

use self::looking::{Looked, Proxy};
use super::{
    args::ReportFormat,
    exit::Exit,
    print,
    redis::RedisArgs,
    target::{Read, Unworkable, WhichArgs},
    tell_error,
};
use crate::{
    limiter::{Limiter, Policy},
    model::period::Period,
    proxy::live::Live,
    stores::Redis,
};

/// Where a proxy has its metrics by default.
const PROXY: &str = "http://127.0.0.1:9080";
/// Looking more often shows nothing more, and costs others.
const MOST_OFTEN: Duration = Duration::from_millis(100);

/// Show the buckets of a server live: what is left, who denies, how fast.
///
/// From a running proxy, which also tells how many calls were allowed and denied and names users by digests; or with -f from Redis, which
/// knows users and levels only. Looking takes nothing. Keys: q quit, arrows and PageUp/PageDown scroll, s order, p pause, / filter, ? help.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate top
      The buckets of the proxy on this machine, until q is pressed
  tollgate top -f mcpserver.yaml --interval 5s
      Those in the Redis that the resource names, shared by all proxies
  tollgate top --once --output json
      Once, for scripts

Exit codes: 0 told, or stopped as told, 1 the limits cannot work, 2 the proxy or Redis does not tell, or no terminal")]
pub(super) struct TopArgs {
    /// A proxy, by where its metrics are (--metrics-listen) [default: http://127.0.0.1:9080]
    #[arg(long, env = "TOLLGATE_PROXY", value_name = "URL", conflicts_with = "file")]
    proxy: Option<String>,

    /// Redis instead of a proxy: the resource whose limits are meant, or - for stdin
    #[arg(long, short, env = "TOLLGATE_FILE", value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    which: WhichArgs,

    /// How often to look
    #[arg(long, env = "TOLLGATE_INTERVAL", value_name = "DURATION", default_value = "1s")]
    interval: Period,

    /// Tell once and end, without a terminal
    #[arg(long, env = "TOLLGATE_ONCE")]
    once: bool,

    /// Format of --once
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human", requires = "once")]
    output: ReportFormat,

    #[command(flatten)]
    redis: RedisArgs,
}

pub(super) fn run(args: TopArgs) -> anyhow::Result<Exit> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    match runtime.block_on(show(args)) {
        Err(error) if error.is::<Unworkable>() => {
            tell_error(&error);
            Ok(Exit::Found)
        }
        outcome => outcome,
    }
}

async fn show(args: TopArgs) -> anyhow::Result<Exit> {
    let TopArgs { proxy, file, which, interval, once, output, redis } = args;
    ensure!(interval.as_duration() >= MOST_OFTEN, "--interval: at least {MOST_OFTEN:?}");
    let looked = match file {
        Some(file) => {
            let Read { source, .. } = which.read(file)?;
            let redis = Redis::new(&redis.resolve(source.storage.as_ref())?)?;
            Looked::Redis(Limiter::new(redis, Policy::new(&source.server, &source.limits)))
        }
        None if proxy.is_none() && redis.redis_url.is_some() => bail!("--redis-url needs -f FILE: the resource whose buckets are meant"),
        None => Looked::Proxy(Box::new(Proxy::at(proxy.as_deref().unwrap_or(PROXY))?)),
    };
    if !once {
        return screen::run(looked, interval.as_duration()).await;
    }
    let live = looked.look().await?;
    if let Some(error) = &live.error {
        bail!("{} does not know: {error}", looked.name());
    }
    print(&told(&live, output)?)?;
    Ok(Exit::Clean)
}

fn told(live: &Live, output: ReportFormat) -> anyhow::Result<String> {
    Ok(match output {
        ReportFormat::Human => once::render(live),
        ReportFormat::Json => serde_json::to_string_pretty(live)? + "\n",
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        inspect::report::{BucketReport, BucketsReport, LevelReport, StatusReport},
        limiter::ServerId,
        proxy::live::{LimitTotals, Live, Totals},
    };

    /// One token comes back each second.
    pub(super) fn bucket(limit: &str, user: Option<&str>, tokens: f64, max_tokens: u32) -> BucketReport {
        let level = LevelReport {
            tokens,
            max_tokens,
            wait_seconds: Some((1.0 - tokens).max(0.0)),
            full_in_seconds: f64::from(max_tokens) - tokens,
            ttl_seconds: None,
        };
        BucketReport { limit: limit.to_owned(), user: user.map(str::to_owned), key: None, status: StatusReport::Level(level) }
    }

    pub(super) fn live(buckets: Vec<BucketReport>, totals: Option<Totals>) -> Live {
        Live {
            server: ServerId::new("ns", "search"),
            store: "memory".to_owned(),
            shadow: false,
            age_seconds: 0.0,
            error: None,
            told: BucketsReport { buckets, foreign_keys: Vec::new(), complete: true },
            totals,
        }
    }

    /// All calls are counted, and denied, by `global`.
    pub(super) fn totals(up_seconds: f64, allowed: u64, denied: u64) -> Totals {
        let limits = vec![LimitTotals { limit: "global".to_owned(), allowed, denied }];
        Totals { up_seconds, allowed, denied, limits, ..Totals::default() }
    }
}
