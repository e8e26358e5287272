//! JUnit XML: a suite for each source, a case for each object, a failure for each error.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report as Xml, TestCase, TestCaseStatus, TestSuite};

use super::{Finding, Judged, Report, Severity, Summary};

pub(super) struct Junit<'w> {
    out: &'w mut dyn Write,
    suites: Vec<TestSuite>,
}

impl<'w> Junit<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self { out, suites: Vec::new() }
    }
}

impl Report for Junit<'_> {
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let case = case(judged);
        match self.suites.last_mut().filter(|suite| suite.name.as_str() == judged.source) {
            Some(suite) => {
                suite.add_test_case(case);
            }
            None => {
                let mut suite = TestSuite::new(judged.source);
                suite.add_test_case(case);
                self.suites.push(suite);
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        let mut xml = Xml::new("tollgate");
        xml.add_test_suites(self.suites.drain(..));
        xml.serialize(&mut self.out).map_err(io::Error::other)?;
        self.out.flush()
    }
}

/// Warnings are in the case's output and leave it passed.
fn case(judged: &Judged<'_>) -> TestCase {
    let shown: Vec<_> = judged.findings.iter().filter(|found| found.ignored.is_none()).collect();
    let worst = shown.iter().copied().max_by_key(|found| found.severity);
    let status = match worst {
        Some(Finding { severity: Severity::Unreadable, .. }) => failed(NonSuccessKind::Error, worst, &shown),
        Some(Finding { severity: Severity::Error, .. }) => failed(NonSuccessKind::Failure, worst, &shown),
        _ => TestCaseStatus::success(),
    };
    let name = judged.object.map_or_else(|| judged.source.to_owned(), |object| object.qualified_name());
    let mut case = TestCase::new(name, status);
    case.set_classname(judged.object.map_or("text", |object| object.kind.as_str()));
    if worst.is_some_and(|worst| worst.severity == Severity::Warning) {
        case.set_system_out(lines(&shown));
    }
    case
}

fn failed(kind: NonSuccessKind, worst: Option<&Finding>, shown: &[&Finding]) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    if let Some(worst) = worst {
        status.set_type(worst.id).set_message(worst.message_with_field());
    }
    status.set_description(lines(shown));
    status
}

fn lines(shown: &[&Finding]) -> String {
    let line = |found: &&Finding| {
        let place = found.place.as_ref();
        let at = place.map(|place| format!("{}:{}:{}: ", place.file, place.start.line, place.start.column)).unwrap_or_default();
        format!("{at}{} {}: {}", found.severity.name(), found.id, found.message_with_field())
    };
    shown.iter().map(line).collect::<Vec<_>>().join("\n")
}
