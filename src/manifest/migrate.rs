//! `shared` becomes `global` in a text, and nothing else changes.
//!
//! The rename's own table says what happens where, as if each object were being created: `shared` alone is renamed, beside an equal
//! `global` it is removed, beside a different one it is left for a person. A rename changes the six letters of the key. Whatever is
//! about to be changed is first read back and compared with what it should mean, so that a text which this module misjudges is left
//! alone, too.

use std::{cell::OnceCell, collections::HashMap};

use serde_json::Value;

use super::{Broken, Content, Entry, MARK, Node, Piece, Span, object, read};
use crate::{
    alias::{Case, Fate, Request, judge},
    model::{
        alias::{Kept, Mode},
        path::{FieldPath, Step},
        problem::Problem,
        schema::Schema,
        subject::{Kind, ScopeKey, Subject},
    },
    rules::{Context, check},
};

/// What to do with a text, and what to leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// In the order of the text; they do not overlap.
    pub edits: Vec<Edit>,
    /// Each `shared` that stays.
    pub left: Vec<Left>,
}

/// Some bytes of a text, and what to put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes.
    pub span: Span,
    /// Their replacement; empty where something is removed.
    pub with: String,
}

impl Edit {
    /// The same edit, of a text in which this one begins so many bytes later.
    #[must_use]
    pub fn moved_by(self, offset: usize) -> Self {
        Self { span: self.span.start + offset..self.span.end + offset, ..self }
    }
}

/// A `shared` that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The rule that says so: TG008 where `global` disagrees, TG101 otherwise.
    pub rule: &'static str,
    /// Where it stands in its object.
    pub path: FieldPath,
    /// The key in the text.
    pub span: Span,
    /// Why, and what to write instead.
    pub problem: Problem,
    /// Whether that is intended: its object opts out.
    pub is_wanted: bool,
}

impl Migration {
    /// The text with every edit made.
    pub fn apply(&self, text: &str) -> String {
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        for edit in &self.edits {
            out += text.get(from..edit.span.start).unwrap_or_default();
            out += &edit.with;
            from = edit.span.end;
        }
        out + text.get(from..).unwrap_or_default()
    }
}

/// Decides about every `shared` in a text.
///
/// ```
/// use tollgate::manifest::migrate::migrate;
///
/// let text = "\
/// apiVersion: toolhive.stacklok.dev/v1beta1
/// kind: MCPServer
/// spec:
///   rateLimiting:
///     \"shared\": {maxTokens: 5, refillPeriod: 1m} # for all
/// ";
/// assert_eq!(migrate(text)?.apply(text), text.replace("shared", "global"));
/// # Ok::<(), tollgate::manifest::Broken>(())
/// ```
///
/// # Errors
/// When the text cannot be read, and could hold objects of ours.
pub fn migrate(text: &str) -> Result<Migration, Broken> {
    migrate_for(text, &Schema::assuming(true))
}

/// The same for CRDs that are known: where they lack `global`, `shared` stays.
///
/// # Errors
/// As [`migrate`].
pub fn migrate_for(text: &str, schema: &Schema) -> Result<Migration, Broken> {
    if !text.contains(MARK) {
        return Ok(Migration::default());
    }
    let pieces = pieces(text)?;
    let spots: Vec<_> = pieces.iter().enumerate().flat_map(|(piece, node)| spots(text, piece, node, schema)).collect();
    let mut by_key: HashMap<usize, Vec<&Spot>> = HashMap::new();
    spots.iter().for_each(|spot| by_key.entry(spot.key.start).or_default().push(spot));
    let occurrences = occurrences(&pieces);
    let mut expected: Vec<_> = pieces.iter().map(|node| node.to_value()).collect();
    let mut migration = Migration::default();
    for (at, same) in by_key {
        let [first, ..] = same.as_slice() else { continue };
        let are_all = occurrences.get(&at) == Some(&same.len()) && same.iter().all(|spot| spot.action == first.action);
        match first.edit(text, are_all) {
            Ok(edit) => {
                same.iter().for_each(|spot| spot.enact(&mut expected));
                migration.edits.push(edit);
            }
            Err(left) => migration.left.push(left),
        }
    }
    migration.left.sort_by_key(|left| left.span.start);
    migration.edits.sort_by_key(|edit| edit.span.start);
    let now = self::pieces(&migration.apply(text));
    let means_what_it_should = now.is_ok_and(|now| now.iter().map(|node| node.to_value()).eq(expected));
    if !means_what_it_should {
        let left = spots.iter().filter(|spot| matches!(spot.action, Action::Rename | Action::Remove(_)));
        let problem = Problem::new("cannot be changed without changing something else").advice(BY_HAND);
        migration = Migration { edits: Vec::new(), left: left.map(|spot| spot.left(problem.clone())).collect() };
    }
    Ok(migration)
}

fn pieces(text: &str) -> Result<Vec<std::rc::Rc<Node>>, Broken> {
    let mut pieces = Vec::new();
    read(text, &mut |piece| match piece {
        Piece::Object(node) | Piece::List(node) => pieces.push(node),
    })?;
    Ok(pieces)
}

/// A `shared`, and what is to be done about it.
struct Spot {
    piece: usize,
    path: FieldPath,
    key: Span,
    action: Action,
}

#[derive(PartialEq)]
enum Action {
    Rename,
    /// These bytes, if they can be determined.
    Remove(Option<Span>),
    Leave {
        rule: &'static str,
        why: Problem,
        is_wanted: bool,
    },
}

/// Every `shared` of an object that the rename's table speaks of.
fn spots(text: &str, piece: usize, node: &Node, schema: &Schema) -> Vec<Spot> {
    let Some((kind, version)) = object::kind_and_version(node) else { return Vec::new() };
    let object = node.to_value();
    let request = Request { kind, versions: &[version], object: &object, old: None, manager: None, force: None };
    let outcomes = judge(&request, Mode::Rename.into(), schema).outcomes;
    let disagreements = OnceCell::new();
    let disagreement = |path: &FieldPath| {
        let found = disagreements.get_or_init(|| disagreements_of(kind, &object)).get(path);
        found.cloned().unwrap_or_else(|| Kept::Disagrees.into())
    };
    let spots = outcomes.into_iter().map(|outcome| {
        let path = outcome.path.key(ScopeKey::Shared.key());
        let leave = |rule, is_wanted, why| Action::Leave { rule, why, is_wanted };
        let action = match (outcome.case, outcome.fate) {
            (Case::BothEqual, Fate::Renamed(_)) => Action::Remove(removal(text, node, &path)),
            (_, Fate::Kept(Kept::Disagrees)) => leave("TG008", false, disagreement(&path)),
            (_, Fate::Kept(Kept::CrdLacksGlobal)) => leave("TG101", true, Problem::new("stays").advice("the given CRD has no global")),
            (_, Fate::Kept(Kept::CrdUnread)) => {
                leave("TG101", false, Problem::new("stays").advice("no CRD of its kind and version was given"))
            }
            (_, Fate::Kept(why)) => leave("TG101", why == Kept::OptedOut, why.into()),
            // An object that is being created has nothing else done to it than the rename.
            (_, _) => Action::Rename,
        };
        Spot { piece, key: node.locate(&path).key, path, action }
    });
    spots.collect()
}

/// What the rules say of each `shared` that is not the `global` beside it.
fn disagreements_of(kind: Kind, object: &Value) -> HashMap<FieldPath, Problem> {
    let found = check(&Context::new(Subject::new(kind, object)));
    found.into_iter().filter(|found| found.rule == "TG008").map(|found| (found.path, found.problem)).collect()
}

/// How often each `shared` of the text counts, with every alias that brings it somewhere.
fn occurrences(pieces: &[std::rc::Rc<Node>]) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    let mut open: Vec<&Node> = pieces.iter().map(|node| &**node).collect();
    while let Some(node) = open.pop() {
        for entry in node.entries() {
            if entry.key == ScopeKey::Shared.key() {
                *counts.entry(entry.key_span.start).or_default() += 1;
            }
            open.push(&entry.node);
        }
    }
    counts
}

/// The advice where a text cannot be edited.
const BY_HAND: &str = "write global by hand";

impl Spot {
    fn left(&self, problem: Problem) -> Left {
        Left { rule: "TG101", path: self.path.clone(), span: self.key.clone(), problem, is_wanted: false }
    }

    fn edit(&self, text: &str, is_everywhere: bool) -> Result<Edit, Left> {
        match &self.action {
            Action::Leave { rule, why, is_wanted } => Err(Left { rule, is_wanted: *is_wanted, ..self.left(why.clone()) }),
            _ if !is_everywhere => Err(self.left(Problem::new("stands in an anchor that is used elsewhere, too").advice(BY_HAND))),
            Action::Rename => match renamed(text.get(self.key.clone()).unwrap_or_default()) {
                Some(with) => Ok(Edit { span: self.key.clone(), with }),
                None => Err(self.left(Problem::new("is an alias").advice(BY_HAND))),
            },
            Action::Remove(span) => {
                let span = span.clone().filter(|span| !text.get(span.clone()).unwrap_or_default().contains(['#', '&']));
                let problem = || Problem::new("equals global, and its text cannot be separated from what is around it");
                span.map(|span| Edit { span, with: String::new() }).ok_or_else(|| self.left(problem().advice("remove it by hand")))
            }
        }
    }

    /// Does to the objects what the edit is to do to the text.
    fn enact(&self, objects: &mut [Value]) {
        let mut steps = self.path.steps().iter();
        steps.next_back();
        let level = steps.fold(objects.get_mut(self.piece), |value, step| match step {
            Step::Key(key) => value?.get_mut(key.as_ref()),
            Step::Index(index) => value?.get_mut(index),
        });
        let Some(Value::Object(level)) = level else { return };
        if let Some(bucket) = level.remove(ScopeKey::Shared.key()).filter(|_| self.action == Action::Rename) {
            level.insert(ScopeKey::Global.key().to_owned(), bucket);
        }
    }
}

/// The key in the same quotes.
fn renamed(key: &str) -> Option<String> {
    let (old, new) = (ScopeKey::Shared.key(), ScopeKey::Global.key());
    match key.chars().next()? {
        '*' => None,
        // It may have been escaped.
        quote @ ('"' | '\'') => Some(format!("{quote}{new}{quote}")),
        _ => Some(key.replace(old, new)),
    }
}

/// The bytes that make up one field of a map: its lines where it has lines of its own, otherwise all from it to the next field, or from the
/// end of the one before.
fn removal(text: &str, node: &Node, path: &FieldPath) -> Option<Span> {
    let above: FieldPath = path.steps().split_last()?.1.iter().cloned().collect();
    let level = find(node, &above)?;
    let mut own: Vec<&Entry> = level.entries().iter().filter(|entry| level.span.contains(&entry.key_span.start)).collect();
    own.sort_by_key(|entry| entry.key_span.start);
    let at = own.iter().position(|entry| entry.key == ScopeKey::Shared.key())?;
    let end = |entry: &Entry| entry.through.as_ref().map_or(entry.node.span.end, |through| through.end);
    let this = own.get(at)?;
    let is_block = !text.get(level.span.start..)?.starts_with('{');
    if is_block && let Some(lines) = lines(text, &(this.key_span.start..end(this))) {
        return Some(lines);
    }
    match (own.get(at + 1), at.checked_sub(1).and_then(|before| own.get(before))) {
        (Some(next), _) => Some(this.key_span.start..next.key_span.start),
        (None, Some(before)) => Some(end(before)..end(this)),
        (None, None) => None,
    }
}

/// The lines that some bytes have for themselves, with one line end; none where something else stands there, too.
fn lines(text: &str, span: &Span) -> Option<Span> {
    let before = text.get(..span.start)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let after = text.get(span.end..)?;
    let length = after.find('\n').map_or(after.len(), |at| at + 1);
    let is_alone = before.get(start..)?.trim().is_empty() && after.get(..length)?.trim().is_empty();
    let has_line_end = after.get(..length)?.ends_with('\n');
    // The last line of a text that does not end its lines gives up the end of the line before.
    let start = if has_line_end { start } else { before.get(..start)?.trim_end_matches('\n').trim_end_matches('\r').len() };
    is_alone.then(|| start..span.end + length)
}

fn find<'n>(node: &'n Node, path: &FieldPath) -> Option<&'n Node> {
    path.steps().iter().try_fold(node, |node, step| match (step, &node.content) {
        (Step::Key(key), _) => node.field(key).map(|entry| &*entry.node),
        (Step::Index(index), Content::List(entries)) => entries.get(*index).map(|entry| &*entry.node),
        _ => None,
    })
}
