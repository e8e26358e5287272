//! `tollgate migrate`

mod args;
mod patch;
mod patches;
mod write;

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, bail, ensure};

pub(super) use self::args::MigrateArgs;
use self::patches::patched_places;
use super::{
    check::{Ignores, crd},
    exit::Exit,
    inputs::{Input, expand},
    output::{unless_reader_left, wants_color},
    signals::stop_flag,
};
use crate::{
    cluster::Access,
    manifest::{
        MARK, Raw, Splitter, Text, gives_ours,
        migrate::{Left, Migration, migrate, migrate_for},
        template,
    },
    model::{schema::Schema, subject::ScopeKey},
    report::{Finding, Format, Judged, Place, Severity},
};

const TEMPLATES: &str = "write global for shared by hand";

pub(super) fn run(args: MigrateArgs) -> anyhow::Result<Exit> {
    let MigrateArgs { mut inputs, write, diff, config, force_exclude, crd, require_crd, kubeconfig, context } = args;
    ensure!(!require_crd || !crd.is_empty(), "--require-crd needs --crd: a CRD that lacks global would drop the limits that are renamed");
    let schema = (!crd.is_empty()).then(|| crd::schema(&crd, &Access { kubeconfig, context })).transpose()?;
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
            bail!("told to stop: some files are written, the others are as they were");
        }
        match input {
            Ok(ref input @ Input::File(ref path)) => run.file(path, &input.name())?,
            Ok(Input::Stdin) => bail!("migrate takes files and folders, not -"),
            Err(missing) => run.tell(&missing.name, Finding::new("unreadable", missing.message))?,
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
        let migrated = bytes.and_then(|bytes| migrated(name, bytes, self.schema.as_ref()));
        match migrated {
            Ok(Some(Migrated { text, migration, left })) => {
                self.change(path, name, &text, &migration)?;
                left.into_iter().try_for_each(|left| self.tell(name, left))
            }
            Ok(None) => Ok(()),
            Err(finding) => self.tell(name, *finding),
        }
    }

    fn change(&mut self, path: &Path, name: &str, text: &str, migration: &Migration) -> anyhow::Result<()> {
        if migration.edits.is_empty() {
            return Ok(());
        }
        self.has_renamed = true;
        let new = migration.apply(text);
        if self.write
            && let Err(error) = write::replace(path, text.as_bytes(), new.as_bytes())
        {
            return self.tell(name, Finding::new("unreadable", format!("cannot be written: {error}")));
        }
        if self.diff {
            unless_reader_left(self.out.write_all(patch::patch(path, text, &new).as_bytes())).context("cannot write to stdout")?;
        }
        Ok(())
    }

    /// Tells, beside the patch, what is left to a person.
    fn tell(&mut self, name: &str, finding: Finding) -> anyhow::Result<()> {
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

/// A file's text, and what to do with it.
struct Migrated {
    text: String,
    migration: Migration,
    left: Vec<Finding>,
}

/// Whether a text is worth a look; most in a folder are not.
fn could_say_shared(text: &str) -> bool {
    // In quotes, a letter may be written as its number.
    text.contains(MARK) && (text.contains(ScopeKey::Shared.key()) || text.contains('\\'))
}

/// Decides document by document; a file is changed as a whole or not at all, so one that cannot be read in some part is left alone. None
/// where nothing can be left to do.
fn migrated(name: &str, bytes: Vec<u8>, schema: Option<&Schema>) -> Result<Option<Migrated>, Box<Finding>> {
    let file: Arc<str> = name.into();
    // What is not UTF-8 can be read, as kubectl does, but not be written back byte for byte.
    let is_exact = std::str::from_utf8(&bytes).is_ok();
    let text = match (Raw { bytes, first_line: 1, offset: 0 }).text() {
        Ok(text) | Err((text, _)) if !could_say_shared(text.as_str()) => return Ok(json_patches(&file, text, schema)),
        Ok(text) => text,
        Err((text, broken)) => return Err(Finding::unreadable(&file, &text, &broken, TEMPLATES).into()),
    };
    let whole = &text;
    let text = whole.as_str();
    let (mut migration, mut left) = (Migration::default(), Vec::new());
    for document in documents(text) {
        let here = match schema.map_or_else(|| migrate(document.as_str()), |schema| migrate_for(document.as_str(), schema)) {
            // A template of something else, which only mentions our kinds.
            Err(_) if template(document.as_str()).is_some() && !gives_ours(document.as_str()) => continue,
            here => here.map_err(|broken| Finding::unreadable(&file, &document, &broken, TEMPLATES))?,
        };
        left.extend(here.left.iter().map(|left| finding(&file, &document, left)));
        let moved = here.edits.into_iter().map(|edit| edit.moved_by(document.offset()));
        migration.edits.extend(moved);
    }
    left.extend(patched_places(&file, whole, schema));
    if let (false, Some(first)) = (is_exact, migration.edits.first()) {
        let found = Finding::new("unreadable", "this file is not UTF-8, so that it cannot be changed: save it as UTF-8");
        return Err(found.at(Place::new(&file, whole, &first.span)).into());
    }
    Ok(Some(Migrated { text: text.to_owned(), migration, left }))
}

/// A text without objects of ours, whose JSON patches may be about them.
fn json_patches(file: &Arc<str>, text: Text, schema: Option<&Schema>) -> Option<Migrated> {
    let left = patched_places(file, &text, schema);
    (!left.is_empty()).then(|| Migrated { text: text.as_str().to_owned(), migration: Migration::default(), left })
}

fn documents(text: &str) -> Vec<Text> {
    let mut splitter = Splitter::default();
    let mut raws: Vec<_> = text.split_inclusive('\n').filter_map(|line| splitter.line(line.as_bytes())).collect();
    raws.push(splitter.end());
    raws.into_iter().filter_map(|raw| raw.text().ok()).collect()
}

fn finding(file: &Arc<str>, text: &Text, left: &Left) -> Finding {
    let severity = if left.is_wanted { Severity::Warning } else { Severity::Error };
    let found = Finding { path: Some(left.path.clone()), severity, ..Finding::new(left.rule, &left.message) };
    found.at(Place::new(file, text, &left.span))
}
