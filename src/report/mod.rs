//! Findings, and their output formats.
//!
//! A command that checks objects makes [`Finding`]s, with or without a place in a text (objects in a cluster have none), and passes them,
//! object by object, to a [`Report`]: for people, or as JSON, SARIF 2.1.0, JUnit XML or GitHub annotations. Every format is streamed while
//! the command runs, except JUnit, which needs its totals first.
//!
//! ```
//! use tollgate::{model::{path::FieldPath, problem::Problem}, report::{Finding, Format, Judged, Object, Summary}};
//!
//! let object = Object { kind: "MCPServer".to_owned(), namespace: Some("demo".to_owned()), name: Some("fetch".to_owned()) };
//! let found = Finding::new("TG003", Problem::new("limits nothing").advice("set global, perUser or tools, or remove rateLimiting"));
//! let found = found.on(FieldPath::new(["spec", "rateLimiting"]));
//! let mut out = Vec::new();
//! let mut report = Format::Github.open(&mut out, false);
//! report.judged(&Judged { source: "demo", object: Some(&object), findings: &[found] })?;
//! report.end(&Summary::default())?;
//! drop(report);
//! assert!(String::from_utf8_lossy(&out).starts_with("::error title=TG003::MCPServer demo/fetch: spec.rateLimiting: limits nothing"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod finding;
mod github;
mod human;
mod json;
mod junit;
mod sarif;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

pub use self::finding::{Excerpt, Finding, LONGEST_LINE, MORE, Object, Place, Row, Severity, rows};

/// The findings of one object, or of a text without objects.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The file, or another name for the object's origin.
    pub source: &'a str,
    /// The object; `None` for findings about a text.
    pub object: Option<&'a Object>,
    /// Everything found in it.
    pub findings: &'a [Finding],
}

/// The totals at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Objects that were checked.
    pub judged: usize,
    /// Objects of other kinds.
    pub skipped: usize,
    /// Templates that do not name our kinds: only their output can be checked.
    pub templates: usize,
    /// Patches of objects of our kinds: only their rendered result can be checked.
    pub patches: usize,
    /// Objects that were checked except for placeholders, such as Flux's `${VAR}` and what SOPS encrypted.
    pub placeholders: usize,
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Findings that are ignored, for a reason.
    pub ignored: usize,
    /// Texts that could not be read, or requests that failed.
    pub unreadable: usize,
    /// By namespace, if a cluster was read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, FindingCounts>,
}

/// The totals of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FindingCounts {
    /// Objects that were checked.
    pub judged: usize,
    /// Those of them that have limits.
    pub limited: usize,
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Findings that are ignored, for a reason.
    pub ignored: usize,
}

impl FindingCounts {
    /// Counts an object and what was found in it.
    pub fn count(&mut self, is_limited: bool, findings: &[Finding]) {
        let mut found = Summary::default();
        found.count(findings);
        self.judged += 1;
        self.limited += usize::from(is_limited);
        self.errors += found.errors;
        self.warnings += found.warnings;
        self.ignored += found.ignored;
    }
}

impl Summary {
    /// Counts what was found.
    pub fn count(&mut self, findings: &[Finding]) {
        for found in findings {
            let total = match (&found.ignored, found.severity) {
                (Some(_), _) => &mut self.ignored,
                (None, Severity::Unreadable) => &mut self.unreadable,
                (None, Severity::Error) => &mut self.errors,
                (None, Severity::Warning) => &mut self.warnings,
            };
            *total += 1;
        }
    }
}

/// The output of findings, in one format.
pub trait Report {
    /// Writes the findings of one object.
    ///
    /// # Errors
    /// When it cannot be written.
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()>;

    /// Writes the totals, and ends the document.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self, summary: &Summary) -> io::Result<()>;
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The line, a caret, and advice.
    #[default]
    Human,
    /// One JSON object, `findings` and `summary`.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, a test case for each object.
    Junit,
    /// Annotations of a GitHub workflow.
    Github,
}

impl Format {
    /// A report that writes to `out`; only [`Format::Human`] uses colours.
    pub fn open<'w>(self, out: &'w mut dyn Write, colors: bool) -> Box<dyn Report + 'w> {
        match self {
            Self::Human => Box::new(human::Human::new(out, colors)),
            Self::Json => Box::new(json::Json::new(out)),
            Self::Sarif => Box::new(sarif::Sarif::new(out)),
            Self::Junit => Box::new(junit::Junit::new(out)),
            Self::Github => Box::new(github::Github::new(out)),
        }
    }
}
