//! What `tollgate migrate` is told.

use std::path::PathBuf;

use clap::Parser;

/// Write `global` for `shared` in files, and change nothing else.
///
/// Comments, order, quotes, indentation and line ends stay as they are. A `shared` beside an equal `global` is removed; beside a different
/// one, it is left, and told. Templates are refused. A CRD that lacks `global`, as ToolHive's own do at the time of writing, drops it and the
/// limit with it: --crd looks before anything is renamed. Without --write, nothing is written, and what would be is printed as a patch.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate migrate manifests/
      What would change, as a patch
  tollgate migrate manifests/ | git apply
  tollgate migrate --crd cluster --write manifests/
      The same, where the installed CRDs have global

Exit codes: 0 nothing is left to do by hand, 1 something is, 2 a file could not be read or written")]
pub(in crate::cli) struct MigrateArgs {
    /// Files and folders to migrate
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(super) inputs: Vec<PathBuf>,

    /// Write the files, each in one step
    #[arg(long, env = "TOLLGATE_WRITE")]
    pub(super) write: bool,

    /// Print a patch; the default without --write
    #[arg(long, env = "TOLLGATE_DIFF")]
    pub(super) diff: bool,

    /// Rename only where this CRD has global: a file, a folder, or the word cluster; may be repeated
    #[arg(long, env = "TOLLGATE_CRD", value_name = "FILE|DIR|cluster", value_delimiter = ',')]
    pub(super) crd: Vec<PathBuf>,

    /// Do nothing without --crd, as a commit hook that writes has to
    #[arg(long, env = "TOLLGATE_REQUIRE_CRD")]
    pub(super) require_crd: bool,

    /// Kubeconfig for --crd cluster, unless kubectl's own
    #[arg(long, env = "TOLLGATE_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, unless its current one
    #[arg(long, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Which files are left out in folders [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Leave out what .tollgate.toml excludes even where it is named, as commit hooks name files
    #[arg(long, env = "TOLLGATE_FORCE_EXCLUDE")]
    pub(super) force_exclude: bool,
}
