//! How many calls a second Envoy forwards when `tollgate authz` decides them.
//!
//! ```text
//! make bench-authz
//! cargo bench --bench authz -- [--seconds N] [--rounds N] [--json] [SCENARIO ...]
//! ```
//!
//! | party | what it does |
//! |---|---|
//! | *alone* | an Envoy that only forwards, in front of an nginx that answers each POST with the same JSON-RPC result |
//! | *local* | the same with Envoy's own `local_ratelimit` filter: one bucket, in Envoy's own memory, that reads neither token nor body |
//! | *tollgate* | the same with the filter of `examples/envoy`, and `tollgate authz` with its defaults and buckets in memory |
//!
//! Every Envoy is a process of its own with one worker, and has the example's configuration but for its filter. Client, calls and rounds are
//! those of the benchmark `proxy`: 300 bytes, 100 users, ES256 tokens that were seen before, four buckets; `anonymous` is the same without
//! tokens, with two. CPU time of *tollgate* is that of the service, without its Envoy.

#![allow(clippy::indexing_slicing, reason = "a benchmark may stop at a figure that it built wrongly itself")]

#[allow(dead_code, unreachable_pub, clippy::panic, clippy::expect_used, reason = "shared with the tests, where a panic is a failure")]
#[path = "../../tests/it/support/find.rs"]
mod find;
#[allow(dead_code, reason = "streams are the proxy's")]
#[path = "../proxy/load.rs"]
mod load;
mod parties;
mod report;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../proxy/requests.rs"]
mod requests;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../proxy/servers.rs"]
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
    load::Load,
    parties::{Parties, Party},
    report::{Report, Round, Row},
    requests::{Kind, Requests},
    shared::options::Options,
};

const WARM_UP: Duration = Duration::from_millis(500);
/// What servers.rs names for the proxy's streams.
const EVENT_SERVER: &str = "";

fn main() -> anyhow::Result<()> {
    let options = Options::parse(std::env::args().skip(1), Duration::from_secs(1), |_, _| Ok(()))?;
    // One thread: what the client leaves of the machine is for those who are measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&options))?;
    let text = if options.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let mut requests = Requests::new();
    let parties = Parties::start(folder.path(), &requests.keys()).await?;
    let mut report = Report::default();
    for (shape, connections) in [("32", 32), ("alone", 1)] {
        for kind in [Kind::Call, Kind::Anonymous] {
            let name = format!("{shape}/{}", kind.name());
            if !options.wants(&name) {
                continue;
            }
            writeln!(std::io::stderr(), "{name}")?;
            let load = Load::Calls { connections, requests: requests.calls(kind), status: 200 };
            report.rows.push(row(options, name.clone(), &load, &parties, kind).await.context(name)?);
        }
    }
    Ok(report)
}

/// Warms the parties up, and measures them in turn.
async fn row(options: &Options, scenario: String, load: &Load, parties: &Parties, kind: Kind) -> anyhow::Result<Row> {
    for party in Party::ALL {
        let address = parties.envoy(party, kind).address();
        load::prepare(address, load).await.with_context(|| party.name())?;
        load::run(address, load, WARM_UP).await.with_context(|| party.name())?;
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = Vec::new();
        for party in Party::ALL {
            let (envoy, service) = (parties.envoy(party, kind), parties.service(party, kind));
            let cpu = || anyhow::Ok([Some(envoy.cpu()?), service.map(|service| service.cpu()).transpose()?].map(Option::unwrap_or_default));
            let before = cpu()?;
            let tally = load::run(envoy.address(), load, options.round).await.with_context(|| party.name())?;
            let after = cpu()?;
            round.push(Round::new(tally, [after[0] - before[0], after[1] - before[1]]));
        }
        rounds.push(round);
    }
    Ok(Row { scenario, rounds })
}
