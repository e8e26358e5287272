//! `tollgate crds`

use anyhow::Context;

use super::{
    args::{CrdKind, CrdOutput, CrdsArgs},
    exit::Exit,
    print,
};
use crate::crds::{mcp_server, virtual_mcp_server};

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
