//! Files that a kustomization names as patches: parts of objects, which are judged once they are rendered.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_json::Value;
use walkdir::WalkDir;

use crate::manifest::objects;

/// The names that a kustomization may have.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// So many folders above a file are looked into for one.
const MOST_FOLDERS_ABOVE: usize = 8;

/// The patches that kustomizations name: those in the folders that a command looks through, and those above a file.
#[derive(Debug, Default)]
pub(super) struct Patches {
    in_folders: HashSet<PathBuf>,
    above: RefCell<HashMap<PathBuf, Rc<HashSet<PathBuf>>>>,
    /// Folders as files were named in them, and where they really are.
    folders: RefCell<HashMap<PathBuf, Option<PathBuf>>>,
}

impl Patches {
    /// With the kustomizations in these folders.
    pub(super) fn in_folders<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        let folders = paths.into_iter().filter(|path| path.is_dir());
        let entries = folders.flat_map(|folder| WalkDir::new(folder).into_iter().filter_map(Result::ok));
        let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| NAMES.contains(&name)));
        let in_folders = found.filter_map(|entry| entry.path().parent().map(of_folder)).flatten().collect();
        Self { in_folders, ..Self::default() }
    }

    /// Whether a file is a patch.
    pub(super) fn contain(&self, file: &Path) -> bool {
        let Some(file) = self.canonical(file) else { return false };
        let mut folders = file.ancestors().skip(1).take(MOST_FOLDERS_ABOVE);
        self.in_folders.contains(&file) || folders.any(|folder| self.above(folder).contains(&file))
    }

    /// As [`Path::canonicalize`], with one look at each folder.
    fn canonical(&self, file: &Path) -> Option<PathBuf> {
        let (Some(folder), Some(name), false) = (file.parent(), file.file_name(), file.is_symlink()) else {
            return file.canonicalize().ok();
        };
        let mut folders = self.folders.borrow_mut();
        let find = || Path::new(".").join(folder).canonicalize().ok();
        folders.entry(folder.to_owned()).or_insert_with(find).as_ref().map(|folder| folder.join(name))
    }

    fn above(&self, folder: &Path) -> Rc<HashSet<PathBuf>> {
        let mut above = self.above.borrow_mut();
        above.entry(folder.to_owned()).or_insert_with(|| Rc::new(of_folder(folder))).clone()
    }
}

/// The files that the kustomization of a folder names as patches.
fn of_folder(folder: &Path) -> HashSet<PathBuf> {
    let text = NAMES.iter().find_map(|name| fs::read(folder.join(name)).ok());
    let kustomizations = text.and_then(|text| objects(text).ok()).unwrap_or_default();
    let named = kustomizations.iter().flat_map(|kustomization| {
        let list = |key| kustomization.get(key).and_then(Value::as_array).into_iter().flatten();
        let by_path = list("patches").chain(list("patchesJson6902")).filter_map(|patch| patch.get("path"));
        by_path.chain(list("patchesStrategicMerge")).filter_map(Value::as_str)
    });
    named.filter_map(|name| folder.join(name).canonicalize().ok()).collect()
}
