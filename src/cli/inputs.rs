//! The texts that a command was pointed at: files, folders, stdin.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use crate::manifest::{Raw, Splitter};

/// The name of stdin on the command line.
const DASH: &str = "-";

/// The endings of the files that are looked at in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
}

/// A text that cannot be read.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) message: String,
}

impl Input {
    /// As findings name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "<stdin>".to_owned(),
            Self::File(path) => shown(path),
        }
    }

    /// Reads the text document by document; no more than one is held. Stdin without anything in it is an error: a pipeline whose first command
    /// failed looks like that.
    pub(super) fn each_document(&self, document: &mut dyn FnMut(Raw)) -> io::Result<()> {
        let mut reader: Box<dyn BufRead> = match self {
            Self::Stdin => Box::new(io::stdin().lock()),
            Self::File(path) => Box::new(BufReader::with_capacity(32 * 1024, File::open(path)?)),
        };
        let (mut splitter, mut line) = (Splitter::default(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            if let Some(raw) = splitter.line(&line) {
                document(raw);
            }
            line.clear();
        }
        if matches!(self, Self::Stdin) && !splitter.has_content() {
            let message = "stdin is empty: did the command that writes to it fail?";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        document(splitter.end());
        Ok(())
    }
}

/// A path as in a change request, where none begins with a dot; without what a terminal obeys.
fn shown(path: &Path) -> String {
    let name = path.strip_prefix(".").unwrap_or(path).display().to_string();
    if !name.contains(char::is_control) {
        return name;
    }
    name.chars().map(|char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() }).collect()
}

/// The texts that paths stand for: a file is itself, a folder its YAML and JSON files in order, without hidden ones and without those
/// that are to be skipped. Links to folders are followed, unless they lead back into the folder.
pub(super) fn expand<'a>(paths: &'a [PathBuf], skips: &'a dyn Fn(&Path) -> bool) -> impl Iterator<Item = Result<Input, Missing>> + 'a {
    paths.iter().flat_map(move |path| -> Box<dyn Iterator<Item = _> + 'a> {
        if path.as_os_str() == DASH {
            Box::new(std::iter::once(Ok(Input::Stdin)))
        } else if path.is_dir() {
            Box::new(in_folder(path, skips))
        } else {
            let found = path.try_exists().map_err(|error| error.to_string());
            let found = found.and_then(|is_there| match is_there {
                true if would_wait(path) => Err("is a named pipe, which may never end: name - and redirect it".to_owned()),
                true => Ok(()),
                false => Err("the file does not exist".to_owned()),
            });
            let missing = |message| Missing { name: shown(path), message };
            Box::new(std::iter::once(found.map(|()| Input::File(path.clone())).map_err(missing)))
        }
    })
}

/// Whether opening a path may block forever. The pipes of a shell's process substitution have a writer.
fn would_wait(path: &Path) -> bool {
    let is_of_shell = ["/dev/fd", "/proc"].iter().any(|folder| path.starts_with(folder));
    !is_of_shell && path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

fn in_folder<'a>(folder: &'a Path, skips: &'a dyn Fn(&Path) -> bool) -> impl Iterator<Item = Result<Input, Missing>> + 'a {
    let root = folder.canonicalize().ok();
    // What a link leads to inside of the folder is read where it is.
    let leads_back = move |entry: &DirEntry| {
        let is_link = entry.path_is_symlink() && entry.file_type().is_dir();
        is_link && root.as_ref().zip(entry.path().canonicalize().ok()).is_some_and(|(root, target)| target.starts_with(root))
    };
    let is_wanted = move |entry: &DirEntry| entry.depth() == 0 || !(is_hidden(entry.path()) || skips(entry.path()) || leads_back(entry));
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(is_wanted);
    entries.filter_map(move |entry| match entry {
        Ok(entry) if has_ending(entry.path()) => match entry.path().metadata() {
            Ok(there) => there.is_file().then(|| Ok(Input::File(entry.into_path()))),
            Err(error) => Some(Err(leads_nowhere(entry.path(), &error))),
        },
        Ok(_) => None,
        // A link to a folder above itself: that one is being read.
        Err(error) if error.loop_ancestor().is_some() => None,
        Err(error) if error.path().is_some_and(Path::is_symlink) => {
            let (path, error) = (error.path()?.to_owned(), error.into_io_error()?);
            let is_left_out = is_hidden(&path) || skips(&path) || !has_ending(&path);
            (!is_left_out).then(|| Err(leads_nowhere(&path, &error)))
        }
        Err(error) => {
            let message = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
            Some(Err(Missing { name: shown(error.path().unwrap_or(folder)), message }))
        }
    })
}

fn leads_nowhere(path: &Path, error: &io::Error) -> Missing {
    Missing { name: shown(path), message: format!("leads nowhere: {error}") }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}
