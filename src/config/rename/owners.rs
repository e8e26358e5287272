//! Who owns what: `metadata.managedFields`, in the FieldsV1 form (`f:spec`, `k:{"name":"search"}`, `.` for the item itself).

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
    let mut managers: Vec<String> = Vec::new();
    for entry in entries(object).filter(|entry| bucket_node(entry, level, scope).is_some()) {
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

/// Whether an entry other than one manager's Apply entry owns one field of `global`.
pub(super) fn others_hold(object: &Value, manager: &str, level: &LevelOf<'_>, field: &str) -> bool {
    let others = entries(object).filter(|entry| !is_apply_of(entry, manager));
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
pub(super) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// Index into `metadata.managedFields`.
    index: usize,
    manager: String,
    is_apply: bool,
    before: Map<String, Value>,
    now: Map<String, Value>,
    /// The same manager's entry in the stored object.
    stored: Map<String, Value>,
}

impl Table {
    pub(super) fn of(object: &Value, old: Option<&Value>) -> Self {
        let ours = list(object).iter().enumerate().filter(|(_, entry)| is_ours(entry));
        let rows = ours.map(|(index, entry)| {
            let same = |was: &&Value| ["manager", "operation", "apiVersion"].iter().all(|key| text(was, key) == text(entry, key));
            let stored = old.and_then(|old| entries(old).find(same));
            let before = map_of(entry.get("fieldsV1"));
            Row {
                index,
                manager: text(entry, "manager").to_owned(),
                is_apply: text(entry, "operation") == "Apply",
                now: before.clone(),
                before,
                stored: map_of(stored.and_then(|stored| stored.get("fieldsV1"))),
            }
        });
        Self { rows: rows.collect() }
    }

    /// Moves the ownership of `shared` to `global`, which becomes `value` and was `old`.
    pub(super) fn rename(&mut self, level: &LevelOf<'_>, value: &Value, old: Option<&Value>) {
        let changed = |leaf: &str| match leaf.strip_prefix("f:") {
            Some(field) => value.get(field) != old.and_then(|old| old.get(field)),
            None => old.is_none(),
        };
        for row in &mut self.rows {
            row.rename(level, &changed);
        }
    }

    /// The patch from how the fields were to how they are; entries left empty go, last first.
    pub(super) fn into_edits(self) -> Vec<Edit> {
        let list = FieldPath::new(["metadata", "managedFields"]);
        let mut edits = Vec::new();
        let mut emptied = Vec::new();
        for row in self.rows.iter().filter(|row| row.now != row.before) {
            let at = list.index(row.index);
            edits.push(Edit::Test { path: at.key("manager").pointer(), value: row.manager.clone().into() });
            if row.now.is_empty() {
                emptied.push(Edit::Remove { path: at.pointer() });
            } else {
                edit::between(&at.key("fieldsV1"), &row.before, &row.now, &mut edits);
            }
        }
        edits.extend(emptied.into_iter().rev());
        edits
    }
}

impl Row {
    fn rename(&mut self, level: &LevelOf<'_>, changed: &impl Fn(&str) -> bool) {
        let Some(keys) = node_keys(&self.now, level) else { return };
        let held_before = bucket_at(&self.stored, level, Scope::Global);
        let Some(node) = node_mut(&mut self.now, &keys) else { return };
        match node.remove(&scope_key(Scope::Shared)) {
            Some(shared) => {
                let mut leaves = map_of(Some(&shared));
                let whole = leaves.is_empty();
                if !self.is_apply {
                    leaves.retain(|leaf, _| changed(leaf) || held_before.contains_key(leaf));
                }
                // An entry may own a bucket as a whole, without leaves.
                if whole || !leaves.is_empty() {
                    let global = node.entry(scope_key(Scope::Global)).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(global) = global {
                        global.extend(leaves);
                    }
                }
            }
            None => {
                let Some(Value::Object(global)) = node.get_mut(&scope_key(Scope::Global)) else { return };
                global.retain(|leaf, _| !changed(leaf));
                if !global.is_empty() {
                    return;
                }
                node.remove(&scope_key(Scope::Global));
            }
        }
        prune(&mut self.now, &keys);
    }
}

fn bucket_at(root: &Map<String, Value>, level: &LevelOf<'_>, scope: Scope) -> Map<String, Value> {
    let keys = node_keys(root, level).unwrap_or_default();
    let node = keys.iter().try_fold(root, |node, key| node.get(key)?.as_object());
    map_of(node.and_then(|node| node.get(&scope_key(scope))))
}

fn node_mut<'a>(root: &'a mut Map<String, Value>, keys: &[String]) -> Option<&'a mut Map<String, Value>> {
    keys.iter().try_fold(root, |node, key| node.get_mut(key)?.as_object_mut())
}

/// Removes the maps along a way that hold nothing any more, deepest first.
fn prune(root: &mut Map<String, Value>, keys: &[String]) {
    let mut way = keys;
    while let Some((last, above)) = way.split_last() {
        let Some(parent) = node_mut(root, above) else { return };
        if parent.get(last).and_then(Value::as_object).is_none_or(|map| !map.is_empty()) {
            return;
        }
        parent.remove(last);
        way = above;
    }
}
