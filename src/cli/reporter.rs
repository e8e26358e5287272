//! Tells findings as they come, and what they come to: the summary and the exit code.

use std::io;

use anyhow::Context;

use super::{exit::Exit, unless_reader_left};
use crate::report::{Finding, Judged, Object, Report, Severity, Summary};

/// What has been told so far.
pub(super) struct Teller<'w> {
    report: Box<dyn Report + 'w>,
    /// Warnings are faults too.
    strict: bool,
    pub(super) summary: Summary,
    /// Why nothing more can be told.
    failed: Option<io::Error>,
}

impl<'w> Teller<'w> {
    pub(super) fn new(report: Box<dyn Report + 'w>, strict: bool) -> Self {
        Self { report, strict, summary: Summary::default(), failed: None }
    }

    /// Whether the reader left, or the disk is full.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Tells what was found about a text, or another source, as such.
    pub(super) fn text(&mut self, name: &str, findings: Vec<Finding>) {
        self.tell(name, None, findings);
    }

    /// Tells what was found in an object; the findings as they were counted.
    pub(super) fn tell(&mut self, source: &str, object: Option<&Object>, mut findings: Vec<Finding>) -> Vec<Finding> {
        if self.strict {
            for found in &mut findings {
                found.severity = found.severity.max(Severity::Error);
            }
        }
        self.summary.count(&findings);
        let told = self.report.judged(&Judged { source, object, findings: &findings });
        self.failed = self.failed.take().or(told.err());
        findings
    }

    /// Tells the totals: the worst of what was told is the exit code.
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
