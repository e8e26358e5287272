//! `.tollgate.toml`: which findings are ignored, and why.

use std::{
    cell::Cell,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    cli::inputs::Input,
    manifest::Text,
    model::spelling,
    report::{Finding, Object, Place, rows},
};

const NAME: &str = ".tollgate.toml";

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
    exclude: Vec<String>,
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
pub(in crate::cli) struct Ignores {
    file: Arc<str>,
    text: Text,
    /// The folder that globs are relative to.
    folder: PathBuf,
    entries: Vec<Ignore>,
    exclude: GlobSet,
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
    pub(in crate::cli) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
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
            exclude.add(self::glob(glob)?);
        }
        let text = Text::new(text, 1, 0);
        let entries = config.ignore.into_iter().map(|entry| {
            let at = entry.span();
            Ignore::new(entry.into_inner(), at.clone()).with_context(|| format!("line {}", text.position(at.start).line))
        });
        let entries = entries.collect::<anyhow::Result<_>>()?;
        Ok(Self { file: file.display().to_string().into(), text, folder, entries, exclude: exclude.build()? })
    }

    /// Whether a file or a folder in a folder is not to be looked at.
    pub(in crate::cli) fn excludes(&self) -> Box<dyn Fn(&Path) -> bool> {
        let (exclude, folder) = (self.exclude.clone(), self.folder.clone());
        Box::new(move |path| !exclude.is_empty() && relative(path, &folder).is_some_and(|path| exclude.is_match(path)))
    }

    /// Leaves out what lies in an excluded folder, or is an excluded file.
    pub(in crate::cli) fn leave_out(&self, inputs: &mut Vec<PathBuf>) {
        let excludes = self.excludes();
        inputs.retain(|path| !path.ancestors().any(&excludes));
    }

    /// Marks what is ignored of the findings in one object; no entry for a file speaks of stdin.
    pub(in crate::cli) fn apply(&self, input: &Input, object: &Object, findings: &mut [Finding]) {
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

    /// A warning for each entry that had something to speak of, and ignored nothing.
    pub(super) fn unused(&self) -> Vec<(String, Finding)> {
        let unused = self.entries.iter().filter(|ignore| ignore.applies.get() && !ignore.used.get());
        let told = unused.map(|ignore| {
            let message = format!("nothing here breaks {}: remove this entry", ignore.entry.rule);
            (self.file.to_string(), Finding::new("unused-ignore", message).at(Place::new(&self.file, &self.text, &ignore.at)))
        });
        told.collect()
    }
}

impl Ignore {
    fn new(entry: Entry, at: std::ops::Range<usize>) -> anyhow::Result<Self> {
        let ids: Vec<_> = rows().map(|row| row.id).collect();
        if !ids.contains(&entry.rule.as_str()) {
            let advice =
                spelling::nearest(&entry.rule, &ids).map_or("docs/rules.md has the ids".to_owned(), |id| format!("did you mean {id}?"));
            bail!("there is no rule {:?}: {advice}", entry.rule);
        }
        ensure!(!entry.reason.trim().is_empty(), "reason is empty: write why {} is ignored", entry.rule);
        let file = entry.file.as_deref().map(glob).transpose()?.map(|glob| glob.compile_matcher());
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
