//! The sources, and the paths that they name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file.
pub(super) struct Source {
    /// From `src`, with slashes.
    pub(super) name: String,
    /// The first folder or file name: the top-level module.
    pub(super) module: String,
    pub(super) text: String,
}

/// Every file under `src`.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "src was not found");
    let sources = files.into_iter().map(|file| {
        let name = file.strip_prefix(&root).expect("under src").to_string_lossy().replace('\\', "/");
        let module = name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).expect("a source file is text");
        Source { name, module, text }
    });
    sources.collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without comments, and every `use` tree written out: `use a::{b, c::{d}};` becomes `a::b a::c::d`.
pub(super) fn spelled_out(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut out = String::new();
    let mut rest = code.as_str();
    while let Some(start) = find_use(rest) {
        let (before, from_use) = rest.split_at(start);
        out.push_str(before);
        let end = from_use.find(';').unwrap_or(from_use.len());
        let (tree, after) = from_use.split_at(end);
        let tree: String = tree.trim_start_matches("use").split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &tree, &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where the next `use` that starts a statement is.
pub(super) fn find_use(code: &str) -> Option<usize> {
    let at_start =
        |at: &usize| code[..*at].bytes().last().is_none_or(|before| before.is_ascii_whitespace() || before == b'{' || before == b';');
    code.match_indices("use ").map(|(at, _)| at).find(at_start)
}

fn expand(prefix: &str, tree: &str, out: &mut String) {
    for branch in branches(tree) {
        match branch.split_once('{') {
            Some((stem, inner)) => expand(&format!("{prefix}{}", stem.trim()), inner.trim_end().trim_end_matches('}'), out),
            None => {
                out.push_str(&format!(" {prefix}{branch} "));
            }
        }
    }
}

/// The parts between commas that are in no inner braces.
fn branches(tree: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (at, byte) in tree.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                found.push(tree[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(tree[from..].trim());
    found.retain(|branch| !branch.is_empty());
    found
}

/// The names that follow `crate::`.
pub(super) fn named_modules(code: &str) -> Vec<&str> {
    let after = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    after
        .map(|(at, found)| &code[at + found.len()..])
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn use_trees_are_spelled_out() {
    let code = "use std::{fs, io::{self, Read}};\n/* */ pub use crate::{config::{a, b}, cli};\nfn f() { crate::webhook::x(); other_crate::y(); } // crate::certs";
    let spelled = spelled_out(code);
    assert!(spelled.contains("std::fs") && spelled.contains("std::io::Read"), "{spelled}");
    assert_eq!(named_modules(&spelled), ["config", "config", "cli", "webhook"]);
}
