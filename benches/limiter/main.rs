//! How many calls a second tollgate's stores decide, each compared with a baseline.
//!
//! ```text
//! make bench-limiter
//! cargo bench --no-default-features --features redis --bench limiter -- \
//!     [--full] [--seconds N] [--rounds N] [--json] [--svg FILE] [SCENARIO ...]
//! ```
//!
//! | scenarios | tollgate | beside it |
//! |---|---|---|
//! | `allow`, `deny` | the store in Redis, each denial asked for anew | *EVALSHA*: one script for each call, as ToolHive's Go proxies do, on the same kind of connection of the same library (`rival.lua`) |
//! | `certain` | the same, with denials remembered | the same |
//! | `memory-allow`, `memory-deny` | the store in memory | *governor*, keyed by `String`; for several buckets one limiter after the other, which is not all or none |
//!
//! A scenario is called `KIND/BUCKETS/CALLERS/USERS`: `allow/n4/64c/10000u` draws on four buckets (`global`, `perUser` and both of a tool;
//! `n2` is `global` and `perUser`, `n1` is `perUser`), has 64 callers, each of which calls again as soon as it is answered, and each call
//! is by a random one of 10,000 users. Without `--full` a part of all combinations runs: everything with 100 users, and the other users with
//! 64 callers. What denies is the last bucket of the plan, after all others have been asked.
//!
//! Callers are tasks on one runtime with a thread for each core, which Redis shares: it is started here, on a free port of 127.0.0.1, without
//! persistence, and ended with this process. A scenario is warmed up, which makes all buckets and drains those that deny, then measured in
//! rounds that alternate between the two, so that what else the machine does hits both alike. A figure is the median of its rounds, and a
//! ratio the median of the ratios round by round. An answer that is not the expected one ends the benchmark. Absolute figures are worth little
//! from one machine to the next: most targets, from the project's list of numbers to beat, are ratios.
//!
//! | figure | is |
//! |---|---|
//! | p50, p99 | from the question to the answer; without Redis, of every 64th call, as the clock would cost more than the answer |
//! | CPU | of the Redis process, by call: `used_cpu_user` + `used_cpu_sys` of `INFO cpu` |
//! | commands | that scripts ran, by call: `INFO commandstats` without `EVALSHA` and `EVAL` |
//! | bytes | that Redis would send to a replica, by call: growth of `master_repl_offset`, in a short run on a second server that had a replica |
//! | batch | calls in one script |
//!
//! In `certain` a few commands remain: a remembered denial is used for a second at most, then one call has to ask again. The column *asked*
//! of the JSON says how many calls did; the others sent nothing.

#![allow(clippy::indexing_slicing, reason = "a benchmark may stop at a figure that it built wrongly itself")]

mod chart;
mod load;
mod parties;
mod report;
mod scenario;
mod server;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../shared/mod.rs"]
mod shared;

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;

use self::{
    load::Load,
    parties::{Governor, OneByOne, Party, Tollgate},
    report::{Report, Round, Row},
    scenario::{Place, Scenario},
    server::Server,
    shared::options::Options,
};

const WARM_UP: Duration = Duration::from_millis(200);
/// On the server that counts bytes for a replica.
const BYTES_ROUND: Duration = Duration::from_millis(150);

fn main() -> anyhow::Result<()> {
    let asked = Asked::parse(std::env::args().skip(1))?;
    let report = tokio::runtime::Runtime::new()?.block_on(measure(&asked))?;
    if let Some(path) = &asked.svg {
        std::fs::write(path, chart::svg(&report)).with_context(|| format!("--svg {}", path.display()))?;
    }
    let text = if asked.options.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[derive(Debug)]
struct Asked {
    options: Options,
    full: bool,
    svg: Option<PathBuf>,
}

impl Asked {
    fn parse(args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut full, mut svg, mut only) = (false, None, Vec::new());
        let mut options = Options::parse(args, Duration::from_millis(400), |flag, rest| {
            match flag {
                "--full" => full = true,
                "--svg" => svg = Some(rest.next().context("--svg FILE")?.into()),
                "--only" => only.push(rest.next().context("--only SCENARIO")?),
                _ => {}
            }
            Ok(())
        })?;
        options.only.extend(only);
        Ok(Self { options, full, svg })
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let (name, only) = (scenario.to_string(), &self.options.only);
        // `allow` is a part of `memory-allow`, too, so what counts is how a name begins.
        (self.full || scenario.is_ordinary() || !only.is_empty()) && (only.is_empty() || only.iter().any(|part| name.starts_with(part)))
    }
}

async fn measure(asked: &Asked) -> anyhow::Result<Report> {
    let servers = Servers { plain: Server::start().await?, replicated: Server::start().await? };
    servers.replicated.fill_backlog().await?;
    let mut report = Report::default();
    for scenario in Scenario::all().filter(|scenario| asked.wants(scenario)) {
        writeln!(std::io::stderr(), "{scenario}")?;
        report.rows.push(row(&asked.options, &servers, scenario).await.with_context(|| scenario.to_string())?);
    }
    Ok(report)
}

/// Both without persistence.
struct Servers {
    /// Where time is measured: nothing is written for a replica.
    plain: Server,
    /// Where bytes for a replica are counted.
    replicated: Server,
}

async fn row(options: &Options, servers: &Servers, scenario: Scenario) -> anyhow::Result<Row> {
    if scenario.place == Place::Memory {
        let (ours, rival) = (Arc::new(Tollgate::in_memory(&scenario)), Arc::new(Governor::new(&scenario)?));
        return rounds(options, None, scenario, [None, None], &ours, &rival).await;
    }
    let mut bytes = [None; 2];
    let replicated = &servers.replicated;
    bytes[0] = Some(replicated_bytes(replicated, &scenario, &Arc::new(Tollgate::in_redis(&scenario, replicated)?)).await?);
    bytes[1] = Some(replicated_bytes(replicated, &scenario, &Arc::new(OneByOne::connect(&scenario, replicated).await?)).await?);
    let plain = &servers.plain;
    plain.flush().await?;
    let (ours, rival) = (Arc::new(Tollgate::in_redis(&scenario, plain)?), Arc::new(OneByOne::connect(&scenario, plain).await?));
    rounds(options, Some(plain), scenario, bytes, &ours, &rival).await
}

/// Bytes for a replica, by call.
async fn replicated_bytes<P: Party>(server: &Server, scenario: &Scenario, party: &Arc<P>) -> anyhow::Result<f64> {
    server.flush().await?;
    load::prepare(party, scenario).await?;
    let before = server.usage().await?;
    let tally = load::run(party, &Load::of(scenario), BYTES_ROUND).await?;
    let used = server.usage().await?.since(&before);
    Ok(used.replicated_bytes as f64 / tally.calls.max(1) as f64)
}

async fn rounds<A: Party, B: Party>(
    options: &Options,
    server: Option<&Server>,
    scenario: Scenario,
    bytes: [Option<f64>; 2],
    ours: &Arc<A>,
    rival: &Arc<B>,
) -> anyhow::Result<Row> {
    load::prepare(ours, &scenario).await?;
    load::prepare(rival, &scenario).await?;
    let load = Load::of(&scenario);
    load::run(ours, &load, WARM_UP).await?;
    load::run(rival, &load, WARM_UP).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let first = round(server, ours, &load, options.round).await?;
        let second = round(server, rival, &load, options.round).await?;
        rounds.push([first, second]);
    }
    Ok(Row { scenario, names: [ours.name(), rival.name()], bytes, rounds })
}

async fn round<P: Party>(server: Option<&Server>, party: &Arc<P>, load: &Load, duration: Duration) -> anyhow::Result<Round> {
    let batches = party.batches();
    let Some(server) = server else {
        return Ok(Round::new(load::run(party, load, duration).await?, None, batches));
    };
    let before = server.usage().await?;
    let tally = load::run(party, load, duration).await?;
    let used = server.usage().await?.since(&before);
    Ok(Round::new(tally, Some(used), party.batches().since(batches)))
}
