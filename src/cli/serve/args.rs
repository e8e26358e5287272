//! Arguments of `tollgate serve`, exactly as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};

use super::authority::AuthorityArgs;
use crate::{
    cli::values::DrainTime,
    model::{alias::Mode, period::Period},
    server::CONNECTIONS,
};

/// Serve the admission webhook over HTTPS.
///
/// POST /validate denies objects whose limits cannot work; POST /mutate renames the deprecated `shared` to `global`. Without certificate
/// flags, development certificates are generated in certs/dev and reused.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate serve
      On https://127.0.0.1:8443 with development certificates; prints how to try and register the webhook
  tollgate serve --tls-cert tls.crt --tls-key tls.key
      With your own certificate, reloaded when it changes
  tollgate serve --certs-secret tollgate-system/tollgate-certs
      With a certificate that the replicas issue themselves, and a CA that they rotate without a gap
  tollgate serve --context kind-dev
      On this machine, following the CRDs of a cluster other than kubectl's current one
  tollgate serve --no-cluster
      Without a cluster, even if there is a kubeconfig
  tollgate serve --shared-alias mirror
      Keep shared and global equal everywhere, for Argo CD's default diff

Exit codes: 0 clean shutdown, 2 failed to start, or forced to stop by a second signal")]
pub(in crate::cli) struct ServeArgs {
    /// Address to listen on for admission reviews, over HTTPS
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Address to serve /healthz, /readyz and /metrics on, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    /// Certificate to serve, PEM, leaf first; reloaded when it changes
    #[arg(long, env = "TOLLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,

    /// Key of the certificate, PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, env = "TOLLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,

    /// Folder for development certificates, which are generated if missing
    #[arg(long, env = "TOLLGATE_TLS_DEV", value_name = "DIR", default_value = "certs/dev", conflicts_with = "tls_cert")]
    pub(super) tls_dev: PathBuf,

    /// Require client certificates signed by one of these CAs, PEM
    #[arg(long, env = "TOLLGATE_CLIENT_CA", value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,

    /// Name required in a client's certificate (common name or DNS name); may be repeated
    #[arg(long, env = "TOLLGATE_CLIENT_NAME", value_name = "NAME", requires = "client_ca", value_delimiter = ',')]
    pub(super) client_name: Vec<String>,

    /// What happens to the deprecated `shared`: rename, mirror, warn, deny; auto mirrors where ToolHive's operator is running, else renames
    #[arg(long, env = "TOLLGATE_SHARED_ALIAS", value_name = "MODE", default_value = Mode::default().name())]
    pub(super) shared_alias: Mode,

    /// Assume that ToolHive's operator reads `global` (no published version does), so that auto may rename where it is running
    #[arg(long, env = "TOLLGATE_TOOLHIVE_READS_GLOBAL")]
    pub(super) toolhive_reads_global: bool,

    /// Whether the installed CRDs have `global`; auto asks the cluster, and assumes yes without a kubeconfig
    #[arg(long, env = "TOLLGATE_CRD_GLOBAL", value_name = "WHETHER", default_value = "auto")]
    pub(super) crd_global: CrdGlobal,

    /// Kubeconfig of the cluster to follow [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Do not connect to a cluster, even if there is a kubeconfig
    #[arg(long, env = "TOLLGATE_NO_CLUSTER", conflicts_with_all = ["kubeconfig", "context", "secrets_in"])]
    pub(super) no_cluster: bool,

    /// Namespace whose Secret names may be watched, to warn about a passwordRef to a missing Secret; needs --client-ca; may be repeated
    #[arg(long, env = "TOLLGATE_SECRETS_IN", value_name = "NAMESPACE", value_delimiter = ',')]
    pub(super) secrets_in: Vec<String>,

    /// How often to check the installed CRDs
    #[arg(long, env = "TOLLGATE_SCHEMA_POLL", value_name = "DURATION", default_value = "5s")]
    pub(super) schema_poll: Period,

    /// Maximum number of concurrent reviews; more are answered with 503
    #[arg(long, env = "TOLLGATE_MAX_IN_FLIGHT", value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_in_flight: u16,

    /// Maximum number of concurrent connections
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = CONNECTIONS, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_connections: u16,

    /// Maximum time for a review, unless the API server asks for less
    #[arg(long, env = "TOLLGATE_DEADLINE", value_name = "DURATION", default_value = "10s")]
    pub(super) deadline: Period,

    /// How long to keep serving after SIGTERM, while endpoints and connections move elsewhere [default: 15s, 0s with development certificates]
    #[arg(long, env = "TOLLGATE_DRAIN", value_name = "DURATION")]
    pub(super) drain: Option<DrainTime>,

    #[command(flatten)]
    pub(super) authority: AuthorityArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CrdGlobal {
    /// Ask the cluster.
    Auto,
    /// Assume the CRDs have `global`.
    Yes,
    /// Assume they do not; keep `shared`.
    No,
}
