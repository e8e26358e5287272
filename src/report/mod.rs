//! Findings, and the formats that they are told in.
//!
//! A command that judges objects makes [`Finding`]s, with a place in a text or without one (objects that a cluster holds have none), and
//! hands them, object by object, to a [`Report`]: for people, or as JSON, SARIF 2.1.0, JUnit XML or GitHub annotations. Every format but
//! JUnit, which wants its totals first, is written while the command still runs, and holds nothing back.
//!
//! ```
//! use tollgate::{model::path::FieldPath, report::{Finding, Format, Judged, Object, Summary}};
//!
//! let object = Object { kind: "MCPServer".to_owned(), namespace: Some("demo".to_owned()), name: Some("fetch".to_owned()) };
//! let found = Finding::new("TG003", "limits nothing: set global, perUser or tools, or remove rateLimiting");
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

/// What one object, or a text that holds none, gave.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The file, or another name of where the object comes from.
    pub source: &'a str,
    /// The object; none for a finding about a text.
    pub object: Option<&'a Object>,
    /// Everything found in it; nothing when it is clean.
    pub findings: &'a [Finding],
}

/// The totals at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Objects that were judged.
    pub judged: usize,
    /// Objects of other kinds.
    pub skipped: usize,
    /// Templates that give none of our kinds: only what they give can be judged.
    pub templates: usize,
    /// Patches of objects of our kinds: only what is rendered with them can be judged.
    pub patches: usize,
    /// Objects that were judged but for placeholders, such as Flux's `${VAR}` and what SOPS encrypted.
    pub placeholders: usize,
    /// Faults.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Findings that are ignored, for a reason.
    pub ignored: usize,
    /// Texts that could not be read, or questions that could not be asked.
    pub unreadable: usize,
    /// By namespace, where a cluster was looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, FindingCounts>,
}

/// The totals of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FindingCounts {
    /// Objects that were judged.
    pub judged: usize,
    /// Those of them that have limits.
    pub limited: usize,
    /// Faults.
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

/// Where findings go.
pub trait Report {
    /// Tells what one object gave.
    ///
    /// # Errors
    /// When it cannot be written.
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()>;

    /// Tells the totals, and ends the document that the format needs.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self, summary: &Summary) -> io::Result<()>;
}

/// How findings are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The line, a caret, what to write instead.
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
    /// A report that writes to `out`; only [`Format::Human`] has colours.
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
