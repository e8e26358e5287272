//! `tollgate audit`: what is stored already, in a cluster or in what kubectl printed of one.

mod args;
mod cluster;
mod progress;
mod texts;
mod watch;

use std::io::{self, BufWriter, IsTerminal, Write};

pub(super) use self::args::AuditArgs;
use super::{check::Ignores, exit::Exit, inputs::Input, output::wants_color, reporter::Reporter, runtime};
use crate::{
    model::subject::Subject,
    report::{Finding, Object},
};

pub(super) fn run(args: AuditArgs) -> anyhow::Result<Exit> {
    if args.watch {
        return watch::run(&args);
    }
    let ignores = Ignores::find(args.findings.config.as_deref())?;
    let is_terminal = io::stdout().is_terminal();
    // Whoever looks on sees findings as they come.
    let mut out: Box<dyn Write> = if is_terminal { Box::new(io::stdout().lock()) } else { Box::new(BufWriter::new(io::stdout().lock())) };
    let colors = is_terminal && wants_color();
    let reporter = Reporter::new(args.findings.output.open(&mut out, colors), args.findings.strict);
    let mut audit = Audit { reporter, ignores };
    if args.inputs.is_empty() {
        runtime::run(cluster::look(&args, &mut audit))?;
    } else {
        texts::look(&args.inputs, &mut audit);
    }
    audit.reporter.end()
}

/// An audit, and what it has told so far.
struct Audit<'w> {
    reporter: Reporter<'w>,
    ignores: Ignores,
}

impl Audit<'_> {
    /// Tells what was found in one object, and counts it for its namespace.
    fn judged(&mut self, source: &str, input: &Input, object: &Object, subject: Subject<'_>, mut findings: Vec<Finding>) {
        self.ignores.apply(input, object, &mut findings);
        let findings = self.reporter.object(source, Some(object), findings);
        self.reporter.summary.judged += 1;
        let namespace = object.namespace.clone().unwrap_or_else(|| NO_NAMESPACE.to_owned());
        self.reporter.summary.namespaces.entry(namespace).or_default().count(!subject.blocks().is_empty(), &findings);
    }
}

const NO_NAMESPACE: &str = "(none)";
