//! What `tollgate audit` is told.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use crate::cli::check::FindingArgs;

/// Judge what is stored already.
///
/// The rules are the webhook's. Beside them: who still applies `shared`, limits that kubectl applied and the CRD dropped, limits that
/// ToolHive's operator did not render, references that lead nowhere, and perUser with a sign-in that signs no caller in. Reads the
/// cluster, page by page, and changes nothing; or reads what `kubectl get -o yaml` printed.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate audit
      The cluster of the current kubeconfig; in a pod, its own
  tollgate audit --namespace default --namespace kube-public --output json
  kubectl get mcpservers,virtualmcpservers -A -o yaml --show-managed-fields | tollgate audit -
      Without access of its own; references are judged where their kinds are in the stream too, and limits are compared with the
      ConfigMaps of ToolHive's operator where these are (kubectl get mcpservers,configmaps ..)
  tollgate audit --watch --write-conditions
      Stays, and judges whatever changes: metrics, and the condition RateLimitConfigValid of each object

.tollgate.toml counts as in `tollgate check`; entries for a file do not speak of a cluster or of stdin.

A cluster is read with list on mcpservers, virtualmcpservers, mcpoidcconfigs and mcpexternalauthconfigs, on secrets (names only) where a
passwordRef names one, and on configmaps (those that ToolHive's operator rendered): without the last, limits are not compared with what is
enforced. --watch needs list and watch on the first four and on configmaps, --write-conditions also patch on mcpservers/status and
virtualmcpservers/status: manifests/components/audit grants them.

Exit codes: 0 no fault, 1 faults (with --strict also warnings), 2 something could not be read; with --watch 0 stopped as told, 2 could not
start")]
pub(in crate::cli) struct AuditArgs {
    /// Files or folders instead of a cluster; - is stdin
    #[arg(value_name = "FILE|DIR|-")]
    pub(super) inputs: Vec<PathBuf>,

    /// Only this namespace; may be repeated [default: all]
    #[arg(long, short, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',', conflicts_with = "inputs")]
    pub(super) namespace: Vec<String>,

    /// Kubeconfig [default: as kubectl's: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE", conflicts_with = "inputs")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, unless its current one
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME", conflicts_with = "inputs")]
    pub(super) context: Option<String>,

    /// Objects that are read at once
    #[arg(long, env = "TOLLGATE_CHUNK_SIZE", value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) chunk_size: u16,

    /// Stay, judge whatever changes, and export the counts as metrics
    #[arg(long, env = "TOLLGATE_WATCH", conflicts_with_all = ["inputs", "config", "strict"])]
    pub(super) watch: bool,

    /// Keep the status condition RateLimitConfigValid of each object; one that somebody else owns with another value is left alone
    #[arg(long, env = "TOLLGATE_WRITE_CONDITIONS", requires = "watch")]
    pub(super) write_conditions: bool,

    /// Where /healthz, /readyz and /metrics are while watching, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    #[command(flatten)]
    pub(super) findings: FindingArgs,
}
