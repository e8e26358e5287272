//! `tollgate check`

mod args;

use std::{
    io::{self, BufWriter, IsTerminal},
    path::PathBuf,
    sync::Arc,
};

pub(super) use self::args::CheckArgs;
use super::{
    crd_files,
    exit::Exit,
    findings::{FindingArgs, Reporter},
    ignores::Ignores,
    inputs::{Input, expand},
    kustomize::Patches,
    output::wants_color,
};
use crate::{
    check::{Crds, judge},
    cluster::Access,
    manifest::Raw,
    model::problem::Problem,
    report::Finding,
};

pub(super) fn run(args: CheckArgs) -> anyhow::Result<Exit> {
    let CheckArgs { mut inputs, findings: FindingArgs { output, strict, config }, force_exclude, crd, kubeconfig, context } = args;
    let crds = (!crd.is_empty()).then(|| crd_files::crds(&crd, &Access { kubeconfig, context })).transpose()?;
    let ignores = Ignores::find(config.as_deref())?;
    if force_exclude {
        ignores.leave_out(&mut inputs);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let colors = io::stdout().is_terminal() && wants_color();
    let reporter = Reporter::new(output.open(&mut out, colors), strict);
    let judges_folder = inputs.iter().any(|path| path.is_dir());
    let mut run = Run { reporter, ignores, crds, patches: Patches::in_folders(&inputs) };
    let skips = run.ignores.excludes();
    for input in expand(&inputs, &*skips) {
        match input {
            Ok(input) => run.input(&input),
            Err(missing) => run.reporter.text(&missing.name, vec![Finding::new("unreadable", missing.message)]),
        }
        if run.reporter.has_failed() {
            break;
        }
    }
    if judges_folder {
        run.unused_ignores(&inputs);
        run.nothing_found(strict, &inputs);
    }
    run.reporter.end()
}

/// A run, and its report so far.
struct Run<'w> {
    reporter: Reporter<'w>,
    ignores: Ignores,
    crds: Option<Crds>,
    patches: Patches,
}

impl Run<'_> {
    fn input(&mut self, input: &Input) {
        let name: Arc<str> = input.name().into();
        let is_patch = matches!(input, Input::File(path) if self.patches.contain(path));
        let end = input.each_document(&mut |raw| self.document(input, &name, raw, is_patch));
        if let Err(error) = end {
            self.reporter.text(&name, vec![Finding::new("unreadable", error.to_string())]);
        }
    }

    fn document(&mut self, input: &Input, name: &Arc<str>, raw: Raw, is_patch: bool) {
        let mut verdicts = judge(name, raw, self.crds.as_ref());
        if is_patch {
            verdicts.patches += verdicts.objects.drain(..).len();
        }
        self.reporter.summary.patches += verdicts.patches;
        self.reporter.summary.placeholders += verdicts.placeholders;
        self.reporter.summary.judged += verdicts.objects.len();
        self.reporter.summary.skipped += verdicts.skipped;
        self.reporter.summary.templates += verdicts.templates;
        for (object, mut findings) in verdicts.objects {
            self.ignores.apply(input, &object, &mut findings);
            self.reporter.object(name, Some(&object), findings);
        }
        if !verdicts.of_text.is_empty() {
            self.reporter.text(name, verdicts.of_text);
        }
    }

    /// A folder without anything to check proves nothing; single files, as a commit hook names them, often hold other things.
    fn nothing_found(&mut self, strict: bool, inputs: &[PathBuf]) {
        let folder = inputs.iter().find(|path| path.is_dir());
        if let (true, 0, Some(folder)) = (strict, self.reporter.summary.judged, folder) {
            let problem = Problem::new("contains neither an MCPServer nor a VirtualMCPServer")
                .advice("name the folder that has them, or check what your tools render");
            self.reporter.text(&folder.display().to_string(), vec![Finding::new("nothing-found", problem)]);
        }
    }

    /// Single files, as a commit hook names them, cannot show that an entry is unused; folders can.
    fn unused_ignores(&mut self, inputs: &[PathBuf]) {
        for (source, unused) in self.ignores.unused(inputs) {
            self.reporter.text(&source, vec![unused]);
        }
    }
}
