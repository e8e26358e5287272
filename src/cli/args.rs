//! Arguments, exactly as typed. Each flag has an environment variable, `TOLLGATE_` and the flag's name.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

#[cfg(feature = "top")]
use super::top::TopArgs;
use super::{
    audit::AuditArgs, check::CheckArgs, completions::CompletionsArgs, doctor::DoctorArgs, explain::ExplainArgs, limits::LimitsArgs,
    man::ManArgs, migrate::MigrateArgs, proxy::args::ProxyArgs, version,
};
use crate::model::{alias::Mode, period::Period};

/// Rate limits for MCP servers on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, long_version = version::LONG.as_str(), propagate_version = true, max_term_width = 110)]
pub(super) struct Args {
    /// Log more; twice for even more.
    #[arg(short, long, global = true, env = "TOLLGATE_VERBOSE", action = clap::ArgAction::Count)]
    pub(super) verbose: u8,

    /// How logs are written, on stderr.
    #[arg(long, global = true, env = "TOLLGATE_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Each described where its arguments are.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Box<ServeArgs>),
    Proxy(Box<ProxyArgs>),
    Limits(Box<LimitsArgs>),
    #[cfg(feature = "top")]
    Top(Box<TopArgs>),
    Check(CheckArgs),
    Migrate(MigrateArgs),
    Audit(Box<AuditArgs>),
    Crds(CrdsArgs),
    Explain(ExplainArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Serve the admission webhook over HTTPS.
///
/// POST /validate refuses objects whose limits cannot work; POST /mutate turns the deprecated `shared` into `global`. Without certificate
/// flags, certificates for development are made under certs/dev and kept.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate serve
      On https://127.0.0.1:8443 with development certificates; prints how to try and how to register it
  tollgate serve --tls-cert tls.crt --tls-key tls.key
      With a certificate from elsewhere, read again when it changes
  tollgate serve --context kind-dev
      On this machine, following the CRDs of another cluster than kubectl's current one
  tollgate serve --no-cluster
      Without a cluster, even where there is a kubeconfig
  tollgate serve --shared-alias mirror
      Keep shared and global equal everywhere, for Argo CD's default diff

Exit codes: 0 stopped as told, 2 could not start, or was told twice to stop")]
pub(super) struct ServeArgs {
    /// Where reviews come in, over HTTPS
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    /// Certificate to serve, PEM, leaf first; read again when it changes
    #[arg(long, env = "TOLLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,

    /// Its key, PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, env = "TOLLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,

    /// Folder for development certificates, made there when missing
    #[arg(long, env = "TOLLGATE_TLS_DEV", value_name = "DIR", default_value = "certs/dev", conflicts_with = "tls_cert")]
    pub(super) tls_dev: PathBuf,

    /// Ask clients for a certificate from one of these CAs, PEM
    #[arg(long, env = "TOLLGATE_CLIENT_CA", value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,

    /// Name that a client's certificate must have (common name or DNS name); may be repeated
    #[arg(long, env = "TOLLGATE_CLIENT_NAME", value_name = "NAME", requires = "client_ca", value_delimiter = ',')]
    pub(super) client_name: Vec<String>,

    /// What happens to the deprecated `shared`: rename, mirror, warn, deny; auto mirrors where ToolHive's operator is at work, else renames
    #[arg(long, env = "TOLLGATE_SHARED_ALIAS", value_name = "MODE", default_value = Mode::default().name())]
    pub(super) shared_alias: Mode,

    /// ToolHive's operator reads `global` (no published version does), so auto may rename where it is at work
    #[arg(long, env = "TOLLGATE_TOOLHIVE_READS_GLOBAL")]
    pub(super) toolhive_reads_global: bool,

    /// Whether the installed CRDs have `global`; auto asks the cluster, and assumes yes where there is no kubeconfig
    #[arg(long, env = "TOLLGATE_CRD_GLOBAL", value_name = "WHETHER", default_value = "auto")]
    pub(super) crd_global: CrdGlobal,

    /// Kubeconfig of the cluster to follow [default: as kubectl's: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, unless its current one
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Use no cluster, even where there is a kubeconfig
    #[arg(long, env = "TOLLGATE_NO_CLUSTER", conflicts_with_all = ["kubeconfig", "context", "secrets_in"])]
    pub(super) no_cluster: bool,

    /// Namespaces whose Secrets' names may be watched, to warn about a passwordRef whose Secret does not exist; needs --client-ca; may be repeated
    #[arg(long, env = "TOLLGATE_SECRETS_IN", value_name = "NAMESPACE", value_delimiter = ',')]
    pub(super) secrets_in: Vec<String>,

    /// How often the installed CRDs are looked at
    #[arg(long, env = "TOLLGATE_SCHEMA_POLL", value_name = "DURATION", default_value = "5s")]
    pub(super) schema_poll: Period,

    /// Reviews at once; more are answered with 503
    #[arg(long, env = "TOLLGATE_MAX_IN_FLIGHT", value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_in_flight: u16,

    /// Connections at once
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_connections: u16,

    /// Longest that a review may take, unless the caller asks for less
    #[arg(long, env = "TOLLGATE_DEADLINE", value_name = "DURATION", default_value = "10s")]
    pub(super) deadline: Period,

    /// How long to serve on after SIGTERM, while endpoints and connections move elsewhere [default: 15s, 0s with development certificates]
    #[arg(long, env = "TOLLGATE_DRAIN", value_name = "DURATION")]
    pub(super) drain: Option<Drain>,
}

/// A drain time: a Go duration, 0 included.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Drain(pub(in crate::cli) std::time::Duration);

impl std::str::FromStr for Drain {
    type Err = crate::model::period::BadPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = crate::model::period::parse_go_duration(text)?;
        let nanos = u64::try_from(nanos).map_err(|_| crate::model::period::BadPeriod::NotPositive)?;
        Ok(Self(std::time::Duration::from_nanos(nanos)))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CrdGlobal {
    /// Ask the cluster.
    Auto,
    /// They do.
    Yes,
    /// They do not: `shared` stays.
    No,
}

/// Print the CustomResourceDefinitions of MCPServer and VirtualMCPServer.
///
/// With both `global` and `shared`. ToolHive's own CRDs go first: these are for clusters that have none of them. They judge none of
/// ToolHive's other fields, and where its operator is at work, `global` is not enforced, whatever a CRD has: see `tollgate doctor`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate crds | kubectl apply -f -
      Only where ToolHive's CRDs are not installed
  tollgate crds --kind MCPServer --output json

Exit codes: 0 printed, 2 failed")]
pub(super) struct CrdsArgs {
    /// Only this kind
    #[arg(long, env = "TOLLGATE_KIND", value_name = "KIND")]
    pub(super) kind: Option<CrdKind>,

    /// Format
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "yaml")]
    pub(super) output: CrdOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum CrdKind {
    #[value(name = "MCPServer")]
    McpServer,
    #[value(name = "VirtualMCPServer")]
    VirtualMcpServer,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CrdOutput {
    Yaml,
    Json,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}
