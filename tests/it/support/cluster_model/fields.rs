//! Sets of field paths, as structured-merge-diff keeps them: read from and written to `fieldsV1`, taken from an object, and the
//! difference of two objects.
//!
//! A path is the list of its serialised elements (`f:spec`, `k:{"name":"x"}`). Every map is granular, `rateLimiting.tools` is a map
//! keyed by `name`, every other list is one leaf.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

pub(super) type Path = Vec<String>;

/// Members only: owning `a.b` says nothing about `a`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeSet<Path>);

impl FieldSet {
    /// Every leaf of `object`, and every item of a keyed list: what an applied configuration owns.
    pub(super) fn of(object: &Value) -> Self {
        let mut set = Self::default();
        set.collect(object, &mut Path::new());
        set
    }

    fn collect(&mut self, value: &Value, path: &mut Path) {
        let Some(items) = children(value, path) else {
            self.insert(path);
            return;
        };
        for (element, child) in items {
            let is_item = !is_field(&element);
            path.push(element);
            self.collect(child, path);
            if is_item || child.as_object().is_some_and(Map::is_empty) {
                self.insert(path);
            }
            path.pop();
        }
    }

    /// Nobody owns the whole object, nor `metadata` as such.
    fn insert(&mut self, path: &Path) {
        if !path.is_empty() && *path != ["f:metadata"] {
            self.0.insert(path.clone());
        }
    }

    /// With every named field on the way to a member: the form in which sets are compared while pruning.
    pub(super) fn named(&self) -> Self {
        let parents = self.0.iter().flat_map(|path| (1..path.len()).map(|end| path[..end].to_vec()));
        let named = parents.filter(|parent| parent.last().is_some_and(|element| is_field(element)));
        Self(named.chain(self.0.iter().cloned()).collect())
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    fn has_below(&self, path: &Path) -> bool {
        let mut after = self.0.range::<Path, _>((Excluded(path), Unbounded));
        after.next().is_some_and(|next| next.starts_with(path))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }

    /// `object` without the members of this set. A container that loses its last child is left as null, as in the real one; one that
    /// should go is a member itself.
    pub(super) fn removed_from(&self, object: &Value) -> Value {
        match self.without(object, &mut Path::new()) {
            Value::Null => json!({}),
            rest => rest,
        }
    }

    fn without(&self, value: &Value, path: &mut Path) -> Value {
        let Some(items) = children(value, path) else {
            return if value.is_array() { Value::Null } else { value.clone() };
        };
        let mut kept = Vec::new();
        for (element, child) in items {
            path.push(element);
            if !self.has(path) {
                let rest = if self.has_below(path) { self.without(child, path) } else { child.clone() };
                kept.push((path.last().cloned().unwrap_or_default(), rest));
            }
            path.pop();
        }
        match value {
            _ if kept.is_empty() => Value::Null,
            Value::Object(_) => kept.into_iter().map(|(element, rest)| (field_name(&element).to_owned(), rest)).collect(),
            _ => kept.into_iter().map(|(_, rest)| rest).collect(),
        }
    }

    /// Reads `fieldsV1`. Elements of unknown kinds are skipped, malformed ones are errors.
    pub(super) fn decode(fields: &Value) -> Result<Self, String> {
        let mut set = Self::default();
        set.decode_below(fields, &mut Path::new())?;
        Ok(set)
    }

    /// Whether anything stood below `path`.
    fn decode_below(&mut self, fields: &Value, path: &mut Path) -> Result<bool, String> {
        let fields = match fields {
            Value::Null => return Ok(false),
            _ => fields.as_object().ok_or_else(|| format!("{}: not an object", display(path)))?,
        };
        let mut found = false;
        for (element, below) in fields.iter().filter(|(element, _)| *element != ".") {
            let Some(element) = checked_element(element)? else { continue };
            path.push(element);
            let has_children = self.decode_below(below, path)?;
            if !has_children || below.get(".").is_some() {
                self.insert(path);
            }
            path.pop();
            found = true;
        }
        Ok(found)
    }

    /// Writes `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        let mut root = Map::new();
        for path in &self.0 {
            encode_path(&mut root, path, self.has_below(path));
        }
        root.into()
    }
}

fn encode_path(node: &mut Map<String, Value>, path: &[String], has_children: bool) {
    match path {
        [] if has_children => drop(node.insert(".".to_owned(), json!({}))),
        [] => {}
        [element, rest @ ..] => {
            let below = node.entry(element.clone()).or_insert_with(|| json!({}));
            below.as_object_mut().into_iter().for_each(|below| encode_path(below, rest, has_children));
        }
    }
}

/// How a new object differs from an old one; no path is in two of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    pub(super) fn new(old: &Value, new: &Value) -> Self {
        let mut comparison = Self::default();
        comparison.walk(Some(old), Some(new), &mut Path::new());
        comparison
    }

    /// What takes a field away from whoever owned it.
    pub(super) fn taken(&self) -> FieldSet {
        self.modified.union(&self.added)
    }

    fn walk(&mut self, old: Option<&Value>, new: Option<&Value>, path: &mut Path) {
        let olds = old.and_then(|old| children(old, path)).unwrap_or_default();
        let news = new.and_then(|new| children(new, path)).unwrap_or_default();
        let leaf = olds.is_empty() && news.is_empty();
        for (element, before) in &olds {
            let after = news.iter().find(|(other, _)| other == element).map(|(_, after)| *after);
            self.walk_child(element, Some(before), after, path);
        }
        for (element, after) in news.iter().filter(|(element, _)| olds.iter().all(|(other, _)| other != element)) {
            self.walk_child(element, None, Some(after), path);
        }
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            (Some(old), Some(new)) if leaf && old != new => self.modified.insert(path),
            _ => {}
        }
    }

    fn walk_child(&mut self, element: &str, old: Option<&Value>, new: Option<&Value>, path: &mut Path) {
        path.push(element.to_owned());
        self.walk(old, new, path);
        path.pop();
    }
}

/// `live` overlaid with `config`, keyed lists item by item.
pub(super) fn merged(live: &Value, config: &Value) -> Value {
    merge_at(live, config, &mut Path::new())
}

fn merge_at(live: &Value, config: &Value, path: &mut Path) -> Value {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            let mut out = live.clone();
            for (name, value) in config {
                path.push(field(name));
                let value = live.get(name).map_or_else(|| value.clone(), |old| merge_at(old, value, path));
                path.pop();
                out.insert(name.clone(), value);
            }
            out.into()
        }
        (Value::Array(_), Value::Array(_)) if is_keyed_list(path) => merge_items(live, config, path),
        (_, Value::Null) if children(live, path).is_some_and(|items| !items.is_empty()) => live.clone(),
        _ => config.clone(),
    }
}

/// Items stand in the configuration's order; those that only the live list has stay before the common item they preceded.
fn merge_items(live: &Value, config: &Value, path: &mut Path) -> Value {
    let lives = children(live, path).unwrap_or_default();
    let configs = children(config, path).unwrap_or_default();
    let in_live = |element: &String| lives.iter().find(|(other, _)| other == element).map(|(_, item)| *item);
    let place_in_config = |element: &String| configs.iter().position(|(other, _)| other == element);
    let mut out = Vec::new();
    let (mut l, mut c) = (0, 0);
    while l < lives.len() || c < configs.len() {
        if let Some((element, item)) = lives.get(l) {
            let next_common = configs[c..].iter().find(|(element, _)| in_live(element).is_some());
            match place_in_config(element) {
                None => out.push((*item).clone()),
                // Merged already, or to be merged where the configuration has it.
                Some(_) if next_common.is_none_or(|(common, _)| common != element) => {}
                Some(place) => {
                    while c <= place {
                        out.push(merge_item(in_live(&configs[c].0), &configs[c], path));
                        c += 1;
                    }
                }
            }
            l += 1;
        } else {
            out.push(merge_item(in_live(&configs[c].0), &configs[c], path));
            c += 1;
        }
    }
    out.into()
}

fn merge_item(live: Option<&Value>, (element, item): &(String, &Value), path: &mut Path) -> Value {
    let Some(live) = live else { return (*item).clone() };
    path.push(element.clone());
    let merged = merge_at(live, item, path);
    path.pop();
    merged
}

/// The children of a granular value, in order; `None` for a leaf. Items without a name have no path and are left out.
fn children<'a>(value: &'a Value, path: &Path) -> Option<Vec<(String, &'a Value)>> {
    match value {
        Value::Object(map) => Some(map.iter().map(|(name, child)| (field(name), child)).collect()),
        Value::Array(items) if is_keyed_list(path) => {
            Some(items.iter().filter_map(|item| Some((format!("k:{}", json!({"name": item.get("name")?})), item))).collect())
        }
        _ => None,
    }
}

fn is_keyed_list(path: &Path) -> bool {
    matches!(path.as_slice(), [.., block, list] if block == "f:rateLimiting" && list == "f:tools")
}

fn field(name: &str) -> String {
    format!("f:{name}")
}

fn field_name(element: &str) -> &str {
    element.strip_prefix("f:").unwrap_or(element)
}

fn is_field(element: &str) -> bool {
    element.starts_with("f:")
}

/// The element in the server's own spelling; `None` for a kind that is not known (yet).
fn checked_element(element: &str) -> Result<Option<String>, String> {
    let (kind, rest) =
        element.split_once(':').filter(|(kind, _)| kind.len() == 1).ok_or_else(|| format!("{element}: not a path element"))?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|error| format!("{element}: {error}"));
    match kind {
        "f" => Ok(Some(element.to_owned())),
        "k" => match json()? {
            mut key @ Value::Object(_) => {
                key.sort_all_objects();
                Ok(Some(format!("k:{key}")))
            }
            _ => Err(format!("{element}: a key is an object")),
        },
        "v" => Ok(Some(format!("v:{}", json()?))),
        "i" => rest.parse::<i64>().map(|index| Some(format!("i:{index}"))).map_err(|error| format!("{element}: {error}")),
        _ => Ok(None),
    }
}

/// A path as the server prints it in a conflict: `.spec.rateLimiting.tools[name="x"].global`.
pub(super) fn display(path: &Path) -> String {
    path.iter().map(|element| display_element(element)).collect()
}

fn display_element(element: &str) -> String {
    match element.strip_prefix("k:").and_then(|key| serde_json::from_str::<Map<String, Value>>(key).ok()) {
        Some(key) => format!("[{}]", key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")),
        None => format!(".{}", field_name(element)),
    }
}
