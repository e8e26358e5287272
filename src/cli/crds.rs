//! `tollgate crds`

use anyhow::Context;
use clap::{Parser, ValueEnum};

use super::{exit::Exit, output::print};
use crate::crds::{mcp_server, virtual_mcp_server};

/// Print the CustomResourceDefinitions of MCPServer and VirtualMCPServer.
///
/// With both `global` and `shared`. Prefer ToolHive's own CRDs: these are for clusters without them. They do not validate ToolHive's
/// other fields, and where its operator is running, `global` is not enforced, whatever the CRD: see `tollgate doctor`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate crds | kubectl apply -f -
      Only if ToolHive's CRDs are not installed
  tollgate crds --kind MCPServer --output json

Exit codes: 0 printed, 2 failed")]
pub(super) struct CrdsArgs {
    /// Only this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<CrdKind>,

    /// Format
    #[arg(long, short, default_value = "yaml")]
    output: CrdOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum CrdKind {
    #[value(name = "MCPServer")]
    McpServer,
    #[value(name = "VirtualMCPServer")]
    VirtualMcpServer,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CrdOutput {
    Yaml,
    Json,
}

pub(super) fn run(args: &CrdsArgs) -> anyhow::Result<Exit> {
    let kinds = [(CrdKind::McpServer, mcp_server()), (CrdKind::VirtualMcpServer, virtual_mcp_server())];
    for (_, crd) in kinds.into_iter().filter(|(kind, _)| args.kind.is_none_or(|only| only == *kind)) {
        let crd = crd.context("a CRD")?;
        print(&match args.output {
            CrdOutput::Yaml => format!("---\n{}", serde_saphyr::to_string(&crd)?),
            CrdOutput::Json => format!("{}\n", serde_json::to_string_pretty(&crd)?),
        })?;
    }
    Ok(Exit::Clean)
}
