//! How findings are reported: the flags, each finding as it arrives, and then the summary and the exit code.

use std::{io, path::PathBuf};

use anyhow::Context;

use super::{exit::Exit, output::unless_reader_left};
use crate::report::{Finding, Format, Judged, Object, Report, Severity, Summary};

/// How findings are handled.
#[derive(Debug, clap::Args)]
pub(super) struct FindingArgs {
    /// Output format
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human")]
    pub(super) output: Format,

    /// Treat warnings as errors
    #[arg(long, env = "TOLLGATE_STRICT")]
    pub(super) strict: bool,

    /// File that lists findings to ignore, with reasons [default: .tollgate.toml, here or in the nearest folder above, up to a repository's root]
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// The report, and what it contains so far.
pub(super) struct Reporter<'w> {
    report: Box<dyn Report + 'w>,
    /// Warnings count as errors.
    strict: bool,
    pub(super) summary: Summary,
    /// Why nothing more can be written.
    failed: Option<io::Error>,
}

impl<'w> Reporter<'w> {
    pub(super) fn new(report: Box<dyn Report + 'w>, strict: bool) -> Self {
        Self { report, strict, summary: Summary::default(), failed: None }
    }

    /// Whether the reader left, or the disk is full.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Reports findings about a text, or another source, as a whole.
    pub(super) fn text(&mut self, name: &str, findings: Vec<Finding>) {
        self.object(name, None, findings);
    }

    /// Reports the findings of an object, and returns them with their final severity.
    pub(super) fn object(&mut self, source: &str, object: Option<&Object>, mut findings: Vec<Finding>) -> Vec<Finding> {
        if self.strict {
            for found in &mut findings {
                found.severity = found.severity.max(Severity::Error);
            }
        }
        self.summary.count(&findings);
        let written = self.report.judged(&Judged { source, object, findings: &findings });
        self.failed = self.failed.take().or(written.err());
        findings
    }

    /// Writes the totals; the worst finding decides the exit code.
    pub(super) fn end(mut self) -> anyhow::Result<Exit> {
        let end = self.report.end(&self.summary);
        unless_reader_left(self.failed.map_or(end, Err)).context("cannot write to stdout")?;
        Ok(match self.summary {
            Summary { unreadable: 1.., .. } => Exit::Failed,
            Summary { errors: 1.., .. } => Exit::Found,
            _ => Exit::Clean,
        })
    }
}
