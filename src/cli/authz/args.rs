//! Arguments of `tollgate authz`, exactly as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use crate::{
    authz::servers::OnUnknownServer,
    cli::{
        callers::CallerArgs,
        fronts::{BodyArgs, ClusterArgs, ConnectionArgs, GateArgs, TlsArgs},
        target::StoreArgs,
        trust::ObjectArgs,
    },
    gate::origin::{AllowedHost, AllowedOrigin},
    model::DEFAULT_NAMESPACE,
};

/// Enforce the limits of MCP servers behind Envoy, as its ext_authz service.
///
/// Envoy asks about each request over gRPC (envoy.service.auth.v3.Authorization) and sends the response that it gets to the client, or forwards
/// the request. Needs the whole body: with_request_body with pack_as_bytes and without allow_partial_message; see docs/envoy.md. Only tools/call
/// is limited.
///
/// Files, folders and clusters are followed: changed limits take effect within seconds. If new limits cannot work, the current ones stay in
/// force. With several servers, a route of Envoy's names its own in context_extensions["tollgate.dev/server"], as NAMESPACE/NAME.
#[derive(Debug, Parser)]
#[command(
    mut_arg("store_deadline", |arg| arg.default_value("25ms")),
    after_help = "\
Examples:
  tollgate authz -f mcpserver.yaml --store memory
      On 127.0.0.1:9002, HTTP/2 over plain TCP, counting calls in memory
  tollgate authz -f servers/ --redis-url redis://cache --tls-cert tls.crt --tls-key tls.key
      The servers of a folder, counted in Redis, with TLS
  tollgate authz -f mcpserver.yaml --user-header X-User --user-header-from loopback
      Envoy on this machine has verified the caller, and removes the header from clients' requests
  tollgate authz --watch '*'
      All servers in the cluster of the current kubeconfig, or of the pod

--watch needs list and watch on mcpservers, virtualmcpservers and mcpoidcconfigs in the namespace, or in all.

Exit codes: 0 clean shutdown, 1 the limits cannot work, 2 failed to start, or forced to stop by a second signal"
)]
pub(in crate::cli) struct AuthzArgs {
    #[command(flatten)]
    pub(super) from: FromArgs,

    /// Namespace of manifests that do not set one
    #[arg(long, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub(super) namespace: String,

    #[command(flatten)]
    pub(super) cluster: ClusterArgs,

    #[command(flatten)]
    pub(super) object: ObjectArgs,

    /// What happens to requests for a server that is not known: deny with HTTP 503, or allow without limits
    #[arg(long, env = "TOLLGATE_ON_UNKNOWN_SERVER", value_name = "POLICY", default_value = "deny")]
    pub(super) on_unknown_server: OnUnknownServer,

    /// Address to listen on for Envoy, gRPC over HTTP/2
    #[arg(long, env = "TOLLGATE_LISTEN", default_value = "127.0.0.1:9002", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Address to serve /healthz, /readyz and /metrics on, over plain HTTP
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", default_value = "127.0.0.1:9082", value_name = "ADDRESS")]
    pub(super) metrics_listen: SocketAddr,

    #[command(flatten)]
    pub(super) tls: TlsArgs,

    /// Host name that clients of Envoy may use, with any port, or NAME:PORT; requests for others get 403; may be repeated [default: any]
    #[arg(long, env = "TOLLGATE_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(super) allowed_host: Vec<AllowedHost>,

    /// Origin whose pages may call and read responses (CORS), such as `https://app.example`; others get 403; may be repeated [default: any,
    /// subject to Envoy's and the MCP server's own CORS]
    #[arg(long, env = "TOLLGATE_ALLOWED_ORIGIN", value_name = "URL", value_delimiter = ',')]
    pub(super) allowed_origin: Vec<AllowedOrigin>,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten)]
    pub(super) callers: CallerArgs,

    #[command(flatten)]
    pub(super) gate: GateArgs,

    #[command(flatten)]
    pub(super) bodies: BodyArgs,

    #[command(flatten)]
    pub(super) connections: ConnectionArgs,
}

/// Where the limits are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct FromArgs {
    /// Manifest of servers whose limits apply, or a folder of them; may be repeated
    #[arg(long, short, env = "TOLLGATE_FILE", value_name = "FILE|DIR", value_delimiter = ',')]
    pub(super) file: Vec<PathBuf>,

    /// Namespace in a cluster whose servers' limits apply; * is all
    #[arg(long, env = "TOLLGATE_WATCH", value_name = "NAMESPACE")]
    pub(super) watch: Option<String>,
}
