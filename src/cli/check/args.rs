//! What `tollgate check` is told.

use std::path::PathBuf;

use clap::Parser;

use crate::report::Format;

/// Judge manifests before they meet a cluster.
///
/// The rules are the webhook's. Texts are read as kubectl reads them: YAML with several documents, anchors and merge keys, JSON, and lists
/// such as `kubectl get -o yaml` prints. Objects of other kinds are skipped and counted. In a folder, every .yaml, .yml and .json file is
/// read, hidden ones left out. Patches, templates of other things and placeholders such as ${VAR} are counted and not judged.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate check manifests/
      Every manifest in a folder
  kubectl kustomize manifests/base | tollgate check --strict -
      What will be applied; `helm template` likewise
  tollgate check --crd cluster manifests/
      Also by the CRDs that are installed: fields that they drop, and their own rules
  tollgate check --output sarif manifests/ >tollgate.sarif
      For code scanning

.tollgate.toml, here or in a folder above, says what is ignored, and why:
  [[ignore]]
  rule = \"TG104\"
  reason = \"once a day is meant\"
  file = \"batch/*.yaml\"               # optional, as are the next two
  object = \"tools/nightly\"            # name, or namespace/name
  path = \"spec.rateLimiting.tools[0]\" # this field and what is in it

  [files]
  exclude = [\"charts/*/templates\"]    # not looked at in folders, nor with --force-exclude

Exit codes: 0 no fault, 1 faults (with --strict also warnings), 2 something could not be read")]
pub(in crate::cli) struct CheckArgs {
    /// Files and folders to judge; - is stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(super) inputs: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) findings: FindingArgs,

    /// Leave out what .tollgate.toml excludes even where it is named, as commit hooks name files
    #[arg(long, env = "TOLLGATE_FORCE_EXCLUDE")]
    pub(super) force_exclude: bool,

    /// Judge by the CRD that will be installed, too: fields that it drops, and its own rules; a file, a folder, or the word cluster; may be
    /// repeated
    #[arg(long, env = "TOLLGATE_CRD", value_name = "FILE|DIR|cluster", value_delimiter = ',')]
    pub(super) crd: Vec<PathBuf>,

    /// Kubeconfig for --crd cluster, unless kubectl's own
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, unless its current one
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,
}

/// What becomes of findings.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FindingArgs {
    /// How findings are told
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human")]
    pub(in crate::cli) output: Format,

    /// Warnings are faults too
    #[arg(long, env = "TOLLGATE_STRICT")]
    pub(in crate::cli) strict: bool,

    /// What is ignored, and why [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
}
