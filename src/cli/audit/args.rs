//! Arguments of `tollgate audit`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use crate::cli::findings::FindingArgs;

/// Check the objects already in the cluster.
///
/// Applies the same rules as the webhook, and also reports: who still applies `shared`, limits that kubectl applied and the CRD dropped,
/// limits that ToolHive's operator did not render, dangling references, and perUser without an authentication method that identifies
/// callers. Reads the cluster page by page without changing anything; it can also read `kubectl get -o yaml` output.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate audit
      The cluster of the current kubeconfig, or of the pod
  tollgate audit --namespace default --namespace kube-public --output json
  kubectl get mcpservers,virtualmcpservers -A -o yaml --show-managed-fields | tollgate audit -
      Without cluster access; references are checked if their kinds are in the stream too, and limits are compared with the
      ConfigMaps of ToolHive's operator if those are included (kubectl get mcpservers,configmaps ..)
  tollgate audit --watch --write-conditions
      Keeps running and checks every change: exports metrics, and sets the condition RateLimitConfigValid of each object

.tollgate.toml applies as in `tollgate check`; entries with a file do not apply to a cluster or to stdin.

Reading a cluster needs list on mcpservers, virtualmcpservers, mcpoidcconfigs and mcpexternalauthconfigs, on secrets (names only) if a
passwordRef names one, and on configmaps (those that ToolHive's operator rendered): without the last, limits are not compared with what is
enforced. --watch needs list and watch on the first four and on configmaps, --write-conditions also patch on mcpservers/status and
virtualmcpservers/status: manifests/components/audit grants them.

Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 something could not be read; with --watch 0 clean shutdown, 2 failed to
start")]
pub(in crate::cli) struct AuditArgs {
    /// Files or folders instead of a cluster; - is stdin
    #[arg(value_name = "FILE|DIR|-")]
    pub(super) inputs: Vec<PathBuf>,

    /// Only this namespace; may be repeated [default: all]
    #[arg(long, short, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',', conflicts_with = "inputs")]
    pub(super) namespace: Vec<String>,

    /// Kubeconfig [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE", conflicts_with = "inputs")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME", conflicts_with = "inputs")]
    pub(super) context: Option<String>,

    /// Number of objects per request
    #[arg(long, env = "TOLLGATE_CHUNK_SIZE", value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) chunk_size: u16,

    /// Keep running, check every change, and export the counts as metrics
    #[arg(long, env = "TOLLGATE_WATCH", conflicts_with_all = ["inputs", "config", "strict"])]
    pub(super) watch: bool,

    /// Maintain the status condition RateLimitConfigValid of each object; one that another manager owns with a different value is left alone
    #[arg(long, env = "TOLLGATE_WRITE_CONDITIONS", requires = "watch")]
    pub(super) write_conditions: bool,

    /// Address to serve /healthz, /readyz and /metrics on while watching, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    #[command(flatten)]
    pub(super) findings: FindingArgs,
}
