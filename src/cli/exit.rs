//! Exit codes: an interface, documented in `--help` and in docs/cli.md.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Succeeded.
    Clean = 0,
    /// Succeeded, and found problems in the input.
    Found = 1,
    /// Failed: bad arguments, no certificate, port in use.
    Failed = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
