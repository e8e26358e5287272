//! How many reviews a second `tollgate serve` answers, compared with a minimal webhook in the same language.
//!
//! ```text
//! make bench-admission
//! cargo bench --bench admission -- [--seconds N] [--rounds N] [--json] [SCENARIO ...]
//! ```
//!
//! Two servers run at once, each a process of its own, so that memory and CPU time are measured separately:
//! - *tollgate*: the real binary, `tollgate serve` with development certificates;
//! - *bare*: hyper and rustls with the same certificate, which decode the body to a `serde_json::Value` and echo `request.uid`.
//!
//! Both get the same bytes (`reviews`) from the same client (`load`), which shares the machine's cores with them. A scenario is warmed up,
//! then measured in rounds that alternate between the servers, so that what else the machine does hits both alike; a figure is the median
//! of its rounds, and a ratio the median of the ratios round by round. Absolute figures are worth little from one machine to the next: the
//! targets, from the project's list of numbers to beat, are ratios.
//!
//! | scenario | connections | requests in flight | review |
//! |---|---|---|---|
//! | `h2/validate`, `h2/mutate` | 2, HTTP/2 | 64 | an UPDATE of 2-3 kB |
//! | `h1/validate`, `h1/mutate` | 64, HTTP/1.1, as the API server does it | 64 | the same |
//! | `alone/validate`, `alone/mutate` | 1, HTTP/1.1 | 1 | the same |
//! | `large/validate`, `large/mutate` | 4, HTTP/1.1 | 4 | the same with 1 MB |
//!
//! | `worst/TOOLSxOWNERS` | none: `admission::review` in this process | 1 | the largest objects, see `worst` |
//!
//! Every `mutate` review says `shared` and is answered with the whole patch: value, ownership, annotation. Resident memory is read
//! before the first request, after the small reviews (at least 150,000, topped up where the rounds were fewer), and after the large ones.
//! CPU time is that of the server alone, by request: of the figures, the one that the client's own work does not blur.

#![allow(clippy::indexing_slicing, reason = "a benchmark may stop at a review that it built wrongly itself")]

mod bare;
mod load;
mod report;
mod reviews;
mod servers;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../shared/mod.rs"]
mod shared;
mod worst;

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::Context;
use hyper::body::Bytes;
use tollgate::admission::Hook;

use self::{
    load::{Load, Protocol, Target},
    report::{Report, Round},
    shared::{options::Options, server::Server},
};

/// The scenarios' shapes: name, load, and whether the review is the large one.
const SHAPES: [(&str, Load, bool); 4] = [
    ("h2", Load { protocol: Protocol::Http2, connections: 2, streams: 32 }, false),
    ("h1", Load { protocol: Protocol::Http1, connections: 64, streams: 1 }, false),
    ("alone", Load { protocol: Protocol::Http1, connections: 1, streams: 1 }, false),
    ("large", Load { protocol: Protocol::Http1, connections: 4, streams: 1 }, true),
];

/// Small reviews that tollgate has answered before its memory is judged.
const REQUESTS_BEFORE_RSS: usize = 150_000;
const WARM_UP: Duration = Duration::from_millis(500);

/// The argument that makes this executable the bare server, with the paths of its certificate and key.
const BARE_SERVER: &str = "--bare-server";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((BARE_SERVER, [cert, key])) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return bare::run(&PathBuf::from(cert), &PathBuf::from(key));
    }
    let options = Options::parse(args.into_iter(), Duration::from_millis(1500), |_, _| Ok(()))?;
    let report = tokio::runtime::Runtime::new()?.block_on(measure(&options))?;
    let text = if options.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let tollgate = servers::tollgate(folder.path(), &[])?;
    let bare = servers::bare(folder.path())?;
    let client = load::trusting(&std::fs::read(servers::ca(folder.path()))?)?;
    let pair = [&tollgate, &bare];
    let mut report = Report::new(rss(pair)?);
    for is_large in [false, true] {
        for (shape, load, _) in SHAPES.iter().filter(|(.., large)| *large == is_large) {
            for hook in [Hook::Validate, Hook::Mutate] {
                let name = format!("{shape}/{}", hook.name());
                if !options.wants(&name) {
                    continue;
                }
                let body = reviews::review(hook, is_large);
                let targets = pair.map(|server| Target::new(server.address(), client.clone(), load.protocol, hook, body.clone()));
                let rounds = scenario(options, load, pair, targets, hook).await.with_context(|| name.clone())?;
                report.add(name, body.len(), rounds);
            }
        }
        if !is_large && !report.is_empty() {
            let body = reviews::review(Hook::Validate, false);
            top_up(pair, client.clone(), body, REQUESTS_BEFORE_RSS.saturating_sub(report.requests())).await?;
            report.rss_small = Some(rss(pair)?);
        }
    }
    report.rss_end = rss(pair)?;
    report.worst = worst::measure(options.rounds, |name| options.wants(name));
    Ok(report)
}

/// Resident memory of tollgate and of the bare server, in kB.
fn rss(servers: [&Server; 2]) -> anyhow::Result<[u64; 2]> {
    let [tollgate, bare] = servers;
    Ok([tollgate.rss_kb()?, bare.rss_kb()?])
}

/// Warms both servers up, and measures them in turn.
async fn scenario(
    options: &Options,
    load: &Load,
    servers: [&Server; 2],
    targets: [Target; 2],
    hook: Hook,
) -> anyhow::Result<Vec<[Round; 2]>> {
    let [tollgate, _] = &targets;
    let wants_patch = hook == Hook::Mutate;
    reviews::expect_allowed(&load::ask(tollgate).await?, wants_patch)?;
    for target in &targets {
        load::run(target, load, WARM_UP).await?;
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let [tollgate, bare] = &targets;
        let [tollgate_server, bare_server] = servers;
        let first = round(tollgate_server, tollgate, load, options.round).await?;
        let second = round(bare_server, bare, load, options.round).await?;
        rounds.push([first, second]);
    }
    Ok(rounds)
}

async fn round(server: &Server, target: &Target, load: &Load, duration: Duration) -> anyhow::Result<Round> {
    let cpu_before = server.cpu()?;
    let tally = load::run(target, load, duration).await?;
    Ok(Round::new(tally, server.cpu()? - cpu_before))
}

/// Sends what is missing of a number of requests, to both servers.
async fn top_up(servers: [&Server; 2], client: load::TlsClient, body: Bytes, missing: usize) -> anyhow::Result<()> {
    let [(_, load, _), ..] = SHAPES;
    for server in servers {
        let target = Target::new(server.address(), client.clone(), load.protocol, Hook::Validate, body.clone());
        let mut sent = 0;
        while sent < missing {
            sent += load::run(&target, &load, Duration::from_secs(1)).await?.latencies.len();
        }
    }
    Ok(())
}
