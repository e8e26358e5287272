//! `tollgate check`

mod args;
mod crd;
mod ignores;
mod judge;

use std::{
    io::{self, BufWriter, IsTerminal},
    sync::Arc,
};

use anyhow::Context;

use self::crd::Crds;
pub(super) use self::{args::CheckArgs, ignores::Ignores};
use super::{
    cluster::Access,
    exit::Exit,
    inputs::{Input, expand},
    unless_reader_left, wants_color,
};
use crate::{
    report::{Finding, Format, Judged, Object, Report, Severity, Summary},
    source::Raw,
};

pub(super) fn run(args: CheckArgs) -> anyhow::Result<Exit> {
    let CheckArgs { inputs, output, strict, config, crd, kubeconfig, context } = args;
    let crds = (!crd.is_empty()).then(|| Crds::load(&crd, &Access { kubeconfig, context })).transpose()?;
    let ignores = Ignores::find(config.as_deref())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let colors = io::stdout().is_terminal() && wants_color();
    let report = Format::from(output).open(&mut out, colors);
    let judges_folder = inputs.iter().any(|path| path.is_dir());
    let mut run = Run { report, ignores, crds, strict, summary: Summary::default(), failed: None };
    let skips = run.ignores.excludes();
    for input in expand(&inputs, &*skips) {
        match input {
            Ok(input) => run.input(&input),
            Err(missing) => run.text(&missing.name, vec![Finding::new("unreadable", missing.message)]),
        }
        if run.failed.is_some() {
            break;
        }
    }
    if judges_folder {
        run.unused_ignores();
    }
    run.end()
}

/// A run, and what it has told so far.
struct Run<'w> {
    report: Box<dyn Report + 'w>,
    ignores: Ignores,
    crds: Option<Crds>,
    strict: bool,
    summary: Summary,
    /// Why nothing more can be told.
    failed: Option<io::Error>,
}

impl Run<'_> {
    fn input(&mut self, input: &Input) {
        let name: Arc<str> = input.name().into();
        let end = input.each_document(&mut |raw| self.document(input, &name, raw));
        if let Err(error) = end {
            self.text(&name, vec![Finding::new("unreadable", error.to_string())]);
        }
    }

    fn document(&mut self, input: &Input, name: &Arc<str>, raw: Raw) {
        let verdicts = judge::judge(name, raw, self.crds.as_ref());
        self.summary.judged += verdicts.objects.len();
        self.summary.skipped += verdicts.skipped;
        for (object, mut findings) in verdicts.objects {
            self.ignores.apply(input, &object, &mut findings);
            self.tell(name, Some(&object), findings);
        }
        if let Some(unreadable) = verdicts.unreadable {
            self.text(name, vec![unreadable]);
        }
    }

    /// Tells what was found about a text as such.
    fn text(&mut self, name: &str, findings: Vec<Finding>) {
        self.tell(name, None, findings);
    }

    fn tell(&mut self, source: &str, object: Option<&Object>, mut findings: Vec<Finding>) {
        if self.strict {
            for found in &mut findings {
                found.severity = found.severity.max(Severity::Error);
            }
        }
        self.summary.count(&findings);
        let told = self.report.judged(&Judged { source, object, findings: &findings });
        self.failed = self.failed.take().or(told.err());
    }

    /// Single files, as a commit hook names them, cannot show that an entry is of no use; folders can.
    fn unused_ignores(&mut self) {
        for (source, unused) in self.ignores.unused() {
            self.text(&source, vec![unused]);
        }
    }

    fn end(mut self) -> anyhow::Result<Exit> {
        let end = self.report.end(&self.summary);
        unless_reader_left(self.failed.map_or(end, Err)).context("cannot write to stdout")?;
        Ok(match self.summary {
            Summary { unreadable: 1.., .. } => Exit::Failed,
            Summary { errors: 1.., .. } => Exit::Found,
            _ => Exit::Clean,
        })
    }
}
