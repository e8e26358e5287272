//! Arguments of `tollgate proxy`, exactly as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use super::front::FrontArgs;
use crate::{
    cli::{
        callers::CallerArgs,
        fronts::{BodyArgs, ClusterArgs, ConnectionArgs, GateArgs, TlsArgs},
        target::{StoreArgs, WhichArgs},
        trust::ObjectArgs,
    },
    model::period::Period,
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

    #[command(flatten)]
    pub(super) cluster: ClusterArgs,

    #[command(flatten)]
    pub(super) object: ObjectArgs,

    /// The MCP server, such as http://127.0.0.1:9000/mcp; https:// and h2c:// too
    #[arg(long, env = "TOLLGATE_UPSTREAM", value_name = "URL")]
    pub(super) upstream: String,

    /// CA of the upstream's certificate, PEM [default: the system's CAs]
    #[arg(long, env = "TOLLGATE_UPSTREAM_CA", value_name = "FILE")]
    pub(super) upstream_ca: Option<PathBuf>,

    /// Address to listen on for MCP clients
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Address to serve /healthz, /readyz, /metrics and /buckets on, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9080", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    #[command(flatten)]
    pub(super) tls: TlsArgs,

    #[command(flatten)]
    pub(super) front: FrontArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten)]
    pub(super) callers: CallerArgs,

    #[command(flatten)]
    pub(super) gate: GateArgs,

    #[command(flatten)]
    pub(super) bodies: BodyArgs,

    /// Maximum time to receive a request body
    #[arg(long, env = "TOLLGATE_BODY_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub(super) body_timeout: Period,

    /// Maximum time for the MCP server to begin its response
    #[arg(long, env = "TOLLGATE_UPSTREAM_TIMEOUT", value_name = "DURATION", default_value = "5m")]
    pub(super) upstream_timeout: Period,

    #[command(flatten)]
    pub(super) connections: ConnectionArgs,
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
