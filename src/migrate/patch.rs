//! A patch that `git apply` takes, in the folder where it was made.

use std::{
    fs,
    path::{Path, PathBuf},
};

use similar::{
    DiffOp, DiffTag,
    algorithms::{Capture, Replace, myers},
    udiff::UnifiedHunkHeader,
};

const CONTEXT: usize = 3;

/// The change of one file.
pub fn patch(path: &Path, old: &str, new: &str) -> String {
    let name = name(path);
    let (old, new) = (lines(old), lines(new));
    let mut patch = String::new();
    for hunk in hunks(&old, &new) {
        if patch.is_empty() {
            patch = format!("--- {}\n+++ {}\n", quoted(&format!("a/{name}")), quoted(&format!("b/{name}")));
        }
        patch.push_str(&format!("{}\n", UnifiedHunkHeader::new(&hunk)));
        for change in &hunk {
            let (tag, before, after) = change.as_tag_tuple();
            let sign = if tag == DiffTag::Equal { ' ' } else { '-' };
            print(&mut patch, sign, old.get(before));
            if tag != DiffTag::Equal {
                print(&mut patch, '+', new.get(after));
            }
        }
    }
    patch
}

/// With their ends. As for git, a carriage return alone ends none.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// One algorithm: `TextDiff` would compile them all, for every kind of index.
fn hunks(old: &[&str], new: &[&str]) -> Vec<Vec<DiffOp>> {
    let mut changes = Replace::new(Capture::new());
    match myers::diff(&mut changes, old, 0..old.len(), new, 0..new.len()) {
        Ok(()) => changes.into_inner().into_grouped_ops(CONTEXT),
    }
}

fn print(patch: &mut String, sign: char, lines: Option<&[&str]>) {
    for line in lines.unwrap_or_default() {
        patch.push(sign);
        patch.push_str(line);
        if !line.ends_with('\n') {
            patch.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// The path from this folder, where it is in it.
fn name(path: &Path) -> String {
    let here = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    // Git takes no `..`.
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let folder = folder.and_then(|folder| fs::canonicalize(folder).ok()).unwrap_or_default();
    let path: PathBuf = folder.join(path.file_name().unwrap_or_default());
    path.strip_prefix(&here).unwrap_or(&path).display().to_string().trim_start_matches('/').to_owned()
}

/// As git writes names: in quotes where a character needs it, with a tab behind blanks.
fn quoted(name: &str) -> String {
    if name.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        let escaped = name.bytes().map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\{byte:03o}"),
        });
        return format!("\"{}\"", escaped.collect::<String>());
    }
    format!("{name}{}", if name.contains(' ') { "\t" } else { "" })
}
