//! `tollgate top`: the buckets of a server, live.
//!
//! | file | contents |
//! |---|---|
//! | `looking` | a sample, from a proxy or from Redis |
//! | `rates` | rates, computed from samples (pure) |
//! | `board` | the state of the screen, and the effect of keys (pure) |
//! | `view` | drawing the screen |
//! | `screen` | the terminal, and its events |
//! | `once` | one sample as text |

mod board;
mod looking;
mod once;
mod rates;
#[cfg(test)]
mod samples;
mod screen;
mod view;

use std::{path::PathBuf, time::Duration};

use anyhow::{bail, ensure};
use clap::Parser;

use self::looking::{Looked, Proxy};
use super::{
    exit::Exit,
    output::print,
    redis::RedisArgs,
    runtime,
    target::{Read, WhichArgs},
    values::ReportFormat,
};
use crate::{
    limiter::{Limiter, Policy},
    model::period::Period,
    proxy::live::Live,
    stores::Redis,
};

/// The default metrics listener of a proxy.
const PROXY: &str = "http://127.0.0.1:9080";
/// The minimum interval: a proxy samples its buckets about once a second.
const MOST_OFTEN: Duration = Duration::from_millis(100);

/// Show the buckets of a server live: tokens left, denials, rates.
///
/// By default from a running proxy, which also reports how many calls were allowed and denied, and shows users as digests; with -f from
/// Redis, which has only users and levels. Read-only: no tokens are consumed. Keys: q quit, arrows and PageUp/PageDown scroll, s order,
/// p pause, / filter, ? help.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate top
      The buckets of the proxy on this machine, until q is pressed
  tollgate top -f mcpserver.yaml --interval 5s
      Those in the Redis that the resource names, shared by all proxies
  tollgate top --once --output json
      Once, for scripts

Exit codes: 0 success, 1 the limits cannot work, 2 the proxy or Redis is unavailable, or stdout is not a terminal")]
pub(super) struct TopArgs {
    /// URL of a proxy's metrics listener (--metrics-listen) [default: http://127.0.0.1:9080]
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    proxy: Option<String>,

    /// Read Redis instead of a proxy: manifest of the server, or - for stdin
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    which: WhichArgs,

    /// How often to refresh
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: Period,

    /// Print once and exit; needs no terminal
    #[arg(long)]
    once: bool,

    /// Format of --once
    #[arg(long, short, default_value = "human", requires = "once")]
    output: ReportFormat,

    #[command(flatten)]
    redis: RedisArgs,
}

pub(super) fn run(args: TopArgs) -> anyhow::Result<Exit> {
    runtime::run(show(args))
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
        None if proxy.is_none() && redis.redis_url.is_some() => bail!("--redis-url needs -f FILE, the manifest of the server"),
        None => Looked::Proxy(Box::new(Proxy::at(proxy.as_deref().unwrap_or(PROXY))?)),
    };
    if !once {
        return screen::run(looked, interval.as_duration()).await;
    }
    let live = looked.look().await?;
    if let Some(error) = &live.error {
        bail!("{} cannot show the buckets: {error}", looked.name());
    }
    print(&rendered(&live, output)?)?;
    Ok(Exit::Clean)
}

fn rendered(live: &Live, output: ReportFormat) -> anyhow::Result<String> {
    Ok(match output {
        ReportFormat::Human => once::render(live),
        ReportFormat::Json => serde_json::to_string_pretty(live)? + "\n",
    })
}
