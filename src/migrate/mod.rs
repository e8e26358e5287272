//! Manifests that say `shared`, planned to say `global`: what changes in each file, and what is left to a person.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the plan for one file, document by document |
//! | `patches` | kustomize's patches, which a rename of their objects leaves behind |
//! | `patch` | the change of a file as a patch |
//! | `write` | a file, replaced in one step |
//!
//! The edits themselves are [`manifest::migrate`](crate::manifest::migrate)'s.

mod patch;
mod patches;
mod write;

use std::sync::Arc;

use self::patches::patched_places;
pub use self::{patch::patch, write::replace};
use crate::{
    manifest::{
        MARK, Raw, Splitter, Text, gives_ours,
        migrate::{Left, Migration, migrate, migrate_for},
        template,
    },
    model::{problem::Problem, schema::Schema, subject::ScopeKey},
    report::{Finding, Place, Severity},
};

const TEMPLATES: &str = "write global for shared by hand";

/// A file's text, and what to do with it.
#[derive(Debug)]
pub struct Planned {
    /// The text.
    pub text: String,
    /// What to change in it.
    pub migration: Migration,
    /// What is left to a person.
    pub left: Vec<Finding>,
}

/// Whether a text is worth a look; most in a folder are not.
fn could_say_shared(text: &str) -> bool {
    // In quotes, a letter may be written as its number.
    text.contains(MARK) && (text.contains(ScopeKey::Shared.key()) || text.contains('\\'))
}

/// Decides document by document; a file is changed as a whole or not at all, so one that cannot be read in some part is left alone. None
/// without anything to do. With a schema, only what it keeps is renamed.
///
/// # Errors
/// With a finding, when a document cannot be read, or the file cannot be changed.
pub fn plan(name: &str, bytes: Vec<u8>, schema: Option<&Schema>) -> Result<Option<Planned>, Box<Finding>> {
    let file: Arc<str> = name.into();
    // What is not UTF-8 can be read, as kubectl does, but not be written back byte for byte.
    let is_exact = std::str::from_utf8(&bytes).is_ok();
    let text = match (Raw { bytes, first_line: 1, offset: 0 }).text() {
        Ok(text) | Err((text, _)) if !could_say_shared(text.as_str()) => return Ok(json_patches(&file, text, schema)),
        Ok(text) => text,
        Err((text, broken)) => return Err(Finding::unreadable(&file, &text, &broken, TEMPLATES).into()),
    };
    let whole = &text;
    let text = whole.as_str();
    let (mut migration, mut left) = (Migration::default(), Vec::new());
    for document in documents(text) {
        let here = match schema.map_or_else(|| migrate(document.as_str()), |schema| migrate_for(document.as_str(), schema)) {
            // A template of something else, which only mentions our kinds.
            Err(_) if template(document.as_str()).is_some() && !gives_ours(document.as_str()) => continue,
            here => here.map_err(|broken| Finding::unreadable(&file, &document, &broken, TEMPLATES))?,
        };
        left.extend(here.left.iter().map(|left| finding(&file, &document, left)));
        let moved = here.edits.into_iter().map(|edit| edit.moved_by(document.offset()));
        migration.edits.extend(moved);
    }
    left.extend(patched_places(&file, whole, schema));
    if let (false, Some(first)) = (is_exact, migration.edits.first()) {
        let found =
            Finding::new("unreadable", Problem::new("this file is not UTF-8, so that it cannot be changed").advice("save it as UTF-8"));
        return Err(found.at(Place::new(&file, whole, &first.span)).into());
    }
    Ok(Some(Planned { text: text.to_owned(), migration, left }))
}

/// A text without objects of ours, whose JSON patches may be about them.
fn json_patches(file: &Arc<str>, text: Text, schema: Option<&Schema>) -> Option<Planned> {
    let left = patched_places(file, &text, schema);
    (!left.is_empty()).then(|| Planned { text: text.as_str().to_owned(), migration: Migration::default(), left })
}

fn documents(text: &str) -> Vec<Text> {
    let mut splitter = Splitter::default();
    let mut raws: Vec<_> = text.split_inclusive('\n').filter_map(|line| splitter.line(line.as_bytes())).collect();
    raws.push(splitter.end());
    raws.into_iter().filter_map(|raw| raw.text().ok()).collect()
}

fn finding(file: &Arc<str>, text: &Text, left: &Left) -> Finding {
    let severity = if left.is_wanted { Severity::Warning } else { Severity::Error };
    let found = Finding { path: Some(left.path.clone()), severity, ..Finding::new(left.rule, left.problem.clone()) };
    found.at(Place::new(file, text, &left.span))
}
