//! Who owns what: `metadata.managedFields`, in the FieldsV1 form (`f:spec`, `k:{"name":"search"}`, `.` for the item itself).

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{
    edit::{self, Edit},
    rewrite::map_of,
};
use crate::config::{
    GROUP,
    path::{FieldPath, Step},
    subject::{LevelOf, Scope},
};

/// The managers that own any part of one bucket, in the order of their entries, each once.
pub fn of_bucket(object: &Value, level: &LevelOf<'_>, scope: Scope) -> Vec<String> {
    managers(entries(object).filter(|entry| bucket_node(entry, level, scope).is_some()))
}

/// The managers that apply any part of one bucket: whose next apply will say it again.
pub fn appliers_of_bucket(object: &Value, level: &LevelOf<'_>, scope: Scope) -> Vec<String> {
    let applies = |entry: &&Value| text(entry, "operation") == "Apply" && bucket_node(entry, level, scope).is_some();
    managers(entries(object).filter(applies))
}

fn managers<'a>(entries: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut managers: Vec<String> = Vec::new();
    for entry in entries {
        let manager = text(entry, "manager").to_owned();
        if !managers.contains(&manager) {
            managers.push(manager);
        }
    }
    managers
}

/// Whether any manager owns a part of one bucket.
pub(super) fn anyone_holds(object: &Value, level: &LevelOf<'_>, scope: Scope) -> bool {
    entries(object).any(|entry| bucket_node(entry, level, scope).is_some())
}

/// Whether the Apply entry of one manager owns a part of one bucket.
pub(super) fn apply_entry_holds(object: &Value, manager: &str, level: &LevelOf<'_>, scope: Scope) -> bool {
    entries(object).filter(|entry| is_apply_of(entry, manager)).any(|entry| bucket_node(entry, level, scope).is_some())
}

/// Which entries count as somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// All of them.
    Any,
    /// Those of managers that apply, too.
    Appliers,
}

/// Whether an entry other than one manager's Apply entry owns one field of `global`.
pub(super) fn others_hold(object: &Value, manager: &str, others: Others, level: &LevelOf<'_>, field: &str) -> bool {
    let counts = |entry: &&Value| others == Others::Any || text(entry, "operation") == "Apply";
    let others = entries(object).filter(|entry| !is_apply_of(entry, manager)).filter(counts);
    let mut nodes = others.filter_map(|entry| bucket_node(entry, level, Scope::Global));
    nodes.any(|node| node.contains_key(&format!("f:{field}")))
}

fn is_apply_of(entry: &Value, manager: &str) -> bool {
    text(entry, "operation") == "Apply" && text(entry, "manager") == manager
}

/// The entries that speak of our group's objects themselves, not of their status.
fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    list(object).iter().filter(|entry| is_ours(entry))
}

fn is_ours(entry: &Value) -> bool {
    let group = text(entry, "apiVersion").split_once('/').map(|(group, _)| group);
    group == Some(GROUP) && text(entry, "subresource").is_empty() && entry.get("fieldsV1").is_some_and(Value::is_object)
}

fn list(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn bucket_node<'a>(entry: &'a Value, level: &LevelOf<'_>, scope: Scope) -> Option<&'a Map<String, Value>> {
    let root = entry.get("fieldsV1")?.as_object()?;
    let keys = node_keys(root, level)?;
    let node = keys.iter().try_fold(root, |node, key| node.get(key)?.as_object())?;
    node.get(&scope_key(scope))?.as_object()
}

fn scope_key(scope: Scope) -> String {
    format!("f:{}", scope.key())
}

/// The keys that lead from the root of an entry to a level: `f:spec`, `f:rateLimiting`, and for a tool `f:tools`, `k:{..}`.
fn node_keys(root: &Map<String, Value>, level: &LevelOf<'_>) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    for step in level.path.steps() {
        keys.push(match step {
            Step::Key(key) => format!("f:{key}"),
            Step::Index(_) => {
                let tools = keys.iter().try_fold(root, |node, key: &String| node.get(key)?.as_object())?;
                item_key(tools, level.tool?)?
            }
        });
    }
    Some(keys)
}

/// The key of the list item with this name. Encoders differ in what they escape, so odd names are compared decoded.
fn item_key(tools: &Map<String, Value>, name: &str) -> Option<String> {
    let plain = format!("k:{}", serde_json::json!({ "name": name }));
    if tools.contains_key(&plain) {
        return Some(plain);
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return None;
    }
    let named = |key: &&String| {
        let decoded = key.strip_prefix("k:").and_then(|json| serde_json::from_str::<Value>(json).ok());
        decoded.is_some_and(|item| item.get("name").and_then(Value::as_str) == Some(name))
    };
    tools.keys().find(named).cloned()
}

/// The managed fields of an object while they change.
#[derive(Debug)]
pub(super) struct Table<'a> {
    rows: Vec<Row<'a>>,
    /// How many entries the object has, others' included.
    entries: usize,
}

#[derive(Debug)]
struct Row<'a> {
    at: At,
    /// The entry, for its manager and the rest.
    entry: &'a Value,
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
    /// Of the stored object: the request took the entry's last field.
    OldOnly(usize),
}

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

fn fields(entry: &Value) -> &Map<String, Value> {
    entry.get("fieldsV1").and_then(Value::as_object).unwrap_or(&NOTHING)
}

impl<'a> Table<'a> {
    pub(super) fn of(object: &'a Value, old: Option<&'a Value>, manager: Option<&str>) -> Self {
        let same = |a: &Value, b: &Value| ["manager", "operation", "apiVersion"].iter().all(|key| text(a, key) == text(b, key));
        let row = |at, entry: &'a Value, before: &'a Map<String, Value>, stored: Option<&'a Value>| Row {
            at,
            entry,
            is_requests: manager.is_some_and(|manager| is_apply_of(entry, manager)),
            before,
            now: before.clone(),
            stored: stored.map_or(&NOTHING, fields),
        };
        let ours = list(object).iter().enumerate().filter(|(_, entry)| is_ours(entry));
        let mut rows: Vec<_> = ours
            .map(|(index, entry)| {
                let stored = old.and_then(|old| entries(old).find(|was| same(was, entry)));
                row(At::New(index), entry, fields(entry), stored)
            })
            .collect();
        let were = old.map(list).unwrap_or_default().iter().enumerate().filter(|(_, was)| is_ours(was));
        let gone = were.filter(|(_, was)| !list(object).is_empty() && !entries(object).any(|entry| same(was, entry)));
        rows.extend(gone.map(|(index, was)| row(At::OldOnly(index), was, &NOTHING, Some(was))));
        Self { rows, entries: list(object).len() }
    }

    /// Moves the ownership of `shared` to `global`, which becomes `value`; the limit was `old`, under either name.
    ///
    /// What does not change keeps its owners, also those that lost it only because the client took `global` away to say `shared`. What
    /// changes belongs to those who said so.
    pub(super) fn rename(&mut self, level: &LevelOf<'_>, value: &Value, old: Option<&Value>) {
        let change = Change { value, old, shared: level.bucket(Scope::Shared), global: level.bucket(Scope::Global) };
        for row in &mut self.rows {
            row.rename(level, &change);
        }
    }

    /// The patch from how the fields were to how they are; entries left empty go, last first.
    pub(super) fn into_edits(self) -> Vec<Edit> {
        let list = FieldPath::new(["metadata", "managedFields"]);
        let mut edits = Vec::new();
        let mut emptied = Vec::new();
        let mut revived = Vec::new();
        for Row { at, entry, before, now, .. } in self.rows {
            match at {
                _ if now == *before => {}
                At::OldOnly(index) => {
                    let mut entry = entry.clone();
                    if let Some(fields) = entry.get_mut("fieldsV1") {
                        *fields = Value::Object(now);
                    }
                    revived.push((index, entry));
                }
                At::New(index) => {
                    let at = list.index(index);
                    edit::guard(at.key("manager").pointer(), &text(entry, "manager").into(), &mut edits);
                    if now.is_empty() {
                        emptied.push(Edit::Remove { path: at.pointer() });
                    } else {
                        edit::between(&at.key("fieldsV1"), before, &now, &mut edits);
                    }
                }
            }
        }
        let left = self.entries - emptied.len();
        edits.extend(emptied.into_iter().rev());
        // As near to where they were as the list allows.
        let revived = (left..).zip(revived).map(|(length, (index, entry))| (index.min(length), entry));
        edits.extend(revived.map(|(index, entry)| Edit::Add { path: list.index(index).pointer(), value: entry }));
        edits
    }
}

/// One bucket, before and after: what the request said under each name, and what it comes to.
struct Change<'a> {
    value: &'a Value,
    old: Option<&'a Value>,
    shared: Option<&'a Value>,
    global: Option<&'a Value>,
}

impl Change<'_> {
    /// Whether a leaf, `f:maxTokens` or the bucket itself, is not as it was.
    fn touches(&self, leaf: &str) -> bool {
        match leaf.strip_prefix("f:") {
            Some(field) => Some(self.value.get(field)) != self.old.map(|old| old.get(field)),
            None => self.old.is_none(),
        }
    }

    /// Whether one of the two said what a leaf comes to.
    fn comes_from(&self, said: Option<&Value>, leaf: &str) -> bool {
        match leaf.strip_prefix("f:") {
            Some(field) => said.is_some_and(|said| said.get(field) == self.value.get(field)),
            None => said.is_some(),
        }
    }
}

impl Row<'_> {
    fn rename(&mut self, level: &LevelOf<'_>, change: &Change<'_>) {
        // Under either name: who owned `shared` is to find itself the owner of `global`.
        let mut held_before = bucket_at(self.stored, level, Scope::Global);
        held_before.extend(bucket_at(self.stored, level, Scope::Shared));
        let shared = bucket_at(&self.now, level, Scope::Shared);
        let mut global = bucket_at(&self.now, level, Scope::Global);
        let is_apply = text(self.entry, "operation") == "Apply";
        if !self.is_requests {
            global.retain(|leaf, _| !change.touches(leaf) || change.comes_from(change.global, leaf));
            global.extend(held_before.iter().filter(|(leaf, _)| !change.touches(leaf)).map(|(leaf, own)| (leaf.clone(), own.clone())));
        }
        global.extend(shared.into_iter().filter(|(leaf, _)| {
            let says = change.comes_from(change.shared, leaf);
            says && (is_apply || change.touches(leaf) || held_before.contains_key(leaf))
        }));
        let keys = node_keys(&self.now, level);
        if global.is_empty() {
            let Some(keys) = keys else { return };
            if let Some(node) = node_mut(&mut self.now, &keys) {
                node.remove(&scope_key(Scope::Global));
                node.remove(&scope_key(Scope::Shared));
            }
            prune(&mut self.now, self.before, &keys);
        } else if let Some(keys) = keys.or_else(|| node_keys(self.stored, level)) {
            put_global(&mut self.now, self.stored, &keys, closed(global));
        }
    }
}

/// Puts `global` in the place of `shared` in the map at the end of a way, which is made where it is missing. Maps on the way that the entry
/// owned as such, it owns again: they went with their last field.
fn put_global(now: &mut Map<String, Value>, stored: &Map<String, Value>, way: &[String], global: Value) {
    let Some((first, rest)) = way.split_first() else {
        now.remove(&scope_key(Scope::Shared));
        now.insert(scope_key(Scope::Global), global);
        return;
    };
    let before = stored.get(first).map(opened).unwrap_or_default();
    let mut node = now.get(first).map(opened).unwrap_or_default();
    node.extend(before.get_key_value(SELF).map(|(itself, empty)| (itself.clone(), empty.clone())));
    put_global(&mut node, &before, rest, global);
    now.insert(first.clone(), closed(node));
}

/// The key under which an entry says that it owns a map itself, beside what is in it.
const SELF: &str = ".";

/// A node with all that it owns as members: one without members owns itself, and says so only when there are others.
fn opened(node: &Value) -> Map<String, Value> {
    let mut members = map_of(Some(node));
    if members.is_empty() {
        members.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    members
}

/// The node of these members, as API servers write it.
fn closed(mut members: Map<String, Value>) -> Value {
    if members.len() == 1 {
        members.remove(SELF);
    }
    Value::Object(members)
}

fn bucket_at(root: &Map<String, Value>, level: &LevelOf<'_>, scope: Scope) -> Map<String, Value> {
    let keys = node_keys(root, level).unwrap_or_default();
    let node = keys.iter().try_fold(root, |node, key| node.get(key)?.as_object());
    node.and_then(|node| node.get(&scope_key(scope))).map(opened).unwrap_or_default()
}

fn node_mut<'a>(root: &'a mut Map<String, Value>, keys: &[String]) -> Option<&'a mut Map<String, Value>> {
    keys.iter().try_fold(root, |node, key| node.get_mut(key)?.as_object_mut())
}

/// Closes the maps along a way whose last member went, deepest first: one that owned itself stays, as such; any other goes.
fn prune(root: &mut Map<String, Value>, before: &Map<String, Value>, keys: &[String]) {
    let mut way = keys;
    while let Some((last, above)) = way.split_last() {
        let Some(parent) = node_mut(root, above) else { return };
        let Some(node) = parent.get(last).and_then(Value::as_object) else { return };
        let owned_itself = way.iter().try_fold(before, |node, key| node.get(key)?.as_object()).is_some_and(Map::is_empty);
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
