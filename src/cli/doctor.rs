//! `tollgate doctor`

use std::path::PathBuf;

use clap::Parser;

use super::{exit::Exit, output::print, redis::RedisArgs, runtime, values::ReportFormat};
use crate::{
    cluster::Access,
    doctor::{Report, examine},
    model::DEFAULT_NAMESPACE,
};

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
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Namespace for the dry-run creates; the webhooks must apply to it
    #[arg(long, short, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,

    /// Checked if a URL is given.
    #[command(flatten)]
    redis: RedisArgs,

    /// Format
    #[arg(long, short, default_value = "human")]
    output: ReportFormat,
}

pub(super) fn run(args: DoctorArgs) -> anyhow::Result<Exit> {
    let DoctorArgs { kubeconfig, context, namespace, redis, output } = args;
    let redis = redis.redis_url.as_ref().map(|url| redis.settings(url)).transpose()?;
    let access = Access { kubeconfig, context };
    let report = runtime::run(async { Ok(examine(&access, &namespace, redis.as_ref()).await?) })?;
    print(&match output {
        ReportFormat::Human => report.human(),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    })?;
    Ok(exit(&report))
}

/// A problem that was found counts for more than what could not be looked at.
fn exit(report: &Report) -> Exit {
    match (report.problems, report.unknown) {
        (0, 0) => Exit::Clean,
        (0, _) => Exit::Failed,
        _ => Exit::Found,
    }
}
