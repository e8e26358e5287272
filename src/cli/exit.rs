//! Exit codes: an interface, documented in `--help` and in docs/cli.md.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Did what it was asked to.
    Clean = 0,
    /// Did it, and found something wrong in what it looked at.
    Found = 1,
    /// Could not: bad arguments, no certificate, port taken.
    Failed = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
