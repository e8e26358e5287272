//! Arguments of `tollgate proxy` for its front: allowed hosts and origins, paths, trusted proxies.

use std::net::IpAddr;

use crate::{
    gate::origin::{AllowedHost, AllowedOrigin, Origins},
    proxy::{forwarded::TrustedProxy, paths::PassPath},
};

/// Which requests are accepted.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Front")]
pub(in crate::cli) struct FrontArgs {
    /// Host name that clients may use, with any port, or NAME:PORT; requests for others get 403; may be repeated [default: localhost and
    /// loopback addresses if --listen is on loopback, else any]
    #[arg(long, env = "TOLLGATE_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(super) allowed_host: Vec<AllowedHost>,

    /// Origin whose pages may call and read responses (CORS), such as `https://app.example`; others get 403; may be repeated [default: pages
    /// of localhost if --listen is on loopback, subject to the MCP server's own CORS, else any]
    #[arg(long, env = "TOLLGATE_ALLOWED_ORIGIN", value_name = "URL", value_delimiter = ',')]
    pub(super) allowed_origin: Vec<AllowedOrigin>,

    /// Additional path that passes without limits or authentication, such as /token of an OAuth server; JSON-RPC is refused there; may be
    /// repeated
    #[arg(long, env = "TOLLGATE_PASS_PATH", value_name = "PATH", value_delimiter = ',')]
    pub(super) pass_path: Vec<PassPath>,

    /// Network of proxies whose X-Forwarded-*, Forwarded and X-Real-IP headers are trusted, such as 10.0.0.0/8; headers from others are
    /// replaced; may be repeated
    #[arg(long, env = "TOLLGATE_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub(super) trusted_proxy: Vec<TrustedProxy>,
}

impl FrontArgs {
    /// Which hosts and origins a listener serves.
    pub(super) fn origins(&self, listen: IpAddr) -> Origins {
        Origins::new(listen, self.allowed_host.clone(), self.allowed_origin.clone())
    }
}
