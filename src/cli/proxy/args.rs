//! Arguments of `tollgate proxy`, exactly as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use super::front::FrontArgs;
use crate::{
    cli::{
        callers::CallerArgs,
        target::{StoreArgs, WhichArgs},
        trust::ObjectArgs,
        values::DrainTime,
    },
    mcp::RejectStatus,
    model::period::Period,
    proxy::access::AccessLog,
    tower::mcp::MOST_BYTES,
    watch::ObjectName,
};

/// Run an MCP reverse proxy that enforces the limits of a resource.
///
/// Reads an MCPServer or VirtualMCPServer manifest, ToolHive's middleware JSON, or an object in a cluster, and follows it: changed limits
/// take effect within a second. If the new limits cannot work, or the file or object is gone, the current limits stay in force. Only
/// tools/call is limited; all other MCP messages pass.
///
/// Clients use the path of --upstream on this proxy: with http://127.0.0.1:9000/mcp that is http://127.0.0.1:8080/mcp (or /). The only other
/// paths that pass are GET /.well-known/* and those of --pass-path; the rest are 404.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate proxy -f mcpserver.yaml --upstream http://127.0.0.1:9000/mcp --store memory
      On http://127.0.0.1:8080, counting calls in memory
  tollgate proxy -f mcpserver.yaml --upstream http://127.0.0.1:9000/mcp --redis-url redis://cache
      Counting calls in Redis, shared with other proxies
  tollgate proxy -f mcpserver.yaml --upstream https://mcp --tls-cert tls.crt --tls-key tls.key
      HTTPS on both sides
  tollgate proxy -f mcpserver.yaml --upstream http://mcp/mcp --allowed-origin https://app.example
      Also for browser pages of that origin
  tollgate proxy --watch tollgate-demo/fetch --upstream http://127.0.0.1:9000/mcp
      The limits of an object in the cluster of the current kubeconfig, or of the pod

--watch needs list and watch on mcpservers, virtualmcpservers (or only the kind given) and mcpoidcconfigs in the namespace:
manifests/components/proxy grants them.

Exit codes: 0 clean shutdown, 1 the limits cannot work, 2 failed to start, or forced to stop by a second signal")]
pub(in crate::cli) struct ProxyArgs {
    #[command(flatten)]
    pub(super) from: FromArgs,

    #[command(flatten)]
    pub(super) which: WhichArgs,

    /// Kubeconfig for --watch [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE", conflicts_with = "file")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME", conflicts_with = "file")]
    pub(super) context: Option<String>,

    #[command(flatten)]
    pub(super) object: ObjectArgs,

    /// The MCP server, such as http://127.0.0.1:9000/mcp; https:// and h2c:// too
    #[arg(long, env = "TOLLGATE_UPSTREAM", value_name = "URL")]
    pub(super) upstream: String,

    /// CA of the upstream's certificate, PEM [default: the system's CAs]
    #[arg(long, env = "TOLLGATE_UPSTREAM_CA", value_name = "FILE")]
    pub(super) upstream_ca: Option<PathBuf>,

    #[command(flatten)]
    pub(super) listen: ListenArgs,

    #[command(flatten)]
    pub(super) front: FrontArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten)]
    pub(super) callers: CallerArgs,

    #[command(flatten)]
    pub(super) denials: DenialArgs,

    /// Which requests to log
    #[arg(long, env = "TOLLGATE_ACCESS_LOG", value_name = "WHICH", default_value = "denials")]
    pub(super) access_log: AccessLog,

    #[command(flatten)]
    pub(super) bounds: BoundArgs,
}

/// Where the limits are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct FromArgs {
    /// Manifest of the server whose limits apply, or - for stdin
    #[arg(long, short, env = "TOLLGATE_FILE", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// Object in a cluster whose limits apply. Give KIND (MCPServer or VirtualMCPServer) if both kinds have one of that name
    #[arg(long, env = "TOLLGATE_WATCH", value_name = "[KIND/]NAMESPACE/NAME", conflicts_with_all = ["name", "namespace"])]
    pub(super) watch: Option<ObjectName>,
}

/// Where the proxy listens.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListenArgs {
    /// Address to listen on for MCP clients
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Address to serve /healthz, /readyz, /metrics and /buckets on, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9080", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    /// Certificate to serve, PEM, leaf first; reloaded when it changes. Without it, plain HTTP
    #[arg(long, env = "TOLLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,

    /// Key of the certificate, PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, env = "TOLLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,

    /// Require client certificates signed by one of these CAs, PEM
    #[arg(long, env = "TOLLGATE_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(super) client_ca: Option<PathBuf>,

    /// Name required in a client's certificate (common name or DNS name); may be repeated
    #[arg(long, env = "TOLLGATE_CLIENT_NAME", value_name = "NAME", requires = "client_ca", value_delimiter = ',')]
    pub(super) client_name: Vec<String>,
}

/// How limits are enforced.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DenialArgs {
    /// How a denial is reported: as an HTTP status, or as the tool's own result
    #[arg(long, env = "TOLLGATE_REJECT_STATUS", value_name = "MODE", default_value = "auto")]
    pub(super) reject_status: RejectStatus,

    /// JSON-RPC code of a denial [default: -32029 up to MCP 2025-11-25, 429 from 2026-07-28]
    #[arg(long, env = "TOLLGATE_REJECT_CODE", value_name = "CODE", allow_negative_numbers = true)]
    pub(super) reject_code: Option<i64>,

    /// Send the RateLimit and RateLimit-Policy headers (draft-ietf-httpapi-ratelimit-headers-11) with every call
    #[arg(long, env = "TOLLGATE_RATE_LIMIT_FIELDS")]
    pub(super) rate_limit_fields: bool,

    /// Do not deny calls: only count and log those that would have been denied
    #[arg(long, env = "TOLLGATE_SHADOW")]
    pub(super) shadow: bool,

    /// Count call_tool under its inner tool_name (or name, as in FastMCP's tool search), regardless of the resource
    #[arg(long, env = "TOLLGATE_OPTIMIZER")]
    pub(super) optimizer: bool,
}

/// What a client, the MCP server and the end of the proxy may take.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BoundArgs {
    /// Maximum size of a request body, in bytes
    #[arg(long, env = "TOLLGATE_MAX_BODY", value_name = "BYTES", default_value_t = MOST_BYTES as u32)]
    pub(super) max_body: u32,

    /// Memory for all request bodies together, in bytes; requests beyond it wait, then get 503
    #[arg(long, env = "TOLLGATE_MAX_BUFFERED_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    pub(super) max_buffered_bytes: u32,

    /// Maximum time to receive a request body
    #[arg(long, env = "TOLLGATE_BODY_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub(super) body_timeout: Period,

    /// Maximum time for the MCP server to begin its response
    #[arg(long, env = "TOLLGATE_UPSTREAM_TIMEOUT", value_name = "DURATION", default_value = "5m")]
    pub(super) upstream_timeout: Period,

    /// Maximum number of concurrent connections
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_connections: u32,

    /// How long to keep serving after SIGTERM, while endpoints and connections move elsewhere
    #[arg(long, env = "TOLLGATE_DRAIN", value_name = "DURATION", default_value = "0s")]
    pub(super) drain: DrainTime,

    /// How long open streams may continue after that
    #[arg(long, env = "TOLLGATE_GRACE", value_name = "DURATION", default_value = "30s")]
    pub(super) grace: DrainTime,
}
