//! The commands and the flags of all of them, exactly as typed.

use clap::{Parser, Subcommand};

#[cfg(feature = "top")]
use super::top::TopArgs;
use super::{
    audit::AuditArgs, authz::AuthzArgs, certs::CertsArgs, check::CheckArgs, completions::CompletionsArgs, crds::CrdsArgs,
    doctor::DoctorArgs, explain::ExplainArgs, limits::LimitsArgs, man::ManArgs, migrate::MigrateArgs, proxy::ProxyArgs, serve::ServeArgs,
    telemetry::LogFormat, version,
};

/// Rate limits for MCP servers on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, long_version = version::LONG.as_str(), propagate_version = true, max_term_width = 110)]
pub(super) struct Args {
    /// Log more; repeat for even more.
    #[arg(short, long, global = true, env = "TOLLGATE_VERBOSE", action = clap::ArgAction::Count)]
    pub(super) verbose: u8,

    /// Log format, on stderr.
    #[arg(long, global = true, env = "TOLLGATE_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// Each variant is described by the doc comment of its arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Box<ServeArgs>),
    Proxy(Box<ProxyArgs>),
    Authz(Box<AuthzArgs>),
    Limits(Box<LimitsArgs>),
    #[cfg(feature = "top")]
    Top(Box<TopArgs>),
    Check(CheckArgs),
    Migrate(MigrateArgs),
    Audit(Box<AuditArgs>),
    Crds(CrdsArgs),
    Explain(ExplainArgs),
    Doctor(DoctorArgs),
    Certs(CertsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}
