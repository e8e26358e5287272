//! How many calls a second `tollgate proxy` forwards, compared with nginx and with a proxy in Go in front of the same server.
//!
//! ```text
//! make bench-proxy
//! cargo bench --bench proxy -- [--seconds N] [--rounds N] [--json] [SCENARIO ...]
//! ```
//!
//! | party | what it does |
//! |---|---|
//! | *direct* | nothing: an nginx that answers each POST with the same JSON-RPC result, the server behind both others |
//! | *nginx* | one worker; `limit_req` by token and for all together, `proxy_pass` over connections that are kept (`nginx.conf`) |
//! | *tollgate* | the real binary with its defaults, buckets in memory: it verifies the token, reads the call strictly, and takes from four buckets |
//!
//! nginx neither verifies tokens nor reads bodies, so it is not an equal; it is what people know. Where calls are counted in Redis, the rival
//! is a proxy in Go instead (`rival/main.go`), with the parts and the steps of ToolHive's, though without its logs, sessions and metrics: Go's
//! own reverse proxy and its default connections, the body decoded as JSON, one `EVALSHA` for each call by go-redis. Each server is a process of its own, so
//! that memory and CPU time are measured separately. All get the same bytes from the same client (`load`), one thread that shares the machine's cores
//! with them. A scenario is warmed up, then measured in rounds that go through the parties in turn, so that what else the machine does hits
//! all alike; a figure is the median of its rounds, a ratio the median of the ratios round by round, and what a proxy *adds* the median of
//! the differences to *direct*. An answer that is not the expected one ends the benchmark.
//!
//! | scenarios | |
//! |---|---|
//! | `32/..`, `alone/..` | 32 connections that are kept, or one; each asks again as soon as it is answered |
//! | `call` | a `tools/call` of 300 bytes; 100 users, each with an ES256 token that was seen before |
//! | `4kB`, `64kB` | the same with larger arguments |
//! | `new-es256`, `new-rs256`, `new-eddsa` | the same as `call` with tokens that are not remembered: the users take turns with more than 10,000 |
//! | `anonymous` | `--auth none`: two buckets, callers are not authenticated |
//! | `redis` | the same with the buckets in Redis, beside the proxy in Go |
//! | `denied` | a bucket of the user's denies, with 429; nothing is logged |
//! | `stream/first-event` | on a connection that is there, from a GET to the first event of its answer, which then stays open |
//! | `stream/idle` | resident memory of fresh processes with 1,000 such answers open, and before |
//!
//! CPU time is that of the party's process alone, by request: of the figures, the one that the client's own work does not blur.

#![allow(clippy::indexing_slicing, reason = "a benchmark may stop at a figure that it built wrongly itself")]

mod events;
mod load;
mod report;
mod requests;
mod servers;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../shared/mod.rs"]
mod shared;
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "shared with the tests, where a panic is a failure")]
#[path = "../../tests/it/auth/signer.rs"]
mod signer;

use std::{io::Write, time::Duration};

use anyhow::Context;

use self::{
    load::{Load, Target},
    report::{Report, Round, Row},
    requests::{Kind, Requests},
    servers::{Party, Servers, Streaming},
    shared::options::Options,
};

const WARM_UP: Duration = Duration::from_millis(500);
const IDLE_STREAMS: usize = 1000;

/// The argument that makes this executable the server of streams.
const EVENT_SERVER: &str = "--event-server";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    // One thread: what the client leaves of the machine is for those who are measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.next_if(|first| first == EVENT_SERVER).is_some() {
        return runtime.block_on(events::run());
    }
    let options = Options::parse(args, Duration::from_secs(1), |_, _| Ok(()))?;
    let report = runtime.block_on(measure(&options))?;
    let text = if options.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let mut requests = Requests::new();
    let with_redis = options.wants("32/redis") || options.wants("alone/redis");
    let servers = Servers::start(folder.path(), &requests.keys(), with_redis).await?;
    let mut report = Report::default();
    for (shape, connections) in [("32", 32), ("alone", 1)] {
        for kind in Kind::of_shape(connections) {
            let name = format!("{shape}/{}", kind.name());
            if !options.wants(&name) {
                continue;
            }
            writeln!(std::io::stderr(), "{name}")?;
            let load = Load::Calls { connections, requests: requests.calls(kind), status: if kind == Kind::Denied { 429 } else { 200 } };
            let targets = servers.targets(kind);
            report.rows.push(row(options, name.clone(), kind.bytes(), &load, &targets).await.context(name)?);
        }
    }
    let streaming = Streaming::start(folder.path()).await?;
    if options.wants("stream/idle") {
        report.idle = Some(idle(&streaming).await.context("stream/idle")?);
    }
    let name = "stream/first-event";
    if options.wants(name) {
        let load = Load::Streams { request: requests::stream() };
        report.rows.push(row(options, name.to_owned(), 0, &load, &streaming.targets()).await.context(name)?);
    }
    Ok(report)
}

/// Warms the parties up, and measures them in turn.
async fn row(options: &Options, scenario: String, bytes: usize, load: &Load, targets: &[(Party, Target<'_>)]) -> anyhow::Result<Row> {
    for (party, target) in targets {
        load::prepare(target.address, load).await.with_context(|| party.name())?;
        load::run(target.address, load, WARM_UP).await.with_context(|| party.name())?;
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = [None; Party::ALL.len()];
        for (party, target) in targets {
            let cpu_before = target.server.cpu()?;
            let tally = load::run(target.address, load, options.round).await.with_context(|| party.name())?;
            round[*party as usize] = Some(Round::new(tally, target.server.cpu()? - cpu_before));
        }
        rounds.push(round);
    }
    Ok(Row { scenario, bytes, rounds })
}

/// Resident memory of each party in kB, without streams and with them.
async fn idle(streaming: &Streaming) -> anyhow::Result<Vec<(Party, [u64; 2])>> {
    let mut found = Vec::new();
    for (party, target) in streaming.targets() {
        let before = target.server.rss_kb()?;
        let held = load::hold(target.address, &requests::stream(), IDLE_STREAMS).await.with_context(|| party.name())?;
        found.push((party, [before, target.server.rss_kb()?]));
        drop(held);
    }
    Ok(found)
}
