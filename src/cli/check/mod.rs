//! `tollgate check`

mod args;

use std::{
    cell::Cell,
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
    in_order::in_order,
    inputs::{Input, Missing, expand},
    kustomize::Patches,
    output::wants_color,
};
use crate::{
    check::{Verdicts, judge},
    cluster::Access,
    manifest::Raw,
    model::problem::Problem,
    report::Finding,
};

/// Where a document comes from.
struct Source {
    input: Input,
    name: Arc<str>,
    /// A kustomization names it as a patch.
    is_patch: bool,
}

/// What is known of a document, and where it comes from; or a text that cannot be read, or not to its end.
type Known<T> = Result<(Arc<Source>, T), Missing>;

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
    let mut run = Run { reporter, ignores };
    let skips = run.ignores.excludes();
    let has_failed = Cell::new(false);
    in_order(
        |document: Known<Raw>| {
            let (source, raw) = document?;
            let verdicts = judge(&source.name, raw, crds.as_ref());
            Ok((source, verdicts))
        },
        |give| {
            let patches = Patches::in_folders(&inputs);
            expand(&inputs, &*skips).take_while(|_| !has_failed.get()).for_each(|input| documents(input, &patches, give));
        },
        |judged| {
            run.judged(judged);
            has_failed.set(run.reporter.has_failed());
        },
    );
    if inputs.iter().any(|path| path.is_dir()) {
        run.unused_ignores(&inputs);
        run.nothing_found(strict, &inputs);
    }
    run.reporter.end()
}

/// Gives every document of a text, with its size.
fn documents(input: Result<Input, Missing>, patches: &Patches, give: &mut dyn FnMut(Known<Raw>, usize)) {
    let input = match input {
        Ok(input) => input,
        Err(missing) => return give(Err(missing), 0),
    };
    let is_patch = matches!(&input, Input::File(path) if patches.contain(path));
    let source = Arc::new(Source { name: input.name().into(), input, is_patch });
    let end = source.input.each_document(&mut |raw| {
        let size = raw.bytes.len();
        give(Ok((source.clone(), raw)), size);
    });
    if let Err(error) = end {
        give(Err(Missing { name: source.name.to_string(), message: error.to_string() }), 0);
    }
}

/// A run, and its report so far.
struct Run<'w> {
    reporter: Reporter<'w>,
    ignores: Ignores,
}

impl Run<'_> {
    fn judged(&mut self, judged: Known<Verdicts>) {
        let (source, mut verdicts) = match judged {
            Ok(judged) => judged,
            Err(Missing { name, message }) => return self.reporter.text(&name, vec![Finding::new("unreadable", message)]),
        };
        if source.is_patch {
            verdicts.patches += verdicts.objects.drain(..).len();
        }
        self.reporter.summary.patches += verdicts.patches;
        self.reporter.summary.placeholders += verdicts.placeholders;
        self.reporter.summary.judged += verdicts.objects.len();
        self.reporter.summary.skipped += verdicts.skipped;
        self.reporter.summary.templates += verdicts.templates;
        for (object, mut findings) in verdicts.objects {
            self.ignores.apply(&source.input, &object, &mut findings);
            self.reporter.object(&source.name, Some(&object), findings);
        }
        if !verdicts.of_text.is_empty() {
            self.reporter.text(&source.name, verdicts.of_text);
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
