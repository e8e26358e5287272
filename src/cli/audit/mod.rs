//! `tollgate audit`: what is stored already, in a cluster or in what kubectl printed of one.

mod args;
mod cluster;
mod judged;
mod progress;
mod texts;
mod watch;

use std::io::{self, BufWriter, IsTerminal, Write};

pub(super) use self::args::AuditArgs;
use self::judged::Audit;
use super::{exit::Exit, findings::Reporter, ignores::Ignores, output::wants_color, runtime};

pub(super) fn run(args: AuditArgs) -> anyhow::Result<Exit> {
    if args.watch {
        return watch::run(&args);
    }
    let ignores = Ignores::find(args.findings.config.as_deref())?;
    let is_terminal = io::stdout().is_terminal();
    // On a terminal, findings are shown as they are made.
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
