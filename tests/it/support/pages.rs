//! The documentation: the README, `docs/`, and the other pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A page of Markdown, by its path in the repository.
#[derive(Debug)]
pub struct Page {
    pub path: String,
    pub text: String,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    /// The fenced blocks of one language. A fence may be indented, inside a list.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}");
        let (mut blocks, mut open) = (Vec::new(), None::<Vec<&str>>);
        for line in self.text.lines() {
            match open.as_mut() {
                Some(lines) if line.trim_start() == "```" => {
                    blocks.push(lines.join("\n"));
                    open = None;
                }
                Some(lines) => lines.push(line),
                None if line.trim_start() == fence => open = Some(Vec::new()),
                None => {}
            }
        }
        blocks
    }

    /// The text outside of fenced blocks.
    pub fn prose(&self) -> String {
        let mut is_fenced = false;
        let lines = self.text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            is_fenced ^= is_fence;
            !is_fence && !is_fenced
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What the page shows below a command.
    pub fn shown_below(&self, command: &str) -> String {
        let shown = self.text.split_once(command).unwrap_or_else(|| panic!("{} does not show {command}", self.path)).1;
        shown.split("\n```").next().unwrap_or_default().to_owned()
    }
}

/// The pages of `docs/`, by name.
pub fn docs() -> Vec<Page> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str().filter(|name| name.ends_with(".md")));
    names.map(|name| Page::read(&format!("docs/{name}"))).collect()
}

/// The README and `docs/`: what a user reads.
pub fn manual() -> Vec<Page> {
    [Page::read("README.md")].into_iter().chain(docs()).collect()
}

/// Every page.
pub fn all() -> Vec<Page> {
    let others =
        ["CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "manifests/overlays/own-ca/README.md", "tests/neighbours/sdks/README.md"];
    manual().into_iter().chain(others.map(Page::read)).collect()
}
