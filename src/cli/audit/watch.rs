//! `tollgate audit --watch`: what has to be known before the watch can begin, and its end.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::{args::AuditArgs, cluster::version};
use crate::{
    audit::watch::{Watch, WatchScope},
    cli::{exit::Exit, output::print, signals::Signals},
    cluster::{Access, Cluster, openapi::documents},
    model::{
        GROUP,
        schema::{describes, merges_conditions},
        subject::Kind,
    },
};

/// Until an API server describes a CRD that it serves already.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn run(args: &AuditArgs) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?.block_on(watch(args))
}

async fn watch(args: &AuditArgs) -> anyhow::Result<Exit> {
    // Before anything is done, so that a signal is never missed.
    let signals = Signals::watch()?;
    let access = Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let cluster = Cluster::connect(&access)?;
    let version = version(&cluster).await?;
    if args.write_conditions {
        ensure_conditions_merge(&cluster, version).await?;
    }
    let mut namespaces = args.namespace.clone();
    namespaces.sort_unstable();
    namespaces.dedup();
    let scope = WatchScope { version: version.to_owned(), namespaces };
    let watch = Watch::bind(scope, args.write_conditions, args.metrics_listen).await?;
    info!(version, writes_conditions = args.write_conditions, "starting");
    print(&format!("tollgate audits {GROUP}/{version}, metrics on http://{}/metrics\n", watch.address()))?;
    // Without a deadline: a watch is a single response without an end.
    let client = access.find()?.client()?;
    Ok(signals.run(|stop| watch.run(client, stop.wait())).await)
}

/// Where a CRD does not merge conditions by type, applying one would take the operator's away.
async fn ensure_conditions_merge(cluster: &Cluster, version: &str) -> anyhow::Result<()> {
    let documents = described(cluster, version).await?;
    for kind in Kind::ALL {
        ensure!(
            documents.iter().any(|document| merges_conditions(document, version, kind)),
            "the CRD of {} does not merge status.conditions by type, so that writing one would remove the others: upgrade the CRD, or leave out --write-conditions",
            kind.name()
        );
    }
    Ok(())
}

/// What the API server says of a version. It serves a new CRD for a moment before it describes it, so that is waited for.
async fn described(cluster: &Cluster, version: &str) -> anyhow::Result<Vec<Value>> {
    let deadline = Instant::now() + DESCRIBED_WITHIN;
    loop {
        let all = documents(&cluster.client).await.context("cannot read the installed CRDs")?;
        let documents: Vec<_> = all.into_iter().filter(|(of, _)| *of == version).map(|(_, document)| document).collect();
        let is_whole = Kind::ALL.into_iter().all(|kind| documents.iter().any(|document| describes(document, version, kind)));
        if is_whole || Instant::now() > deadline {
            return Ok(documents);
        }
        sleep(Duration::from_millis(200)).await;
    }
}
