//! How long an apply of an MCPServer takes, through a real API server and the webhooks that it calls.
//!
//! ```text
//! make bench-path
//! cargo bench --bench path -- [--seconds N] [--rounds N] [--objects N] [--json] [SCENARIO ...]
//! ```
//!
//! One kube-apiserver, one etcd, all on loopback; every party has a namespace:
//!
//! | party | what judges its objects |
//! |---|---|
//! | *without* | no webhook, and the CRDs without CEL rules and bounds |
//! | *bare* | the same, and both webhooks answered by the bare server of the benchmark `admission`, which allows everything |
//! | *tollgate* | the same, and both webhooks answered by `tollgate serve`, which follows the cluster as it does with `manifests/base` |
//! | *cel* | no webhook, and the CRD of `manifests/crds` with its CEL rules |
//!
//! Both pairs of webhooks are registered as in `manifests/base/webhooks.yaml`, with the same match conditions, but by URL and for one
//! namespace. An API server has one schema for each kind, so the CRD of *cel* is a copy in a group of its own, which no webhook matches; a
//! second API server would have its own load and memory.
//!
//! Objects are the sample `mcpserver-per-user.yaml`. With `global` tollgate finds nothing to change; with `shared` every answer of `/mutate`
//! is a patch.
//!
//! | scenario | what is done |
//! |---|---|
//! | `apply/global`, `apply/shared` | server-side applies, one at a time on one connection: a create, and the same again |
//! | `kubectl/shared` | `kubectl apply -f` of 1,000 objects, and the same again, as a person waits for it; a file for each round |
//!
//! Applies are interleaved object by object: each is created for one party after the other, and then applied again for one after the other,
//! with another party first each time. So whatever else the machine does hits all alike. A figure is the median of the rounds, and a ratio
//! the median of the ratios round by round. A create calls both webhooks. An apply that changes nothing calls `/mutate` alone, as the
//! validating one asks for a changed spec; the API server's own count has to agree. kubectl sends nothing for an object that is as its
//! manifest says: its second run is reads, except where `shared` has been renamed, which with tollgate is every object.
//!
//! etcd does not wait for its disk (`--unsafe-no-fsync`). With a disk, all parties take longer by the same time, and ratios are nearer to 1.

#![allow(clippy::indexing_slicing, reason = "a benchmark may stop at a figure that it built wrongly itself")]

mod apply;
#[path = "../admission/bare.rs"]
mod bare;
mod kubectl;
mod parties;
mod report;
#[path = "../admission/servers.rs"]
mod servers;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../shared/mod.rs"]
mod shared;
#[allow(dead_code, unreachable_pub, clippy::panic, clippy::expect_used, reason = "shared with the tests, where a panic is a failure")]
#[path = "../../tests/it/support"]
mod support {
    pub(crate) mod apiserver;
    pub(crate) mod find;
    pub(crate) mod https;
    pub(crate) mod leash;
    pub(crate) mod port;
    pub(crate) mod process;
    pub(crate) mod serve;
    pub(crate) mod time;
}

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::Context;

use self::{
    apply::Client,
    parties::{Key, Parties},
    report::{File, Report, Row},
    shared::options::Options,
};

/// The argument that makes this executable the bare server, with the paths of its certificate and key.
const BARE_SERVER: &str = "--bare-server";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((BARE_SERVER, [cert, key])) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return bare::run(&PathBuf::from(cert), &PathBuf::from(key));
    }
    let mut objects = 1000;
    let options = Options::parse(args.into_iter(), Duration::from_secs(12), |flag, args| {
        if flag == "--objects" {
            objects = args.next().context("--objects N")?.parse().context("--objects")?;
        }
        Ok(())
    })?;
    let report = measure(&options, objects)?;
    let text = if options.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn measure(options: &Options, objects: usize) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let parties = Parties::start(folder.path())?;
    // One thread: what the client leaves of the machine is for those who are measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    let wanted = |name: &str| {
        let wanted = options.wants(name);
        if wanted {
            let _ = writeln!(std::io::stderr(), "{name}");
        }
        wanted
    };
    runtime.block_on(async {
        let client = Client::connect(&parties).await?;
        client.wait_for_webhooks().await?;
        for key in Key::ALL {
            let name = format!("apply/{}", key.name());
            if wanted(&name) {
                let rounds = client.rounds(key, options.rounds, options.round).await.with_context(|| name.clone())?;
                report.rows.push(Row::new(name, rounds));
            }
        }
        anyhow::Ok(())
    })?;
    let name = format!("kubectl/{}", Key::Shared.name());
    if wanted(&name) {
        let seconds = kubectl::measure(&parties, folder.path(), Key::Shared, objects, options.rounds)?;
        report.file = Some(File { scenario: name, objects, seconds });
    }
    Ok(report)
}
