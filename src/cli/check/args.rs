//! Arguments of `tollgate check`.

use std::path::PathBuf;

use clap::Parser;

use crate::cli::findings::FindingArgs;

/// Check manifests before applying them.
///
/// Applies the same rules as the webhook. Reads what kubectl reads: YAML with several documents, anchors and merge keys, JSON, and lists
/// such as those of `kubectl get -o yaml`. Objects of other kinds are skipped and counted. In a folder, every .yaml, .yml and .json file
/// that is not hidden is read. Patches, templates of other things and placeholders such as ${VAR} are counted but not checked.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate check manifests/
      Every manifest in a folder
  kubectl kustomize manifests/base | tollgate check --strict -
      The rendered manifests; works with `helm template` too
  tollgate check --crd cluster manifests/
      Also against the installed CRDs: fields that they drop, and their own rules
  tollgate check --output sarif manifests/ >tollgate.sarif
      For code scanning

.tollgate.toml, here or in a folder above, lists findings to ignore, with reasons:
  [[ignore]]
  rule = \"TG104\"
  reason = \"once a day is meant\"
  file = \"batch/*.yaml\"               # optional, as are the next two
  object = \"tools/nightly\"            # name, or namespace/name
  path = \"spec.rateLimiting.tools[0]\" # this field and what is in it

  [files]
  exclude = [\"charts/*/templates\"]    # skipped in folders, and with --force-exclude

Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 something could not be read")]
pub(in crate::cli) struct CheckArgs {
    /// Files and folders to check; - is stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(super) inputs: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) findings: FindingArgs,

    /// Skip files that .tollgate.toml excludes even if given as arguments, as commit hooks do
    #[arg(long)]
    pub(super) force_exclude: bool,

    /// Also check against a CRD: fields that it drops, and its own rules; a file, a folder, or the word cluster; may be
    /// repeated
    #[arg(long, value_name = "FILE|DIR|cluster", value_delimiter = ',')]
    pub(super) crd: Vec<PathBuf>,

    /// Kubeconfig for --crd cluster [default: as for kubectl]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
}
