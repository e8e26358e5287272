//! `metadata.managedFields`: who owns what, and what an update or an apply makes of it.

use super::clients::{LAST_APPLIED, last_applied};
use super::fields::{Comparison, FieldSet, Path, display, merged};
use super::{Crd, Refused};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The one moment at which everything happens.
pub(super) const TIME: &str = "2026-01-01T00:00:00Z";

/// In the order in which entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Who an entry belongs to; the derived order is the order of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    operation: Operation,
    name: String,
    /// Part of the identity of an updater, not of an applier.
    api_version: Option<String>,
    subresource: String,
}

impl Manager {
    /// A manager that writes `object` in that object's version.
    pub(super) fn new(name: &str, operation: Operation, object: &Value) -> Self {
        let api_version = (operation == Operation::Update).then(|| api_version(object));
        Self { operation, name: name.to_owned(), api_version, subresource: String::new() }
    }
}

#[derive(Clone, Debug)]
struct Owned {
    api_version: String,
    fields: FieldSet,
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed(BTreeMap<Manager, Owned>);

impl Managed {
    /// Refuses what the server calls invalid: it then ignores the whole list.
    pub(super) fn decode(entries: Option<&Value>) -> Result<Self, String> {
        let entries = match entries {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(entries) => entries.as_array().ok_or("managedFields: not a list")?,
        };
        entries.iter().map(decode_entry).collect::<Result<_, _>>().map(Self)
    }

    /// The list for the object; `None` when there is nothing to say.
    pub(super) fn encode(&self) -> Option<Value> {
        (!self.0.is_empty()).then(|| self.0.iter().map(|(manager, owned)| encode_entry(manager, owned)).collect())
    }

    /// The entries that a PUT or a patch starts from: those of the request, or of the live object when the request has none worth
    /// reading. An empty list, or a list of one empty entry, asks for a reset.
    fn of_request(live: Option<&Value>, object: &Value) -> Self {
        let requested = object["metadata"].get("managedFields");
        if requested.is_some_and(|entries| *entries == json!([]) || *entries == json!([{}])) {
            return Self::default();
        }
        match Self::decode(requested) {
            Ok(managed) if !managed.0.is_empty() => managed,
            _ => live.map(Self::of_live).unwrap_or_default(),
        }
    }

    fn of_live(live: &Value) -> Self {
        Self::decode(live["metadata"].get("managedFields")).unwrap_or_default()
    }

    fn fields(&self, manager: &Manager) -> FieldSet {
        self.0.get(manager).map(|owned| owned.fields.clone()).unwrap_or_default()
    }

    /// Everybody but `except` loses `fields`; entries left empty go.
    fn take(&mut self, fields: &FieldSet, except: Option<&Manager>) {
        self.0.retain(|manager, owned| {
            if Some(manager) != except {
                owned.fields = owned.fields.difference(fields);
            }
            !owned.fields.is_empty()
        });
    }
}

/// The entries after any write but an apply: what changed is the writer's, what went is nobody's.
pub(super) fn update(live: Option<&Value>, object: &Value, manager: &Manager) -> Managed {
    let managed = Managed::of_request(live, object);
    if live.is_some() && managed.0.is_empty() {
        // The server starts to track an existing object at its first apply only.
        return managed;
    }
    updated(managed, &live.map_or_else(|| json!({}), tracked), object, manager)
}

fn updated(mut managed: Managed, live: &Value, object: &Value, manager: &Manager) -> Managed {
    let change = Comparison::new(live, &tracked(object));
    let taken = change.taken();
    managed.take(&taken.union(&change.removed), None);
    if !taken.is_empty() {
        let fields = managed.fields(manager).union(&taken);
        managed.0.insert(manager.clone(), Owned { api_version: api_version(object), fields });
    }
    managed
}

/// A server-side apply: the new object, with the old one's managedFields still in it, and the new entries.
pub(super) fn apply(live: Option<&Value>, config: &Value, manager: &Manager, force: bool, crd: Crd) -> Result<(Value, Managed), Refused> {
    let base = live.cloned().unwrap_or_else(|| created(config));
    let mut managed = Managed::of_live(&base);
    if managed.0.is_empty() {
        managed = updated(managed, &json!({}), &base, &Manager::new("before-first-apply", Operation::Update, &base));
    }
    let by_kubectl = manager.name == "kubectl";
    let result = match merge(&base, config, &managed, manager, force) {
        Err(conflicts) if by_kubectl => {
            // kubectl may take over what its client-side apply has left, as long as that is still in the object.
            let allowed = intact_last_applied(&base, crd);
            let rest: Vec<_> = conflicts.into_iter().filter(|(_, path)| !allowed.has(path)).collect();
            if rest.is_empty() { merge(&base, config, &managed, manager, true) } else { Err(rest) }
        }
        result => result,
    };
    let (view, managed) = result.map_err(|conflicts| refused(&conflicts))?;
    let mut object = base;
    put_tracked(&mut object, view);
    if by_kubectl && object["metadata"]["annotations"].get(LAST_APPLIED).is_some() {
        object["metadata"]["annotations"][LAST_APPLIED] = last_applied(config.clone()).into();
    }
    Ok((object, managed))
}

type Conflicts = Vec<(String, Path)>;

fn merge(base: &Value, config: &Value, managed: &Managed, manager: &Manager, force: bool) -> Result<(Value, Managed), Conflicts> {
    let (live, said) = (tracked(base), tracked(config));
    let mut managed = managed.clone();
    let last = managed.fields(manager);
    managed.0.insert(manager.clone(), Owned { api_version: api_version(config), fields: FieldSet::of(&said) });
    let view = pruned(&merged(&live, &said), &last, &managed);
    let change = Comparison::new(&live, &view);
    let taken = change.taken();
    let conflicts: Conflicts = managed
        .0
        .iter()
        .filter(|(other, _)| *other != manager)
        .flat_map(|(other, owned)| {
            owned.fields.intersection(&taken).iter().map(|path| (other.name.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    managed.take(&taken.union(&change.removed), Some(manager));
    Ok((view, managed))
}

/// `merged` without what `last` owned and nobody owns now.
fn pruned(merged: &Value, last: &FieldSet, managed: &Managed) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let all = FieldSet::of(merged).named();
    let last = last.named();
    let owned = managed.0.values().fold(FieldSet::default(), |all, owned| all.union(&owned.fields)).named();
    let without_last = last.removed_from(merged);
    let without_unowned = all.difference(&FieldSet::of(&without_last).named().union(&owned)).removed_from(merged);
    all.difference(&FieldSet::of(&without_unowned).named()).intersection(&last).removed_from(merged)
}

/// The fields of the last client-side apply that the live object still has with the same values; none when that manifest does not
/// fit the CRD.
fn intact_last_applied(live: &Value, crd: Crd) -> FieldSet {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    match serde_json::from_str::<Value>(text) {
        Ok(applied) if applied["apiVersion"] == live["apiVersion"] && crd.check_config(&applied).is_ok() => {
            let (applied, live) = (tracked(&applied), tracked(live));
            let change = Comparison::new(&applied, &live);
            FieldSet::of(&applied).difference(&change.taken()).difference(&change.removed)
        }
        _ => FieldSet::default(),
    }
}

fn refused(conflicts: &Conflicts) -> Refused {
    let sorted = |all: BTreeSet<String>| all.into_iter().collect();
    Refused::Conflict {
        managers: sorted(conflicts.iter().map(|(manager, _)| manager.clone()).collect()),
        fields: sorted(conflicts.iter().map(|(_, path)| display(path)).collect()),
    }
}

/// The maps of `metadata` that are tracked.
const TRACKED_METADATA: [&str; 2] = ["annotations", "labels"];

/// The part of an object that managedFields speak about.
fn tracked(object: &Value) -> Value {
    let metadata: Map<_, _> =
        TRACKED_METADATA.into_iter().filter_map(|key| Some((key.to_owned(), object["metadata"].get(key)?.clone()))).collect();
    let mut view = Map::new();
    if !metadata.is_empty() {
        view.insert("metadata".to_owned(), metadata.into());
    }
    if let Some(spec) = object.get("spec") {
        view.insert("spec".to_owned(), spec.clone());
    }
    view.into()
}

fn put_tracked(object: &mut Value, mut view: Value) {
    let metadata = super::metadata_mut(object);
    for key in TRACKED_METADATA {
        super::put(metadata, key, view["metadata"].get_mut(key).map(Value::take));
    }
    if let Some(object) = object.as_object_mut() {
        super::put(object, "spec", view.get_mut("spec").map(Value::take));
    }
}

/// An object that a server-side apply is about to create, before its configuration is merged.
fn created(config: &Value) -> Value {
    let mut object = json!({"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {"name": config["metadata"]["name"]}});
    if let Some(namespace) = config["metadata"].get("namespace") {
        object["metadata"]["namespace"] = namespace.clone();
    }
    object
}

fn api_version(object: &Value) -> String {
    object["apiVersion"].as_str().unwrap_or_default().to_owned()
}

fn decode_entry(entry: &Value) -> Result<(Manager, Owned), String> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        other => return Err(format!("operation {other:?}: must be Apply or Update")),
    };
    if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
        return Err("apiVersion must not be empty, fieldsType must be FieldsV1".to_owned());
    }
    let owned = Owned { api_version: text("apiVersion"), fields: FieldSet::decode(&entry["fieldsV1"])? };
    let api_version = (operation == Operation::Update).then(|| owned.api_version.clone());
    Ok((Manager { operation, name: text("manager"), api_version, subresource: text("subresource") }, owned))
}

fn encode_entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = json!({
        "manager": manager.name,
        "operation": match manager.operation { Operation::Apply => "Apply", Operation::Update => "Update" },
        "apiVersion": owned.api_version,
        "time": TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields.encode(),
    });
    if !manager.subresource.is_empty() {
        entry["subresource"] = manager.subresource.clone().into();
    }
    entry
}
