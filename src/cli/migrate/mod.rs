//! `tollgate migrate`

mod args;

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    sync::atomic::Ordering,
};

use anyhow::{Context, bail, ensure};

pub(super) use self::args::MigrateArgs;
use super::{
    crd_files,
    exit::Exit,
    ignores::Ignores,
    inputs::{Input, expand},
    output::{unless_reader_left, wants_color},
    signals::stop_flag,
};
use crate::{
    cluster::Access,
    manifest::migrate::Migration,
    migrate::{Planned, patch, plan, replace},
    model::schema::Schema,
    report::{Finding, Format, Judged, Severity},
};

pub(super) fn run(args: MigrateArgs) -> anyhow::Result<Exit> {
    let MigrateArgs { mut inputs, write, diff, config, force_exclude, crd, require_crd, kubeconfig, context } = args;
    ensure!(!require_crd || !crd.is_empty(), "--require-crd needs --crd: a CRD that lacks global would drop the limits that are renamed");
    let schema = (!crd.is_empty()).then(|| crd_files::schema(&crd, &Access { kubeconfig, context })).transpose()?;
    let ignores = Ignores::find(config.as_deref())?;
    if force_exclude {
        ignores.leave_out(&mut inputs);
    }
    let skips = ignores.excludes();
    let out = BufWriter::new(Box::new(io::stdout().lock()) as Box<dyn Write>);
    let mut run = Run { out, write, diff: diff || !write, exit: Exit::Clean, schema, has_renamed: false };
    // A run that writes ends behind a file, and leaves nothing beside it.
    let stop = write.then(stop_flag).transpose()?;
    for input in expand(&inputs, &*skips) {
        if stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            bail!("stopped by a signal: some files are written, the others are as they were");
        }
        match input {
            Ok(ref input @ Input::File(ref path)) => run.file(path, &input.name())?,
            Ok(Input::Stdin) => bail!("migrate takes files and folders, not -"),
            Err(missing) => run.report(&missing.name, Finding::new("unreadable", missing.message))?,
        }
    }
    run.end()
}

struct Run<'w> {
    out: BufWriter<Box<dyn Write + 'w>>,
    write: bool,
    diff: bool,
    exit: Exit,
    /// What the CRDs keep, where they are known.
    schema: Option<Schema>,
    has_renamed: bool,
}

impl Run<'_> {
    fn file(&mut self, path: &Path, name: &str) -> anyhow::Result<()> {
        let bytes = fs::read(path).map_err(|error| Box::new(Finding::new("unreadable", error.to_string())));
        let planned = bytes.and_then(|bytes| plan(name, bytes, self.schema.as_ref()));
        match planned {
            Ok(Some(Planned { text, migration, left })) => {
                self.change(path, name, &text, &migration)?;
                left.into_iter().try_for_each(|left| self.report(name, left))
            }
            Ok(None) => Ok(()),
            Err(finding) => self.report(name, *finding),
        }
    }

    fn change(&mut self, path: &Path, name: &str, text: &str, migration: &Migration) -> anyhow::Result<()> {
        if migration.edits.is_empty() {
            return Ok(());
        }
        self.has_renamed = true;
        let new = migration.apply(text);
        if self.write
            && let Err(error) = replace(path, text.as_bytes(), new.as_bytes())
        {
            return self.report(name, Finding::new("unreadable", format!("cannot be written: {error}")));
        }
        if self.diff {
            unless_reader_left(self.out.write_all(patch(path, text, &new).as_bytes())).context("cannot write to stdout")?;
        }
        Ok(())
    }

    /// Reports, beside the patch, what is left to a person.
    fn report(&mut self, name: &str, finding: Finding) -> anyhow::Result<()> {
        self.exit = match finding.severity {
            Severity::Unreadable => Exit::Failed,
            Severity::Error if self.exit == Exit::Clean => Exit::Found,
            _ => self.exit,
        };
        let mut stderr = io::stderr().lock();
        let colors = io::stderr().is_terminal() && wants_color();
        Format::Human
            .open(&mut stderr, colors)
            .judged(&Judged { source: name, object: None, findings: &[finding] })
            .context("cannot write to stderr")
    }

    #[expect(clippy::print_stderr, reason = "beside the patch, which is on stdout")]
    fn end(mut self) -> anyhow::Result<Exit> {
        unless_reader_left(self.out.flush()).context("cannot write to stdout")?;
        if self.has_renamed && self.schema.is_none() {
            eprintln!("note: a CRD that lacks global drops these limits: --crd cluster, or --crd FILE, renames only what the CRD keeps");
        }
        Ok(self.exit)
    }
}
