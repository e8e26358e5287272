//! Which bucket names the installed CRDs have.
//!
//! A CRD without `global` drops it silently when the object is read back, and the limit is lost; so the rename checks here first. The
//! schemas come from the OpenAPI v3 documents of the API server, one for each version of the group.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    GROUP,
    path::{FieldPath, Step},
    subject::{Kind, ScopeKey, TOOLS},
};

/// Whether an object with `global` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobalKey {
    /// The CRD has the key.
    Kept,
    /// The CRD drops the key.
    Dropped,
    /// The CRD has not been read.
    Unread,
}

/// The location of a bucket: a place of a kind, at the server level or in a tool entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Index into [`Kind::places`].
    pub place: usize,
    /// In an entry of `tools`, not at the server level.
    pub in_tool: bool,
}

/// A field of the limits that tollgate knows and an installed CRD drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The kind.
    pub kind: Kind,
    /// The version.
    pub version: String,
    /// The field; in every entry, if the path includes a list.
    pub path: FieldPath,
}

/// A version of the group, and a kind that is described in it.
pub type Described = (String, Kind);

/// What is known of the installed CRDs.
#[derive(Clone, Debug)]
pub struct Schema(Source);

#[derive(Clone, Debug)]
enum Source {
    /// Configured by a flag.
    Assumed(GlobalKey),
    /// For each location, whether `global` is kept. A kind that is not described in a version is unread there.
    Installed(BTreeMap<Described, BTreeMap<Location, bool>>),
}

impl Schema {
    /// Every CRD has both keys, or none has `global`, as configured.
    pub fn assuming(has_global: bool) -> Self {
        Self(Source::Assumed(if has_global { GlobalKey::Kept } else { GlobalKey::Dropped }))
    }

    /// Nothing is known yet.
    pub fn unread() -> Self {
        Self(Source::Assumed(GlobalKey::Unread))
    }

    /// Parses OpenAPI v3 documents, by version of the group.
    pub fn installed<'a>(documents: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut known = BTreeMap::new();
        for (version, document) in documents {
            for kind in Kind::ALL {
                if let Some(root) = component(document, version, kind) {
                    known.insert((version.to_owned(), kind), locations(root, kind));
                }
            }
        }
        Self(Source::Installed(known))
    }

    /// What is described here, and not in a newer reading.
    pub fn missing_in(&self, newer: &Self) -> Vec<Described> {
        let missing = self.described().filter(|described| newer.described().all(|newer| newer != *described));
        missing.cloned().collect()
    }

    /// This reading, supplemented by parts of an older one.
    #[must_use]
    pub fn with(mut self, older: &Self, kept: &[Described]) -> Self {
        if let (Source::Installed(known), Source::Installed(older)) = (&mut self.0, &older.0) {
            known.extend(kept.iter().filter_map(|described| Some((described.clone(), older.get(described)?.clone()))));
        }
        self
    }

    fn described(&self) -> impl Iterator<Item = &Described> {
        let known = match &self.0 {
            Source::Assumed(_) => None,
            Source::Installed(known) => Some(known),
        };
        known.into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether `global` is kept at one location of a kind in a version.
    pub fn global_key(&self, kind: Kind, version: &str, at: Location) -> GlobalKey {
        match &self.0 {
            Source::Assumed(key) => *key,
            Source::Installed(known) => match known.get(&(version.to_owned(), kind)).and_then(|known| known.get(&at)) {
                Some(true) => GlobalKey::Kept,
                Some(false) => GlobalKey::Dropped,
                None => GlobalKey::Unread,
            },
        }
    }
}

/// Whether `global` is kept, at each location of a kind.
fn locations(root: &Value, kind: Kind) -> BTreeMap<Location, bool> {
    let levels = kind.places().iter().enumerate().flat_map(|(place, keys)| {
        let block = keys.iter().try_fold(root, |schema, key| property(schema, key));
        let tool = block.and_then(|block| property(block, TOOLS)).and_then(|tools| tools.get("items"));
        [(false, block), (true, tool)].map(|(in_tool, level)| (Location { place, in_tool }, level.is_some_and(keeps_global)))
    });
    levels.collect()
}

/// The fields of the limits that the CRDs drop, according to the OpenAPI v3 documents of the group's versions. If a kind has no limits at
/// one place, nothing is reported there, as long as it has them at another.
pub fn dropped<'a>(documents: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Vec<Dropped> {
    let mut found = Vec::new();
    for (version, document) in documents {
        for kind in Kind::ALL {
            let Some(root) = component(document, version, kind) else { continue };
            let paths = dropped_by(root, kind);
            found.extend(paths.into_iter().map(|path| Dropped { kind, version: version.to_owned(), path }));
        }
    }
    found
}

fn dropped_by(root: &Value, kind: Kind) -> Vec<FieldPath> {
    let places = || kind.places().iter().map(|keys| FieldPath::new(keys.iter().copied()));
    let mut blocks = places().filter_map(|path| Some((at(root, &path)?, path))).peekable();
    if blocks.peek().is_none() {
        let keeps_anything = property(root, "spec").is_some_and(keeps_unknown);
        return places().take(usize::from(!keeps_anything)).collect();
    }
    let mut dropped = Vec::new();
    for (block, path) in blocks {
        let known = [ScopeKey::Global.key(), ScopeKey::PerUser.key(), TOOLS];
        dropped.extend(known.into_iter().filter(|key| !keeps(block, key)).map(|key| path.key(key)));
        if let Some(tool) = property(block, TOOLS).and_then(|tools| tools.get("items")) {
            let path = path.key(TOOLS);
            let known = [ScopeKey::Global.key(), ScopeKey::PerUser.key()];
            dropped.extend(known.into_iter().filter(|key| !keeps(tool, key)).map(|key| path.key(key)));
        }
    }
    dropped
}

/// Whether a document describes a kind at all.
pub fn describes(document: &Value, version: &str, kind: Kind) -> bool {
    component(document, version, kind).is_some()
}

/// Whether a CRD merges conditions by their type, so that a manager that applies one leaves the others unchanged. Otherwise the whole list
/// belongs to the manager that applies it.
pub fn merges_conditions(document: &Value, version: &str, kind: Kind) -> bool {
    let conditions = component(document, version, kind).and_then(|root| at(root, &FieldPath::new(["status", "conditions"])));
    conditions.is_some_and(|conditions| {
        let is = |key: &str, value: Value| conditions.get(key) == Some(&value);
        is("x-kubernetes-list-type", "map".into()) && is("x-kubernetes-list-map-keys", serde_json::json!(["type"]))
    })
}

/// The schema at a path of keys, if it is declared.
fn at<'a>(root: &'a Value, path: &FieldPath) -> Option<&'a Value> {
    path.steps().iter().try_fold(root, |schema, step| match step {
        Step::Key(key) => property(schema, key),
        Step::Index(_) => schema.get("items"),
    })
}

/// Whether a level keeps a key.
fn keeps(level: &Value, key: &str) -> bool {
    keeps_unknown(level) || property(level, key).is_some()
}

fn keeps_unknown(level: &Value) -> bool {
    level.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true)
}

/// The schema of a kind: the component that carries its group, version and kind.
fn component<'a>(document: &'a Value, version: &str, kind: Kind) -> Option<&'a Value> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let gvks = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        gvks.iter().any(|gvk| {
            let says = |key: &str, value: &str| gvk.get(key).and_then(Value::as_str) == Some(value);
            says("group", GROUP) && says("version", version) && says("kind", kind.name())
        })
    })
}

fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(key)
}

/// A level keeps both names if it declares both, or preserves unknown fields.
fn keeps_global(level: &Value) -> bool {
    [ScopeKey::Global, ScopeKey::Shared].iter().all(|scope| keeps(level, scope.key()))
}

/// The versions of a CRD of ours, each with an OpenAPI document that describes it; none of another CRD.
pub fn documents_of(crd: &Value) -> Vec<(String, Value)> {
    let text = |pointer| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = Kind::from_name(text("/spec/names/kind")).filter(|_| text("/spec/group") == GROUP) else { return Vec::new() };
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let described = versions.filter_map(|version| {
        let (name, schema) = (version.get("name")?.as_str()?, version.pointer("/schema/openAPIV3Schema")?);
        let mut schema = schema.clone();
        let gvk = json!([{"group": GROUP, "version": name, "kind": kind.name()}]);
        schema.as_object_mut()?.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
        Some((name.to_owned(), json!({"components": {"schemas": {kind.name(): schema}}})))
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(server: &Value, tool: &Value) -> Value {
        json!({"components": {"schemas": {"dev.stacklok.toolhive.v1beta1.MCPServer": {
            "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1beta1", "kind": "MCPServer"}],
            "properties": {"spec": {"properties": {"rateLimiting": {"properties": {
                "shared": {}, "global": server, "tools": {"items": {"properties": {"shared": {}, "global": tool}}},
            }}}}},
        }}}})
    }

    const SERVER: Location = Location { place: 0, in_tool: false };
    const TOOL: Location = Location { place: 0, in_tool: true };

    #[test]
    fn both_levels_are_read() {
        let mut doc = document(&json!({}), &json!({}));
        let tool_properties = "/components/schemas/dev.stacklok.toolhive.v1beta1.MCPServer/properties/spec/properties/rateLimiting/properties/tools/items/properties";
        doc.pointer_mut(tool_properties).and_then(Value::as_object_mut).expect("built above").remove("global");
        let schema = Schema::installed([("v1beta1", &doc)]);
        assert_eq!(schema.global_key(Kind::McpServer, "v1beta1", SERVER), GlobalKey::Kept);
        assert_eq!(schema.global_key(Kind::McpServer, "v1beta1", TOOL), GlobalKey::Dropped);
    }

    #[test]
    fn dropped_fields_are_reported_by_path() {
        let paths = |document: &Value| {
            let found = dropped([("v1beta1", document)]);
            found.iter().map(|dropped| format!("{} {} {}", dropped.kind.name(), dropped.version, dropped.path)).collect::<Vec<_>>()
        };
        let mut doc = document(&json!({}), &json!({}));
        let limits = "/components/schemas/dev.stacklok.toolhive.v1beta1.MCPServer/properties/spec/properties";
        assert_eq!(paths(&doc), ["MCPServer v1beta1 spec.rateLimiting.perUser", "MCPServer v1beta1 spec.rateLimiting.tools.perUser"]);
        doc.pointer_mut(limits).expect("built above")["rateLimiting"] = json!({"x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(paths(&doc), [""; 0]);
        *doc.pointer_mut(limits).expect("built above") = json!({"image": {}});
        assert_eq!(paths(&doc), ["MCPServer v1beta1 spec.rateLimiting"], "limits are not known at all");
    }

    #[test]
    fn conditions_merge_where_the_definition_says_by_what() {
        let mut doc = document(&json!({}), &json!({}));
        let properties = "/components/schemas/dev.stacklok.toolhive.v1beta1.MCPServer/properties";
        let mut merges = |conditions: Value| {
            doc.pointer_mut(properties).expect("built above")["status"] = json!({"properties": {"conditions": conditions}});
            merges_conditions(&doc, "v1beta1", Kind::McpServer)
        };
        assert!(merges(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})));
        assert!(!merges(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type", "reason"]})));
        assert!(!merges(json!({"type": "array"})));
    }

    #[test]
    fn what_a_newer_reading_lacks_may_be_kept() {
        let doc = document(&json!({}), &json!({}));
        let (full, empty) = (Schema::installed([("v1beta1", &doc)]), Schema::installed([]));
        let missing = full.missing_in(&empty);
        assert_eq!(missing, [("v1beta1".to_owned(), Kind::McpServer)]);
        assert_eq!(full.missing_in(&full), []);
        assert_eq!(empty.missing_in(&full), []);
        assert_eq!(Schema::unread().missing_in(&empty), []);
        assert_eq!(Schema::assuming(true).missing_in(&empty), []);
        assert_eq!(empty.clone().with(&full, &missing).global_key(Kind::McpServer, "v1beta1", TOOL), GlobalKey::Kept);
        assert_eq!(empty.with(&full, &[]).global_key(Kind::McpServer, "v1beta1", TOOL), GlobalKey::Unread);
    }

    #[test]
    fn undescribed_kinds_are_unread() {
        let doc = document(&json!({}), &json!({}));
        let schema = Schema::installed([("v1beta1", &doc)]);
        assert_eq!(schema.global_key(Kind::McpServer, "v1alpha1", SERVER), GlobalKey::Unread);
        assert_eq!(schema.global_key(Kind::VirtualMcpServer, "v1beta1", SERVER), GlobalKey::Unread);
        assert_eq!(Schema::unread().global_key(Kind::McpServer, "v1beta1", SERVER), GlobalKey::Unread);
    }
}
