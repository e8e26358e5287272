//! `tollgate certs`: the CA that the replicas of `tollgate serve --certs-secret` keep in a Secret.
//!
//! | file | contents |
//! |---|---|
//! | [`on`] | which Secret and cluster |
//! | [`show`] | what the Secret holds, and what callers trust |

mod on;
mod show;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use time::OffsetDateTime;

use self::on::{On, OnArgs};
use super::{exit::Exit, output::print, runtime, values::ReportFormat};
use crate::{certs::authority::ROTATE, cluster::ClusterError};

/// Show or rotate the CA that the webhook's replicas keep in a Secret.
///
/// For installations that run `tollgate serve --certs-secret`, which is the chart's default. Rotations happen by themselves; `rotate` asks
/// for one now, for instance after a key may have leaked.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate certs show
      The CAs, their ends, and whether both webhook configurations have them
  tollgate certs show tollgate-system/tollgate-certs --output json
  tollgate certs rotate
      The replicas make a new CA, and use it once callers trust it; no call fails in between

Exit codes: 0 as it should be, 1 callers do not trust the CA that signs, 2 failed")]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Show the CAs in the Secret, and whether both webhook configurations have them.
    Show {
        #[command(flatten)]
        on: OnArgs,

        /// Format
        #[arg(long, short, default_value = "human")]
        output: ReportFormat,
    },
    /// Ask the replicas for a rotation; the old CA stays trusted until no certificate from it is left.
    Rotate {
        #[command(flatten)]
        on: OnArgs,
    },
}

pub(super) fn run(args: CertsArgs) -> anyhow::Result<Exit> {
    runtime::run(async {
        match args.command {
            CertsCommand::Show { on, output } => show::run(&On::connect(on)?, output).await,
            CertsCommand::Rotate { on } => rotate(&On::connect(on)?).await,
        }
    })
}

/// Asks for a rotation by an annotation of the Secret, which the replicas remove as they begin.
async fn rotate(on: &On) -> anyhow::Result<Exit> {
    let secret = on.read().await?;
    let now = OffsetDateTime::now_utc().unix_timestamp().to_string();
    // On the state that was read, so that a Secret that has just been replaced is not touched.
    let asked = json!({"metadata": {"resourceVersion": secret.metadata.resource_version, "annotations": {ROTATE: now}}});
    let asked = on.secrets().patch(&on.secret, &PatchParams::default(), &Patch::Merge(asked)).await.map_err(ClusterError::from);
    asked.with_context(|| format!("cannot write Secret {}/{}", on.namespace, on.secret))?;
    print(&format!("asked for a rotation of the CA in Secret {}/{}; see tollgate certs show\n", on.namespace, on.secret))?;
    Ok(Exit::Clean)
}
