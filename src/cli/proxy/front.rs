//! Arguments of `tollgate proxy` that say what is served to whom: proxies in front.

use crate::gateway::forwarded::TrustedProxy;

/// What is served to whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Front")]
pub(in crate::cli) struct FrontArgs {
    /// Network of a proxy in front whose X-Forwarded-*, Forwarded and X-Real-IP are kept, such as 10.0.0.0/8; those of others are replaced;
    /// may be repeated
    #[arg(long, env = "TOLLGATE_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub(super) trusted_proxy: Vec<TrustedProxy>,
}
