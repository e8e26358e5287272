//! `tollgate doctor`: is the installed webhook asked, does it answer, and may it do what it should?
//!
//! | file | what is looked at |
//! |---|---|
//! | [`hooks`] | the webhook configurations: are they there |
//! | [`settings`] | do they say what the manifests say |
//! | [`certificates`] | caBundle against the certificate that is served |
//! | [`workload`] | Service, endpoints, images |
//! | [`reach`] | two dry-run creates: one that must be refused, one that must be renamed |
//! | [`schema`] | the installed CRDs |
//! | [`operator`] | ToolHive's operator: is it at work, and would it read what is stored |
//! | [`redis`] | Redis, where its URL is given |
//! | [`report`] | what was found, and what to do about it |
//!
//! Nothing is changed anywhere. What may not be read is reported, and does not count as healthy.

mod certificates;
mod hooks;
mod operator;
mod reach;
mod redis;
mod report;
mod schema;
mod settings;
mod workload;

use std::path::PathBuf;

use clap::Parser;

use self::{
    hooks::Installed,
    operator::{Probe, Seen},
    report::{Notes, Report},
};
use super::{exit::Exit, output::print, redis::RedisArgs, runtime, values::ReportFormat};
use crate::cluster::{Access, Cluster, ClusterError};

/// Check the installed webhook and suggest fixes.
///
/// Checks the webhook configurations, their certificates, the Service and its pods, the installed CRDs and ToolHive's operator, and makes
/// dry-run creates that show whether the API server reaches both webhooks. Changes nothing.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate doctor
      The cluster of the current kubeconfig, or of the pod
  tollgate doctor --kubeconfig ~/.kube/config --context kind-dev --namespace default
  tollgate doctor --redis-url redis://127.0.0.1:6379 --output json
      Also checks Redis

Exit codes: 0 no problems, 1 problems, 2 no problems, but something could not be checked")]
pub(super) struct DoctorArgs {
    /// Kubeconfig [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    context: Option<String>,

    /// Namespace for the dry-run creates; the webhooks must apply to it
    #[arg(long, short, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Checked if a URL is given.
    #[command(flatten)]
    redis: RedisArgs,

    /// Format
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human")]
    output: ReportFormat,
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let report = runtime::run(look(args))?;
    print(&match args.output {
        ReportFormat::Human => report.human(),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    })?;
    Ok(report.exit())
}

async fn look(args: &DoctorArgs) -> anyhow::Result<Report> {
    let mut notes = Notes::default();
    let cluster = Cluster::connect(&Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() });
    match (cluster, &args.redis.redis_url) {
        (Ok(cluster), _) => look_at_cluster(&cluster, &args.namespace, &mut notes).await,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(_)) => notes.unknown("cluster", error.to_string(), error.advice(String::new())),
    }
    if let Some(url) = &args.redis.redis_url {
        redis::look(&args.redis.settings(url)?, &mut notes).await?;
    }
    Ok(Report::new(notes))
}

async fn look_at_cluster(cluster: &Cluster, namespace: &str, notes: &mut Notes) {
    // Every look would fail in the same way.
    if let Err(trouble @ (ClusterError::Unauthorized(_) | ClusterError::Unreachable(_))) = cluster.get("/version").await {
        return notes.unknown("cluster", format!("the API server at {}: {trouble}", cluster.url), trouble.advice(String::new()));
    }
    let installed = Installed::read(cluster, notes).await;
    for hook in &installed.hooks {
        settings::look(hook, notes);
    }
    let workloads = workload::look(cluster, &installed, notes).await;
    for hook in &installed.hooks {
        certificates::look(cluster, hook, &workloads, notes).await;
    }
    let operator = Seen::of(cluster).await;
    let version = schema::look(cluster, operator.is_at_work(), notes).await;
    if let Some(version) = version {
        let probe = (!installed.hooks.is_empty()).then_some(Probe { namespace, version });
        operator.look(cluster, probe, &workloads, notes).await;
    }
    if !installed.hooks.is_empty() {
        reach::look(cluster, namespace, version, notes).await;
    }
}
