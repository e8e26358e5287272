//! Arguments of `tollgate explain`, exactly as typed.

use std::num::NonZeroU32;

use clap::Parser;

use super::picture::Picture;
use crate::{cli::values::ReportFormat, explain::Load, model::period::Period};

/// Explain rules by id, or the limits of files in plain language.
///
/// With --load, simulates calls against the real limiter, on a simulated clock: how many are allowed, and which limit denies the others.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate explain
      List the rules
  tollgate explain TG002 crd-pruned
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --users 2000
  kubectl get mcpservers -A -o yaml | tollgate explain -
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --load 10,1/m --for 30m
      Ten calls at once and one more every minute, by one user
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --plot calls.svg
      A plot of the calls made and the calls allowed

Exit codes: 0 explained, 1 a rule denies the limits, 2 unknown rule, or a file that cannot be read")]
pub(in crate::cli) struct ExplainArgs {
    /// Ids of rules and other findings, files and folders of manifests (YAML or JSON), - for stdin; without any, all rules are listed
    #[arg(value_name = "RULE|FILE")]
    pub(super) what: Vec<String>,

    /// Only the server with this name, or namespace/name
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Number of users for the estimate of keys in Redis
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(super) users: u32,

    /// Calls to simulate: N at once, N@TIME at once after a time, N/TIME steadily; comma-separated [default: twice what the tightest limit
    /// allows]
    #[arg(long, value_name = "CALLS")]
    pub(super) load: Option<Load>,

    /// Duration of the simulation [default: three times the tightest limit's refillPeriod]
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) duration: Option<Period>,

    /// Tool to call [default: the first with limits of its own]
    #[arg(long, value_name = "NAME")]
    pub(super) tool: Option<String>,

    /// Number of users that make the calls in turn
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) callers: NonZeroU32,

    /// Plot the calls to this file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<Picture>,

    /// Format
    #[arg(long, short, default_value = "human")]
    pub(super) output: ReportFormat,
}
