//! Field ownership: `metadata.managedFields`, in the FieldsV1 format (`f:spec`, `k:{"name":"search"}`, `.` for the item itself).
//!
//! An object may have thousands of tools and hundreds of owners, so its entries are read once, into an index by location. Building it takes
//! time linear in the owned fields; a lookup then costs what is owned at the location.

use std::{borrow::Cow, collections::HashMap, collections::HashSet};

use serde_json::{Map, Value};

use super::{
    GROUP,
    subject::{Kind, LevelOf, ScopeKey, TOOLS},
};

/// The owners of an object's buckets.
#[derive(Debug)]
pub struct Owners<'a> {
    entries: Vec<Entry<'a>>,
    /// By index into [`Kind::places`].
    places: Vec<Place<'a>>,
}

/// What is owned of the limits at one place.
#[derive(Debug, Default)]
struct Place<'a> {
    server: Vec<Held<'a>>,
    tools: HashMap<Cow<'a, str>, Vec<Held<'a>>>,
}

/// An entry about the object itself in our group, not its status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// Index into `metadata.managedFields`.
    pub(crate) index: usize,
    /// The whole entry.
    pub(crate) value: &'a Value,
    /// Its `fieldsV1`.
    pub(crate) fields: &'a Map<String, Value>,
}

/// What one entry owns of the two names at one location.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    /// Index into [`Owners::entries`].
    pub(crate) entry: usize,
    /// The key of the tool's item in `f:tools`, such as `k:{"name":"search"}`; none at the server level.
    pub(crate) item: Option<&'a str>,
    shared: Option<&'a Map<String, Value>>,
    global: Option<&'a Map<String, Value>>,
}

/// Which entries count as another manager's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// All of them.
    Any,
    /// Those of managers that apply, too.
    Appliers,
}

impl<'a> Owners<'a> {
    /// Parses the managed fields of an object.
    pub fn of(kind: Kind, object: &'a Value) -> Self {
        let ours = list(object).iter().enumerate().filter_map(|(index, value)| {
            let fields = value.get("fieldsV1")?.as_object().filter(|_| is_ours(value))?;
            Some(Entry { index, value, fields })
        });
        let entries: Vec<_> = ours.collect();
        let mut places: Vec<Place<'a>> = kind.places().iter().map(|_| Place::default()).collect();
        for (at, entry) in entries.iter().enumerate() {
            for (place, keys) in places.iter_mut().zip(kind.places()) {
                place.add(at, entry.fields, keys);
            }
        }
        Self { entries, places }
    }

    /// The managers that own any part of one bucket, in the order of their entries, each once.
    pub fn of_bucket(&self, level: &LevelOf<'_>, scope: ScopeKey) -> Vec<&'a str> {
        self.managers(self.holding(level, scope))
    }

    /// The managers that apply any part of one bucket, and so will with their next apply.
    pub fn appliers_of_bucket(&self, level: &LevelOf<'_>, scope: ScopeKey) -> Vec<&'a str> {
        self.managers(self.holding(level, scope).filter(|held| self.entry(held).is_some_and(Entry::is_apply)))
    }

    fn managers<'s>(&'s self, held: impl Iterator<Item = &'s Held<'a>>) -> Vec<&'a str> {
        let mut known = HashSet::new();
        held.filter_map(|held| self.entry(held)).map(Entry::manager).filter(|manager| known.insert(*manager)).collect()
    }

    /// Whether the Apply entry of one manager owns a part of one bucket.
    pub(crate) fn apply_entry_holds(&self, manager: &str, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        self.holding(level, scope).filter_map(|held| self.entry(held)).any(|entry| entry.is_apply_of(manager))
    }

    /// Whether an entry other than one manager's Apply entry owns one field of `global`.
    pub(crate) fn others_hold(&self, manager: &str, others: Others, level: &LevelOf<'_>, field: &str) -> bool {
        let field = format!("f:{field}");
        let counts = |entry: &Entry<'_>| !entry.is_apply_of(manager) && (others == Others::Any || entry.is_apply());
        self.held(level).iter().any(|held| {
            let owns = held.global.is_some_and(|global| global.contains_key(&field));
            owns && self.entry(held).is_some_and(counts)
        })
    }

    /// Every entry that owns a part of either name at a location.
    pub(crate) fn held(&self, level: &LevelOf<'_>) -> &[Held<'a>] {
        let place = self.places.get(level.place);
        let held = place.and_then(|place| level.tool.map_or(Some(&place.server), |tool| place.tools.get(tool)));
        held.map(Vec::as_slice).unwrap_or_default()
    }

    fn holding(&self, level: &LevelOf<'_>, scope: ScopeKey) -> impl Iterator<Item = &Held<'a>> {
        self.held(level).iter().filter(move |held| held.owns(scope))
    }

    pub(crate) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    pub(crate) fn entry(&self, held: &Held<'_>) -> Option<&Entry<'a>> {
        self.entries.get(held.entry)
    }
}

impl<'a> Place<'a> {
    fn add(&mut self, entry: usize, fields: &'a Map<String, Value>, keys: &[&str]) {
        let block = keys.iter().try_fold(fields, |node, key| node.get(&format!("f:{key}"))?.as_object());
        let Some(block) = block else { return };
        self.server.extend(Held::read(entry, None, block));
        let items = block.get(&format!("f:{TOOLS}")).and_then(Value::as_object);
        for (key, item) in items.into_iter().flatten() {
            let Some(held) = item.as_object().and_then(|item| Held::read(entry, Some(key), item)) else { continue };
            let Some(name) = item_name(key) else { continue };
            let known = self.tools.entry(name).or_default();
            // If an entry spells one name in two ways, the plain spelling counts.
            match known.last_mut().filter(|last| last.entry == entry) {
                Some(last) if is_plain(key) => *last = held,
                Some(_) => {}
                None => known.push(held),
            }
        }
    }
}

impl<'a> Held<'a> {
    fn read(entry: usize, item: Option<&'a str>, node: &'a Map<String, Value>) -> Option<Self> {
        let of = |scope| node.get(scope_key(scope)).and_then(Value::as_object);
        let (shared, global) = (of(ScopeKey::Shared), of(ScopeKey::Global));
        (shared.is_some() || global.is_some()).then_some(Self { entry, item, shared, global })
    }

    pub(crate) fn owns(&self, scope: ScopeKey) -> bool {
        if scope == ScopeKey::Shared { self.shared.is_some() } else { self.global.is_some() }
    }
}

impl<'a> Entry<'a> {
    pub(crate) fn manager(&self) -> &'a str {
        text(self.value, "manager")
    }

    pub(crate) fn is_apply(&self) -> bool {
        text(self.value, "operation") == "Apply"
    }

    pub(crate) fn is_apply_of(&self, manager: &str) -> bool {
        self.is_apply() && self.manager() == manager
    }

    /// What distinguishes it from the other entries of an object.
    pub(crate) fn identity(&self) -> [&'a str; 3] {
        ["manager", "operation", "apiVersion"].map(|key| text(self.value, key))
    }
}

fn is_ours(entry: &Value) -> bool {
    let group = text(entry, "apiVersion").split_once('/').map(|(group, _)| group);
    group == Some(GROUP) && text(entry, "subresource").is_empty()
}

/// The entries of an object, including others'.
pub(crate) fn list(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The key of a bucket among an entry's fields.
pub(crate) fn scope_key(scope: ScopeKey) -> &'static str {
    match scope {
        ScopeKey::Global => "f:global",
        ScopeKey::Shared => "f:shared",
        ScopeKey::PerUser => "f:perUser",
    }
}

const ITEM: &str = r#"k:{"name":""#;

/// The name in the key of a list item. Encoders escape different characters, so names with escapes are decoded.
fn item_name(key: &str) -> Option<Cow<'_, str>> {
    if let Some(name) = key.strip_prefix(ITEM).and_then(|rest| rest.strip_suffix("\"}"))
        && !name.contains(['"', '\\'])
    {
        return Some(name.into());
    }
    let item: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    Some(item.get("name")?.as_str()?.to_owned().into())
}

/// Whether nothing in a key is escaped.
fn is_plain(key: &str) -> bool {
    key.starts_with(ITEM) && !key.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_known_by_their_decoded_name() {
        for (key, name) in [
            (r#"k:{"name":"search"}"#, Some("search")),
            (r#"k:{"name":"a\u003c\"0"}"#, Some("a<\"0")),
            (r#"k:{"name":"a<"}"#, Some("a<")),
            (r#"k:{"name": "spaced"}"#, Some("spaced")),
            (r#"k:{"name":7}"#, None),
            (r#"v:"search""#, None),
            ("f:search", None),
        ] {
            assert_eq!(item_name(key).as_deref(), name, "{key}");
        }
    }
}
