//! Arguments of `tollgate migrate`.

use std::path::PathBuf;

use clap::Parser;

/// Rename `shared` to `global` in files, and change nothing else.
///
/// Comments, order, quotes, indentation and line endings are preserved. A `shared` next to an equal `global` is removed; next to a different
/// one, it is kept and reported. Templates are refused. A CRD that lacks `global`, as ToolHive's own do at the time of writing, drops it and
/// the limit with it: --crd checks that before renaming. Without --write, nothing is written and the changes are printed as a patch.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate migrate manifests/
      Show the changes as a patch
  tollgate migrate manifests/ | git apply
  tollgate migrate --crd cluster --write manifests/
      Write the files, if the installed CRDs have global

Exit codes: 0 nothing is left to edit by hand, 1 something is, 2 a file could not be read or written")]
pub(in crate::cli) struct MigrateArgs {
    /// Files and folders to migrate
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(super) inputs: Vec<PathBuf>,

    /// Write the files, each atomically
    #[arg(long)]
    pub(super) write: bool,

    /// Print a patch [default without --write]
    #[arg(long)]
    pub(super) diff: bool,

    /// Rename only where this CRD has global: a file, a folder, or the word cluster; may be repeated
    #[arg(long, value_name = "FILE|DIR|cluster", value_delimiter = ',')]
    pub(super) crd: Vec<PathBuf>,

    /// Do nothing without --crd, for commit hooks that write
    #[arg(long)]
    pub(super) require_crd: bool,

    /// Kubeconfig for --crd cluster [default: as for kubectl]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// File that lists the files to skip in folders [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Skip files that .tollgate.toml excludes even if given as arguments, as commit hooks do
    #[arg(long)]
    pub(super) force_exclude: bool,
}
