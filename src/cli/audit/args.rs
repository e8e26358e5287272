//! What `tollgate audit` is told.

use std::path::PathBuf;

use clap::Parser;

use crate::cli::check::Output;

/// Judge what is stored already.
///
/// The rules are the webhook's. Beside them: who still applies `shared`, limits that kubectl applied and the CRD dropped, references that
/// lead nowhere, and perUser with a sign-in that signs no caller in. Reads the cluster, page by page, and changes nothing; or reads what
/// `kubectl get -o yaml` printed.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate audit
      The cluster of the current kubeconfig; in a pod, its own
  tollgate audit --namespace default --namespace kube-public --output json
  kubectl get mcpservers,virtualmcpservers -A -o yaml --show-managed-fields | tollgate audit -
      Without access of its own; references are judged where their kinds are in the stream too

.tollgate.toml counts as in `tollgate check`; entries for a file do not speak of a cluster or of stdin.

A cluster is read with list on mcpservers, virtualmcpservers, mcpoidcconfigs and mcpexternalauthconfigs, and on secrets (names only) where
a passwordRef names one.

Exit codes: 0 no fault, 1 faults (with --strict also warnings), 2 something could not be read")]
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

    /// How findings are told
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human")]
    pub(super) output: Output,

    /// Warnings are faults too
    #[arg(long, env = "TOLLGATE_STRICT")]
    pub(super) strict: bool,

    /// What is ignored, and why [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}
