//! `.tollgate.toml`: which findings are ignored, and why.

use std::{
    cell::Cell,
    path::{self, Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::inputs::Input;
use crate::{
    manifest::Text,
    model::{problem::Problem, spelling},
    report::{Finding, Object, Place, rows},
};

const NAME: &str = ".tollgate.toml";

/// What is found in a text or a folder, not in an object.
const OF_TEXTS: [&str; 4] = ["no-version", "nothing-found", "unreadable", "unused-ignore"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    ignore: Vec<Spanned<Entry>>,
    #[serde(default)]
    files: Files,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: String,
    reason: String,
    file: Option<String>,
    object: Option<String>,
    path: Option<String>,
}

/// What is ignored.
#[derive(Debug)]
pub(super) struct Ignores {
    file: Arc<str>,
    text: Text,
    /// The folder that globs are relative to.
    folder: PathBuf,
    entries: Vec<Ignore>,
    exclude: GlobSet,
    /// Where each glob stands, and whether it excluded anything.
    excluded: Rc<[Excluded]>,
}

#[derive(Debug)]
struct Excluded {
    glob: Spanned<String>,
    used: Cell<bool>,
}

#[derive(Debug)]
struct Ignore {
    entry: Entry,
    at: std::ops::Range<usize>,
    file: Option<GlobMatcher>,
    /// Whether something was judged that it could speak of.
    applies: Cell<bool>,
    used: Cell<bool>,
}

impl Ignores {
    /// From the named file, or from the nearest there is.
    pub(super) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = named.map(Path::to_owned).or_else(nearest) else {
            return Self::parse(Path::new(NAME), String::new());
        };
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&file, text).with_context(|| format!("{} cannot be used", file.display()))
    }

    fn parse(file: &Path, text: String) -> anyhow::Result<Self> {
        let config: Config = toml::from_str(&text)?;
        let folder = path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default();
        let mut exclude = GlobSetBuilder::new();
        for glob in &config.files.exclude {
            exclude.add(self::glob(of_folder(glob.get_ref()))?);
        }
        let excluded = config.files.exclude.into_iter().map(|glob| Excluded { glob, used: Cell::new(false) }).collect();
        let text = Text::new(text, 1, 0);
        let entries = config.ignore.into_iter().map(|entry| {
            let at = entry.span();
            Ignore::new(entry.into_inner(), at.clone()).with_context(|| format!("line {}", text.position(at.start).line))
        });
        let entries = entries.collect::<anyhow::Result<_>>()?;
        Ok(Self { file: file.display().to_string().into(), text, folder, entries, exclude: exclude.build()?, excluded })
    }

    /// Whether a file or a folder in a folder is not to be looked at.
    pub(super) fn excludes(&self) -> Box<dyn Fn(&Path) -> bool> {
        let (exclude, excluded, folder) = (self.exclude.clone(), self.excluded.clone(), self.folder.clone());
        Box::new(move |path| {
            if exclude.is_empty() {
                return false;
            }
            let matches = relative(path, &folder).map(|path| exclude.matches(path)).unwrap_or_default();
            matches.iter().filter_map(|at| excluded.get(*at)).for_each(|excluded| excluded.used.set(true));
            !matches.is_empty()
        })
    }

    /// Leaves out what lies in an excluded folder, or is an excluded file.
    pub(super) fn leave_out(&self, inputs: &mut Vec<PathBuf>) {
        let excludes = self.excludes();
        inputs.retain(|path| !path.ancestors().any(&excludes));
    }

    /// Marks the findings of one object that are ignored; entries for a file do not apply to stdin.
    pub(super) fn apply(&self, input: &Input, object: &Object, findings: &mut [Finding]) {
        for ignore in &self.entries {
            if !ignore.covers(input, object, &self.folder) {
                continue;
            }
            ignore.applies.set(true);
            for found in findings.iter_mut().filter(|found| found.ignored.is_none() && ignore.matches(found)) {
                ignore.used.set(true);
                found.ignored = Some(ignore.entry.reason.clone());
            }
        }
    }

    /// A warning for each entry that had something to speak of, and ignored nothing. Where everything was looked at that the file is about,
    /// also for those that spoke of nothing, and for folders and files that were to be left out and are not there.
    pub(super) fn unused(&self, inputs: &[PathBuf]) -> Vec<(String, Finding)> {
        let is_all = inputs.iter().any(|input| path::absolute(input).is_ok_and(|input| is_above(&input, &self.folder)));
        let unused = self.entries.iter().filter(|ignore| (is_all || ignore.applies.get()) && !ignore.used.get());
        let unused = unused
            .map(|ignore| (&ignore.at, Problem::new(format!("nothing here breaks {}", ignore.entry.rule)).advice("remove this entry")));
        let excluded = self.excluded.iter().filter(|excluded| is_all && !excluded.used.get());
        let spans: Vec<_> = excluded.map(|excluded| (excluded.glob.span(), excluded.glob.get_ref())).collect();
        let excluded =
            spans.iter().map(|(at, glob)| (at, Problem::new(format!("{glob:?} excludes nothing here")).advice("remove it, or correct it")));
        let findings = unused.chain(excluded).map(|(at, problem)| {
            (self.file.to_string(), Finding::new("unused-ignore", problem).at(Place::new(&self.file, &self.text, at)))
        });
        findings.collect()
    }
}

impl Ignore {
    fn new(entry: Entry, at: std::ops::Range<usize>) -> anyhow::Result<Self> {
        let ids: Vec<_> = rows().map(|row| row.id).collect();
        if !ids.contains(&entry.rule.as_str()) {
            let advice =
                spelling::nearest(&entry.rule, &ids).map_or("docs/rules.md has the ids".to_owned(), |id| format!("did you mean {id}?"));
            bail!("unknown rule {:?}: {advice}", entry.rule);
        }
        ensure!(
            !OF_TEXTS.contains(&entry.rule.as_str()),
            "{} is not about an object, so that it cannot be ignored: write the file into [files] exclude",
            entry.rule
        );
        ensure!(!entry.reason.trim().is_empty(), "reason is empty: write why {} is ignored", entry.rule);
        let file = entry.file.as_deref().map(of_folder).map(glob).transpose()?.map(|glob| glob.compile_matcher());
        Ok(Self { entry, at, file, applies: Cell::new(false), used: Cell::new(false) })
    }

    fn covers(&self, input: &Input, object: &Object, folder: &Path) -> bool {
        let in_file = self.file.as_ref().is_none_or(|glob| match input {
            Input::Stdin => false,
            Input::File(path) => relative(path, folder).is_some_and(|path| glob.is_match(path)),
        });
        let of_object = |named: &str| object.name.as_deref() == Some(named) || object.qualified_name() == named;
        in_file && self.entry.object.as_deref().is_none_or(of_object)
    }

    fn matches(&self, found: &Finding) -> bool {
        let Some(above) = &self.entry.path else { return found.id == self.entry.rule };
        let path = found.path.as_ref().map(ToString::to_string).unwrap_or_default();
        let below = path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        found.id == self.entry.rule && below
    }
}

/// A glob as paths are seen: `./sub` and `sub/` are `sub`.
fn of_folder(glob: &str) -> &str {
    glob.trim_start_matches("./").trim_end_matches('/')
}

/// Whether a folder is another one, or one of those above it.
fn is_above(folder: &Path, other: &Path) -> bool {
    other.starts_with(folder.components().filter(|part| !matches!(part, path::Component::CurDir)).collect::<PathBuf>())
}

/// As in shells: `*` stays in its folder, `**` does not.
fn glob(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).build()
}

/// A path as seen from a folder, where it is in it.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    Some(path::absolute(path).ok()?.strip_prefix(folder).ok()?.to_owned())
}

/// The file in this folder or the nearest above, up to the root of a repository.
fn nearest() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let up_to_root = here.ancestors().scan(false, |passed_root, folder| {
        let goes_on = !std::mem::replace(passed_root, folder.join(".git").exists());
        goes_on.then_some(folder)
    });
    let found = up_to_root.map(|folder| folder.join(NAME)).find(|file| file.is_file())?;
    Some(found.strip_prefix(&here).map(Path::to_owned).unwrap_or(found))
}
