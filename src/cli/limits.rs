//! `tollgate limits`: the buckets of a server in Redis.

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    exit::Exit,
    output::print,
    redis::RedisArgs,
    runtime, table,
    target::{Read, SourceArgs},
};
use crate::{
    inspect::{
        Bounds, BucketName, BucketStates,
        name::User,
        report::{BucketsReport, Users},
    },
    limiter::{Call, Limiter, Policy, ServerId},
    manifest::server::LimitedServer,
    stores::{Redis, redis::LONGEST_BELIEF},
};

/// Show the buckets of a server in Redis, or reset one.
///
/// Listing and showing are read-only: no tokens are consumed. Full buckets are not stored and not listed. Buckets in memory are visible only
/// to their own proxy.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate limits ls -f mcpserver.yaml
      Every bucket that is not full, and the time until the next token
  tollgate limits get -f mcpserver.yaml --tool search --user alice
      The buckets that count alice's calls of search, including full ones
  tollgate limits reset -f mcpserver.yaml --user alice
      Refill alice's bucket; --tool selects a tool's bucket; without --user, the bucket shared by all callers

Exit codes: 0 success, 1 the limits cannot work, 2 Redis is unavailable or cannot be inspected")]
pub(super) struct LimitsArgs {
    #[command(subcommand)]
    command: LimitsCommand,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// List the buckets that are not full
    Ls {
        #[command(flatten)]
        server: ServerArgs,
        /// Maximum number of buckets to list
        #[arg(long, value_name = "N", default_value_t = 1000)]
        most: usize,
    },
    /// Show the buckets that count a call
    Get {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Refill a bucket
    Reset {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        call: CallArgs,
    },
}

#[derive(Debug, clap::Args)]
struct ServerArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    redis: RedisArgs,
    /// Format
    #[arg(long, short, default_value = "human")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct CallArgs {
    /// Name of the tool
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// The user: the sub claim of the token
    #[arg(long, value_name = "ID")]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table.
    Human,
    /// One object.
    Json,
}

pub(super) fn run(args: LimitsArgs) -> anyhow::Result<Exit> {
    runtime::run(answer(args.command)).map(|()| Exit::Clean)
}

async fn answer(command: LimitsCommand) -> anyhow::Result<()> {
    match command {
        LimitsCommand::Ls { server, most } => {
            let (limiter, _, output) = open(server)?;
            let found = limiter.list(Bounds { most_keys: most, ..Bounds::default() }).await?;
            show(&found, output)
        }
        LimitsCommand::Get { server, call } => {
            let (limiter, _, output) = open(server)?;
            let asked = Call::of(call.tool.as_deref().unwrap_or_default());
            let asked = asked.by_known(call.user.as_deref());
            let buckets = limiter.inspect(&asked).await?;
            show(&BucketStates { buckets, foreign_keys: Vec::new(), complete: true }, output)
        }
        LimitsCommand::Reset { server, call } => {
            let (limiter, source, output) = open(server)?;
            let name = BucketName { tool: call.tool, user: call.user.as_deref().map(User::new) };
            let was_drawn_on = limiter.reset(&name).await?;
            let limit = name.limit();
            let ServerId { namespace, name } = &source.server;
            let cached = LONGEST_BELIEF.as_secs_f64();
            match output {
                Output::Json => {
                    let report = json!({"limit": limit.to_string(), "reset": was_drawn_on, "deniedFromCacheSeconds": cached});
                    print(&format!("{report}\n"))
                }
                Output::Human => {
                    let what = if was_drawn_on { "is full again" } else { "was full already" };
                    print(&format!("{limit} of {namespace}/{name} {what}; proxies may serve cached denials for {cached} s more\n"))
                }
            }
        }
    }
}

fn open(server: ServerArgs) -> anyhow::Result<(Limiter<Redis>, LimitedServer, Output)> {
    let Read { source, .. } = server.source.read()?;
    let redis = Redis::new(&server.redis.resolve(source.storage.as_ref())?)?;
    let policy = Policy::new(&source.server, &source.limits);
    Ok((Limiter::new(redis, policy), source, server.output))
}

fn show(found: &BucketStates, output: Output) -> anyhow::Result<()> {
    let report = BucketsReport::of(found, Users::Named);
    match output {
        Output::Human => {
            let more = if found.complete { "" } else { "there are more: raise --most\n" };
            print(&format!("{}{more}", table::buckets(&report)))
        }
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
    }
}
