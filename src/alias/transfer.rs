//! Moves ownership with the value: the managed fields of an object during the change, and the resulting edits.

use std::{collections::HashMap, sync::LazyLock};

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::edit;
use crate::model::{
    bucket::same_field,
    owners::{self, Entry, Owners, scope_key},
    path::FieldPath,
    subject::{Kind, LevelOf, ScopeKey, TOOLS},
};

/// The names under which a bucket is owned afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `global` alone.
    Global,
    /// Both `shared` and `global`.
    Both,
}

/// The managed fields of an object during the change.
#[derive(Debug)]
pub(super) struct Table<'t, 'a> {
    kind: Kind,
    rows: Vec<Row<'a>>,
    /// The entries as requested, which are the first rows, and as stored.
    new: &'t Owners<'a>,
    stored: Option<&'t Owners<'a>>,
    /// The row of each stored entry.
    row_of_stored: Vec<Option<usize>>,
    /// The number of entries of the object, including others'.
    entries: usize,
}

#[derive(Debug)]
struct Row<'a> {
    at: At,
    /// The entry, for its manager and other metadata.
    entry: Entry<'a>,
    /// Whether this is what the request itself applies.
    is_requests: bool,
    before: &'a Map<String, Value>,
    now: Map<String, Value>,
    /// The same manager's entry in the stored object.
    stored: &'a Map<String, Value>,
}

/// Index into `metadata.managedFields`.
#[derive(Clone, Copy, Debug)]
enum At {
    New(usize),
    /// From the stored object: the request removed the entry's last field.
    OldOnly(usize),
}

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'t, 'a> Table<'t, 'a> {
    pub(super) fn new(kind: Kind, object: &Value, new: &'t Owners<'a>, stored: Option<&'t Owners<'a>>, manager: Option<&str>) -> Self {
        let row = |at, entry: &Entry<'a>, before: &'a Map<String, Value>| Row {
            at,
            entry: *entry,
            is_requests: manager.is_some_and(|manager| entry.is_apply_of(manager)),
            before,
            now: before.clone(),
            stored: &NOTHING,
        };
        let entries = owners::list(object).len();
        let mut rows: Vec<_> = new.entries().iter().map(|entry| row(At::New(entry.index), entry, entry.fields)).collect();
        let mut known = HashMap::new();
        for (at, entry) in new.entries().iter().enumerate() {
            known.entry(entry.identity()).or_insert(at);
        }
        let mut row_of_stored = Vec::new();
        for was in stored.map(Owners::entries).unwrap_or_default() {
            let at = match known.get(&was.identity()) {
                // If two entries have the same identity, which no API server writes, the first counts.
                Some(at) => rows.get(*at).is_some_and(|row| row.stored.is_empty()).then_some(*at),
                None if entries == 0 => None,
                None => {
                    known.insert(was.identity(), rows.len());
                    rows.push(row(At::OldOnly(was.index), was, &NOTHING));
                    Some(rows.len() - 1)
                }
            };
            if let Some(row) = at.and_then(|at| rows.get_mut(at)) {
                row.stored = was.fields;
            }
            row_of_stored.push(at);
        }
        Self { kind, rows, new, stored, row_of_stored, entries }
    }

    /// Gives the owners of either name what [`Names`] says; the limit becomes `value` and was `old`, under either name.
    ///
    /// Unchanged leaves keep their owners, including those that lost ownership only because the client replaced one name by the other.
    /// Changed leaves belong to the managers that declared them.
    pub(super) fn settle(&mut self, level: &LevelOf<'_>, value: &Value, old: Option<&Value>, names: Names) {
        let change = Change { value, old, shared: level.bucket(ScopeKey::Shared), global: level.bucket(ScopeKey::Global), names };
        for (at, ways) in self.holders(level) {
            if let Some(row) = self.rows.get_mut(at) {
                row.settle(&ways, &change);
            }
        }
    }

    /// Removes all ownership of either name.
    pub(super) fn remove(&mut self, level: &LevelOf<'_>) {
        for (at, ways) in self.holders(level) {
            if let (Some(row), Some(way)) = (self.rows.get_mut(at), &ways.now) {
                row.give_up(way);
            }
        }
    }

    /// The rows that own a part of either name at a location, now or as stored, with the paths to it in their fields.
    fn holders(&self, level: &LevelOf<'_>) -> Vec<(usize, Ways)> {
        let way = |item: Option<&str>| self.way(level, item);
        let mut found: Vec<(usize, Ways)> =
            self.new.held(level).iter().map(|held| (held.entry, Ways { now: Some(way(held.item)), stored: None })).collect();
        let of_new: HashMap<usize, usize> = found.iter().enumerate().map(|(at, (row, _))| (*row, at)).collect();
        for held in self.stored.map(|stored| stored.held(level)).unwrap_or_default() {
            let Some(row) = self.row_of_stored.get(held.entry).copied().flatten() else { continue };
            let stored = Some(way(held.item));
            match of_new.get(&row).and_then(|at| found.get_mut(*at)) {
                Some((_, ways)) => ways.stored = stored,
                None => found.push((row, Ways { now: None, stored })),
            }
        }
        found
    }

    /// The keys that lead from the root of an entry to a level: `f:spec`, `f:rateLimiting`, and for a tool `f:tools`, `k:{..}`.
    fn way(&self, level: &LevelOf<'_>, item: Option<&str>) -> Vec<String> {
        let place = self.kind.places().get(level.place).copied().unwrap_or_default();
        let item = item.map(|item| [format!("f:{TOOLS}"), item.to_owned()]);
        place.iter().map(|key| format!("f:{key}")).chain(item.into_iter().flatten()).collect()
    }

    /// The patch from the old fields to the new ones; emptied entries are removed, last first.
    pub(super) fn into_edits(self) -> Vec<PatchOperation> {
        let list = FieldPath::new(["metadata", "managedFields"]);
        let mut edits = Vec::new();
        let mut emptied = Vec::new();
        let mut revived = Vec::new();
        for Row { at, entry, before, now, .. } in self.rows {
            match at {
                _ if now == *before => {}
                At::OldOnly(index) => {
                    let mut entry = entry.value.clone();
                    if let Some(fields) = entry.get_mut("fieldsV1") {
                        *fields = Value::Object(now);
                    }
                    revived.push((index, entry));
                }
                At::New(index) => {
                    let at = list.index(index);
                    edit::guard(&at.key("manager"), &entry.manager().into(), &mut edits);
                    if now.is_empty() {
                        emptied.push(edit::remove(&at));
                    } else {
                        edit::between(&at.key("fieldsV1"), before, &now, &mut edits);
                    }
                }
            }
        }
        let left = self.entries - emptied.len();
        edits.extend(emptied.into_iter().rev());
        // As close to their old position as the list allows.
        let revived = (left..).zip(revived).map(|(length, (index, entry))| (index.min(length), entry));
        edits.extend(revived.map(|(index, entry)| edit::add(&list.index(index), entry)));
        edits
    }
}

/// The paths to a location in the fields of a row, where it owns something there.
#[derive(Debug)]
struct Ways {
    now: Option<Vec<String>>,
    stored: Option<Vec<String>>,
}

/// One bucket, before and after: what the request declared under each name, and the result.
struct Change<'a> {
    value: &'a Value,
    old: Option<&'a Value>,
    shared: Option<&'a Value>,
    global: Option<&'a Value>,
    names: Names,
}

impl Change<'_> {
    /// Whether a leaf, `f:maxTokens` or the bucket itself, has changed.
    fn touches(&self, leaf: &str) -> bool {
        !self.comes_from(self.old, leaf)
    }

    /// Whether a bucket already has a leaf's resulting value. Two names keep their spellings of it.
    fn comes_from(&self, bucket: Option<&Value>, leaf: &str) -> bool {
        let Some(bucket) = bucket else { return false };
        leaf.strip_prefix("f:").is_none_or(|field| match self.names {
            Names::Global => bucket.get(field) == self.value.get(field),
            Names::Both => same_field(field, bucket, self.value),
        })
    }
}

impl Row<'_> {
    fn settle(&mut self, ways: &Ways, change: &Change<'_>) {
        let stored_at = |scope| ways.stored.as_ref().map(|way| bucket_at(self.stored, way, scope)).unwrap_or_default();
        let now_at = |scope| ways.now.as_ref().map(|way| bucket_at(&self.now, way, scope)).unwrap_or_default();
        // Under either name: an owner of one shall own the other.
        let mut held_before = stored_at(ScopeKey::Global);
        held_before.extend(stored_at(ScopeKey::Shared));
        let (shared, mut global) = (now_at(ScopeKey::Shared), now_at(ScopeKey::Global));
        if !self.is_requests {
            global.retain(|leaf, _| !change.touches(leaf) || change.comes_from(change.global, leaf));
            global.extend(held_before.iter().filter(|(leaf, _)| !change.touches(leaf)).map(|(leaf, own)| (leaf.clone(), own.clone())));
        }
        global.extend(shared.into_iter().filter(|(leaf, _)| {
            let says = change.comes_from(change.shared, leaf);
            says && (self.entry.is_apply() || change.touches(leaf) || held_before.contains_key(leaf))
        }));
        // The node of a tool that was removed with its last bucket is restored as in the stored entry.
        let now = ways.now.as_ref().filter(|way| node(&self.now, way).is_some());
        let Some(way) = now.or(ways.stored.as_ref()) else { return };
        if global.is_empty() {
            self.give_up(way);
        } else {
            put(&mut self.now, self.stored, way, closed(global), change.names);
        }
    }

    /// Removes ownership of both names at the end of a path.
    fn give_up(&mut self, way: &[String]) {
        if let Some(node) = node_mut(&mut self.now, way) {
            node.remove(scope_key(ScopeKey::Global));
            node.remove(scope_key(ScopeKey::Shared));
        }
        prune(&mut self.now, self.before, way);
    }
}

/// Puts the owned fields of a bucket into the map at the end of a path, which is created if missing. Maps on the path that the entry owned
/// as such are owned again: they were removed with their last field.
fn put(now: &mut Map<String, Value>, stored: &Map<String, Value>, way: &[String], owned: Value, names: Names) {
    let (mut node, mut before) = (now, Some(stored));
    for key in way {
        let owns_itself = node.get(key).is_some_and(|node| node.as_object().is_none_or(Map::is_empty));
        let was = before.and_then(|before| before.get(key));
        let owned_itself = was.is_some_and(|was| was.as_object().is_none_or(|was| was.is_empty() || was.contains_key(SELF)));
        let child = node.entry(key.clone()).or_insert(Value::Null);
        if !child.is_object() {
            *child = Value::Object(Map::new());
        }
        let Value::Object(child) = child else { return };
        if owns_itself || owned_itself {
            child.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        (node, before) = (child, was.and_then(Value::as_object));
    }
    if names == Names::Both {
        node.insert(scope_key(ScopeKey::Shared).to_owned(), owned.clone());
    } else {
        node.remove(scope_key(ScopeKey::Shared));
    }
    node.insert(scope_key(ScopeKey::Global).to_owned(), owned);
}

/// The key that marks ownership of a map itself, besides its contents.
const SELF: &str = ".";

/// A node with all owned fields as members: one without members owns itself, and is marked so only if there are others.
fn opened(node: &Value) -> Map<String, Value> {
    let mut members = node.as_object().cloned().unwrap_or_default();
    if members.is_empty() {
        members.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    members
}

/// The node with these members, as API servers write it.
fn closed(mut members: Map<String, Value>) -> Value {
    if members.len() == 1 {
        members.remove(SELF);
    }
    Value::Object(members)
}

fn bucket_at(root: &Map<String, Value>, way: &[String], scope: ScopeKey) -> Map<String, Value> {
    node(root, way).and_then(|node| node.get(scope_key(scope))).map(opened).unwrap_or_default()
}

fn node<'a>(root: &'a Map<String, Value>, way: &[String]) -> Option<&'a Map<String, Value>> {
    way.iter().try_fold(root, |node, key| node.get(key)?.as_object())
}

fn node_mut<'a>(root: &'a mut Map<String, Value>, way: &[String]) -> Option<&'a mut Map<String, Value>> {
    way.iter().try_fold(root, |node, key| node.get_mut(key)?.as_object_mut())
}

/// Removes the maps along a path whose last member was removed, deepest first: one that was owned itself stays, as such.
fn prune(root: &mut Map<String, Value>, before: &Map<String, Value>, way: &[String]) {
    let mut way = way;
    while let Some((last, above)) = way.split_last() {
        let owned_itself = node(before, way).is_some_and(Map::is_empty);
        let Some(parent) = node_mut(root, above) else { return };
        let Some(node) = parent.get(last).and_then(Value::as_object) else { return };
        match node.len() {
            0 if owned_itself => return,
            0 => drop(parent.remove(last)),
            1 if node.contains_key(SELF) => {
                parent.insert(last.clone(), Value::Object(Map::new()));
                return;
            }
            _ => return,
        }
        way = above;
    }
}
