//! What `tollgate migrate` is told.

use std::path::PathBuf;

use clap::Parser;

/// Write `global` for `shared` in files, and change nothing else.
///
/// Comments, order, quotes, indentation and line ends stay as they are. A `shared` beside an equal `global` is removed; beside a different
/// one, it is left, and told. Templates are refused. Without --write, nothing is written, and what would be is printed as a patch.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate migrate manifests/
      What would change, as a patch
  tollgate migrate manifests/ | git apply
  tollgate migrate --write manifests/
      The same

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

    /// Which files are left out in folders [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Leave out what .tollgate.toml excludes even where it is named, as commit hooks name files
    #[arg(long, env = "TOLLGATE_FORCE_EXCLUDE")]
    pub(super) force_exclude: bool,
}
