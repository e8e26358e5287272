//! Arguments that the fronts, `proxy` and `authz`, have in common.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;

use super::values::DrainTime;
use crate::{
    cluster::Access,
    gate::{GateSettings, access::AccessLog},
    mcp::{DenialForm, RejectStatus},
    server::{ConnectionLimits, tls::Files},
    tower::mcp::MOST_BYTES,
};

/// The cluster of `--watch`.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig for --watch [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE", conflicts_with = "file")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME", conflicts_with = "file")]
    context: Option<String>,
}

/// Certificates.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// Certificate to serve, PEM, leaf first; reloaded when it changes. Without it, plain HTTP
    #[arg(long, env = "TOLLGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Key of the certificate, PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, env = "TOLLGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Require client certificates signed by one of these CAs, PEM
    #[arg(long, env = "TOLLGATE_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,

    /// Name required in a client's certificate (common name or DNS name); may be repeated
    #[arg(long, env = "TOLLGATE_CLIENT_NAME", value_name = "NAME", requires = "client_ca", value_delimiter = ',')]
    client_name: Vec<String>,
}

/// How calls are decided, and denials reported.
#[derive(Debug, clap::Args)]
pub(super) struct GateArgs {
    /// How a denial is reported: as an HTTP status, or as the tool's own result
    #[arg(long, env = "TOLLGATE_REJECT_STATUS", value_name = "MODE", default_value = "auto")]
    reject_status: RejectStatus,

    /// JSON-RPC code of a denial [default: -32029 up to MCP 2025-11-25, 429 from 2026-07-28]
    #[arg(long, env = "TOLLGATE_REJECT_CODE", value_name = "CODE", allow_negative_numbers = true)]
    reject_code: Option<i64>,

    /// Send the RateLimit and RateLimit-Policy headers (draft-ietf-httpapi-ratelimit-headers-11) with every call
    #[arg(long, env = "TOLLGATE_RATE_LIMIT_FIELDS")]
    rate_limit_fields: bool,

    /// Do not deny calls: only count and log those that would have been denied
    #[arg(long, env = "TOLLGATE_SHADOW")]
    shadow: bool,

    /// Count call_tool under its inner tool_name (or name, as in FastMCP's tool search), regardless of the resource
    #[arg(long, env = "TOLLGATE_OPTIMIZER")]
    optimizer: bool,

    /// Which requests to log
    #[arg(long, env = "TOLLGATE_ACCESS_LOG", value_name = "WHICH", default_value = "denials")]
    access_log: AccessLog,
}

/// Memory for request bodies.
#[derive(Debug, clap::Args)]
pub(super) struct BodyArgs {
    /// Maximum size of a request body, in bytes
    #[arg(long, env = "TOLLGATE_MAX_BODY", value_name = "BYTES", default_value_t = MOST_BYTES as u32)]
    max_body: u32,

    /// Memory for all request bodies together, in bytes; requests beyond it wait, then get 503
    #[arg(long, env = "TOLLGATE_MAX_BUFFERED_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    max_buffered_bytes: u32,
}

/// Connections, and their end.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectionArgs {
    /// Maximum number of concurrent connections
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,

    /// How long to keep serving after SIGTERM, while endpoints and connections move elsewhere
    #[arg(long, env = "TOLLGATE_DRAIN", value_name = "DURATION", default_value = "0s")]
    drain: DrainTime,

    /// How long open streams may continue after that
    #[arg(long, env = "TOLLGATE_GRACE", value_name = "DURATION", default_value = "30s")]
    grace: DrainTime,
}

impl ClusterArgs {
    pub(super) fn access(self) -> Access {
        let Self { kubeconfig, context } = self;
        Access { kubeconfig, context }
    }
}

impl TlsArgs {
    /// Whether clients need a certificate.
    pub(super) fn asks_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// The files, if there are any.
    pub(super) fn files(self) -> Option<Files> {
        let Self { tls_cert, tls_key, client_ca, client_name } = self;
        tls_cert.zip(tls_key).map(|(cert, key)| Files { cert, key, client_ca, client_names: client_name })
    }
}

impl GateArgs {
    pub(super) fn settings(self) -> GateSettings {
        let Self { reject_status, reject_code, rate_limit_fields, shadow, optimizer, access_log } = self;
        let rejection = DenialForm { status: reject_status, code: reject_code };
        GateSettings { rejection, rate_limit_fields, shadow, optimizer, access_log }
    }
}

impl BodyArgs {
    /// The largest body, and all together, in bytes.
    pub(super) fn resolve(&self) -> anyhow::Result<(usize, usize)> {
        let Self { max_body, max_buffered_bytes } = self;
        ensure!(
            max_buffered_bytes >= max_body,
            "--max-buffered-bytes {max_buffered_bytes} is less than --max-body {max_body}: raise it, or lower --max-body"
        );
        Ok((*max_body as usize, *max_buffered_bytes as usize))
    }
}

impl ConnectionArgs {
    /// Limits on connections, and how long everything is served after a stop signal.
    pub(super) fn resolve(self) -> (ConnectionLimits, Duration) {
        let Self { max_connections, drain: DrainTime(drain), grace: DrainTime(grace) } = self;
        // Sessions and their streams last as long as their clients want.
        let (age, requests) = (Duration::MAX, u64::MAX);
        (ConnectionLimits { connections: max_connections as usize, age, requests, grace, ..ConnectionLimits::default() }, drain)
    }
}
