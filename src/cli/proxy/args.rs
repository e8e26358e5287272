//! Arguments of `tollgate proxy`, exactly as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use super::{front::FrontArgs, trust::ObjectArgs, watch::ObjectName};
use crate::{
    auth::AuthMode,
    cli::{
        args::Drain,
        target::{StoreArgs, WhichArgs},
    },
    mcp::RejectStatus,
    model::period::Period,
    proxy::access::AccessLog,
};

/// Run an MCP reverse proxy that enforces the limits of a resource.
///
/// Takes the YAML that kubectl apply takes (MCPServer or VirtualMCPServer), or ToolHive's middleware JSON, or the object in a cluster, and
/// follows it: changed limits are in force within a second. Limits that cannot work, or whose file or object is gone, leave the old ones in
/// force. Only tools/call is limited; everything else that is MCP's passes.
///
/// Clients use the path of --upstream on this proxy: with http://127.0.0.1:9000/mcp that is http://127.0.0.1:8080/mcp (or /). Beside it, only
/// GET of /.well-known/* passes, and what --pass-path names; all other paths are 404.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate proxy -f mcpserver.yaml --upstream http://127.0.0.1:9000/mcp --store memory
      On http://127.0.0.1:8080, counting in this process
  tollgate proxy -f mcpserver.yaml --upstream http://127.0.0.1:9000/mcp --redis-url redis://cache
      Counting in Redis, together with other proxies
  tollgate proxy -f mcpserver.yaml --upstream https://mcp --tls-cert tls.crt --tls-key tls.key
      Over HTTPS on both sides
  tollgate proxy -f mcpserver.yaml --upstream http://mcp/mcp --allowed-origin https://app.example
      Also for browser pages of that site
  tollgate proxy --watch tollgate-demo/fetch --upstream http://127.0.0.1:9000/mcp
      The limits of the object in the cluster of the current kubeconfig; in a pod, its own

--watch needs list and watch on mcpservers, virtualmcpservers (or the one kind that is named) and mcpoidcconfigs in the namespace:
manifests/components/proxy has them.

Exit codes: 0 stopped as told, 1 the limits cannot work, 2 could not start, or was told twice to stop")]
pub(in crate::cli) struct ProxyArgs {
    #[command(flatten)]
    pub(super) from: FromArgs,

    #[command(flatten)]
    pub(super) which: WhichArgs,

    /// Kubeconfig for --watch [default: as kubectl's: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE", conflicts_with = "file")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, unless its current one
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME", conflicts_with = "file")]
    pub(super) context: Option<String>,

    #[command(flatten)]
    pub(super) object: ObjectArgs,

    /// The MCP server, such as http://127.0.0.1:9000/mcp; https:// and h2c:// too
    #[arg(long, env = "TOLLGATE_UPSTREAM", value_name = "URL")]
    pub(super) upstream: String,

    /// CA of its certificate, PEM, unless the system trusts it
    #[arg(long, env = "TOLLGATE_UPSTREAM_CA", value_name = "FILE")]
    pub(super) upstream_ca: Option<PathBuf>,

    /// Where clients come in
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Where /healthz, /readyz, /metrics and /buckets are, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9080", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    /// Certificate to serve, PEM, leaf first; read again when it changes. Without, plain HTTP
    #[arg(long, env = "TOLLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,

    /// Its key, PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, env = "TOLLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,

    /// Ask clients for a certificate from one of these CAs, PEM
    #[arg(long, env = "TOLLGATE_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(super) client_ca: Option<PathBuf>,

    /// Name that a client's certificate must have (common name or DNS name); may be repeated
    #[arg(long, env = "TOLLGATE_CLIENT_NAME", value_name = "NAME", requires = "client_ca", value_delimiter = ',')]
    pub(super) client_name: Vec<String>,

    #[command(flatten)]
    pub(super) front: FrontArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten)]
    pub(super) callers: CallerArgs,

    /// How a denied call is told: by HTTP status, or as the tool's own result
    #[arg(long, env = "TOLLGATE_REJECT_STATUS", value_name = "MODE", default_value = "auto")]
    pub(super) reject_status: RejectStatus,

    /// JSON-RPC code of a denial [default: -32029 up to MCP 2025-11-25, 429 from 2026-07-28]
    #[arg(long, env = "TOLLGATE_REJECT_CODE", value_name = "CODE", allow_negative_numbers = true)]
    pub(super) reject_code: Option<i64>,

    /// Tell RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11) with every call
    #[arg(long, env = "TOLLGATE_RATE_LIMIT_FIELDS")]
    pub(super) rate_limit_fields: bool,

    /// Deny nothing: only count and log what would have been denied
    #[arg(long, env = "TOLLGATE_SHADOW")]
    pub(super) shadow: bool,

    /// Count call_tool under its inner tool_name (or name, as in FastMCP's tool search), whatever the resource says
    #[arg(long, env = "TOLLGATE_OPTIMIZER")]
    pub(super) optimizer: bool,

    /// Which requests are logged
    #[arg(long, env = "TOLLGATE_ACCESS_LOG", value_name = "WHICH", default_value = "denials")]
    pub(super) access_log: AccessLog,

    /// Largest body of a request, in bytes
    #[arg(long, env = "TOLLGATE_MAX_BODY", value_name = "BYTES", default_value_t = 4 * 1024 * 1024)]
    pub(super) max_body: u32,

    /// Memory for the bodies of all requests together, in bytes; requests beyond it wait, then get 503
    #[arg(long, env = "TOLLGATE_MAX_BUFFERED_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    pub(super) max_buffered_bytes: u32,

    /// Longest that a request's body may take
    #[arg(long, env = "TOLLGATE_BODY_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub(super) body_timeout: Period,

    /// Longest that the MCP server may take to begin its answer
    #[arg(long, env = "TOLLGATE_UPSTREAM_TIMEOUT", value_name = "DURATION", default_value = "5m")]
    pub(super) upstream_timeout: Period,

    /// Connections at once
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_connections: u32,

    /// How long to serve on after SIGTERM, while endpoints and connections move elsewhere
    #[arg(long, env = "TOLLGATE_DRAIN", value_name = "DURATION", default_value = "0s")]
    pub(super) drain: Drain,

    /// How long streams may go on after that
    #[arg(long, env = "TOLLGATE_GRACE", value_name = "DURATION", default_value = "30s")]
    pub(super) grace: Drain,
}

/// Where the limits are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct FromArgs {
    /// The resource whose limits are meant, or - for stdin
    #[arg(long, short, env = "TOLLGATE_FILE", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// The object in a cluster whose limits are meant. KIND (MCPServer or VirtualMCPServer) chooses where both have the name
    #[arg(long, env = "TOLLGATE_WATCH", value_name = "[KIND/]NAMESPACE/NAME", conflicts_with_all = ["name", "namespace"])]
    pub(super) watch: Option<ObjectName>,
}

/// Who is calling.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Callers")]
pub(in crate::cli) struct CallerArgs {
    /// Whether callers have to be known by a token [default: required where an issuer is known, else none]
    #[arg(long, env = "TOLLGATE_AUTH", value_name = "MODE")]
    pub(super) auth: Option<AuthMode>,

    /// Issuer of tokens, unless the resource says it
    #[arg(long, env = "TOLLGATE_OIDC_ISSUER", value_name = "URL")]
    pub(super) oidc_issuer: Option<String>,

    /// Audience that tokens must have, unless the resource says it
    #[arg(long, env = "TOLLGATE_OIDC_AUDIENCE", value_name = "TEXT")]
    pub(super) oidc_audience: Option<String>,

    /// The issuer's keys, unless its discovery document says where they are
    #[arg(long, env = "TOLLGATE_OIDC_JWKS_URL", value_name = "URL")]
    pub(super) oidc_jwks_url: Option<String>,

    /// CA of the issuer's certificate, PEM
    #[arg(long, env = "TOLLGATE_OIDC_CA", value_name = "FILE")]
    pub(super) oidc_ca: Option<PathBuf>,

    /// Introspection endpoint of the issuer, for opaque tokens (RFC 7662), unless the resource has it
    #[arg(long, env = "TOLLGATE_OIDC_INTROSPECTION_URL", value_name = "URL")]
    pub(super) oidc_introspection_url: Option<String>,

    /// Client ID to use there, unless the resource has it
    #[arg(long, env = "TOLLGATE_OIDC_CLIENT_ID", value_name = "ID")]
    pub(super) oidc_client_id: Option<String>,

    /// File that holds the client secret; else the environment variable TOLLGATE_OIDC_CLIENT_SECRET, or TOOLHIVE_OIDC_CLIENT_SECRET as in ToolHive
    #[arg(long, env = "TOLLGATE_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub(super) oidc_client_secret_file: Option<PathBuf>,

    /// URL that clients call, for those who have to find out how to sign in (RFC 9728)
    #[arg(long, env = "TOLLGATE_RESOURCE_URL", value_name = "URL")]
    pub(super) resource_url: Option<String>,

    /// Pass tokens on: the MCP server asks for them itself
    #[arg(long, env = "TOLLGATE_PASS_TOKEN")]
    pub(super) pass_token: bool,

    /// Header that names the user; believed only from the peers in --user-header-from
    #[arg(long, env = "TOLLGATE_USER_HEADER", value_name = "HEADER")]
    pub(super) user_header: Option<String>,

    /// Peer that may set it: loopback (everything on this machine or in this pod, port-forwards included), or the name in a client
    /// certificate (common name or DNS name; needs --client-ca); may be repeated
    #[arg(
        long,
        env = "TOLLGATE_USER_HEADER_FROM",
        value_name = "loopback|CERTIFICATE-NAME",
        requires = "user_header",
        value_delimiter = ','
    )]
    pub(super) user_header_from: Vec<String>,
}
