//! A patch that `git apply` takes, in the folder where it was made.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use similar::TextDiff;

/// The change of one file.
pub fn patch(path: &Path, old: &str, new: &str) -> String {
    let name = name(path);
    let (old, new) = (with_end_marked(old), with_end_marked(new));
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<_>>();
    let (old, new) = (lines(&old), lines(&new));
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    diff.unified_diff().context_radius(3).header(&quoted(&format!("a/{name}")), &quoted(&format!("b/{name}"))).to_string().replace(END, "")
}

/// No text that was read holds it.
const END: char = '\0';

/// A text whose last line ends with a carriage return has no line feed there, which the diff would take for one.
fn with_end_marked(text: &str) -> Cow<'_, str> {
    if text.ends_with('\r') { format!("{text}{END}").into() } else { text.into() }
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
