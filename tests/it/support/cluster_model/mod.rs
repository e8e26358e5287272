//! A small model of one custom object, the API server that holds it, and the clients that write it.
//!
//! A property test runs the same [`Op`]s on two [`Cluster`]s, one with the webhook under test and one with [`NoHook`] and
//! [`canonical`] operations, and compares [`limits`]. The objects are real JSON with real `metadata.managedFields`, because the
//! webhook edits them; ownership follows structured-merge-diff v6.3 and apiserver v0.36, read from their sources, and was compared
//! with a kube-apiserver v1.36.3 step by step over thousands of random sequences, with and without a mutating webhook.
//!
//! One request goes the way it goes in the real server: client (`clients`) -> decode and prune (`schema`) -> managed fields
//! (`ownership`, over the sets of `fields`) -> mutating hook -> schema -> validating hook -> store.
//!
//! Facts of the real server that are easy to get wrong, all modelled:
//! - A webhook never sees `PatchOptions` nor `force`: a PATCH, apply included, arrives with `UpdateOptions` (or `CreateOptions`
//!   when it creates). A client that names no field manager leaves `options.fieldManager` out.
//! - What a hook leaves in managedFields is kept when it decodes, else all of it is put back as it was before the hook.
//! - A path that an entry owns but the object lacks stays owned: only a path that a request removes, changes or adds is taken away.
//! - An apply that leaves nothing in a map which another manager owns as such yields `null` there; the hook sees the null, and a null
//!   that is still there afterwards is refused by the schema.
//! - The object of a PUT has no uid and no generation yet when the mutating hook sees it; nor has a new object.
//! - `kubectl apply` sends nothing at all when its patch is empty.
//! - A server-side apply that names a field unknown to the CRD is refused; everything else is pruned.
//!
//! Left out: conversion between versions (a sequence should stay in one), subresources, defaulting, CEL and ratcheting of the
//! schema, strict field validation, finalizers and owner references as tracked fields, the cap of ten Update entries, the clock (one constant time, so
//! entries of one operation sort by manager), optimistic locking, and kubectl's own follow-up requests after `apply --server-side`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a JSON value read by key is null where the key is missing, and a test may stop at an object that is no map"
)]

mod clients;
mod fields;
mod ownership;
mod schema;
#[cfg(test)]
mod tests;

use clients::{Call, Verb};
use ownership::{Managed, Manager, Operation};
use serde_json::{Map, Value, json};

pub use clients::{LAST_APPLIED, canonical};
pub use schema::{Crd, limits};

/// One thing that a client does to the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `kubectl create`.
    Create { manifest: Value },
    /// `kubectl apply`: a three-way JSON merge patch against the last-applied annotation.
    ClientApply { manifest: Value },
    /// A server-side apply, as by Flux, Argo CD, Helm 4 or `kubectl apply --server-side` (whose manager is `kubectl`).
    ServerApply { manifest: Value, manager: String, force: bool },
    /// A PUT of the manifest as it is; creates a missing object.
    Put { manifest: Value, manager: String },
    /// A controller PUTs the live object as it found it, as storage migrators do.
    PutBack,
    /// `kubectl patch --type=merge`, or a controller's merge patch.
    MergePatch { patch: Value, manager: String },
    /// Helm 3: the difference of two chart manifests, whatever is live; creates a missing object from `next`.
    HelmUpgrade { previous: Value, next: Value },
    /// `kubectl label`.
    Label { key: String, value: String },
}

/// What an admission webhook is given, in its review's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `CREATE` or `UPDATE`.
    pub operation: &'static str,
    pub object: Value,
    pub old_object: Option<Value>,
    /// `CreateOptions` or `UpdateOptions`, with `fieldManager` when the client named one.
    pub options: Value,
}

/// The webhook under test: `Err` refuses the request.
pub trait Hook {
    fn mutate(&self, request: &Request) -> Result<Value, String>;
    /// `request.object` is what [`Hook::mutate`] returned.
    fn validate(&self, request: &Request) -> Result<(), String>;
}

/// No webhook at all: the oracle's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHook;

impl Hook for NoHook {
    fn mutate(&self, request: &Request) -> Result<Value, String> {
        Ok(request.object.clone())
    }

    fn validate(&self, _: &Request) -> Result<(), String> {
        Ok(())
    }
}

/// What came of an accepted operation; the object itself is [`Cluster::live`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// False for a no-op: the resourceVersion stands.
    pub changed: bool,
    /// What the mutating hook was asked; `None` when the client had nothing to send.
    pub request: Option<Request>,
    /// The hook left managedFields that do not decode, and the server put the old ones back.
    pub managed_fields_reset: bool,
}

/// Why an operation was refused; the store is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NotFound,
    AlreadyExists,
    /// A server-side apply without force met fields of other managers; both lists are sorted.
    Conflict {
        managers: Vec<String>,
        fields: Vec<String>,
    },
    /// The object does not fit the CRD; says where.
    Schema(String),
    /// A hook said no, with its own words.
    Denied(String),
}

/// One namespace with room for one object, and the webhook in front of it.
#[derive(Clone, Debug)]
pub struct Cluster<H> {
    /// The installed schema; may change between operations, as a CRD upgrade does.
    pub crd: Crd,
    hook: H,
    /// As written, with keys that the schema of the day may not know.
    stored: Option<Value>,
    writes: u64,
}

impl<H: Hook> Cluster<H> {
    pub fn new(crd: Crd, hook: H) -> Self {
        Self { crd, hook, stored: None, writes: 0 }
    }

    /// The same store behind another webhook: installed late, upgraded, or gone.
    pub fn with_hook<G: Hook>(self, hook: G) -> Cluster<G> {
        Cluster { crd: self.crd, hook, stored: self.stored, writes: self.writes }
    }

    /// The object as every reader sees it.
    pub fn live(&self) -> Option<Value> {
        let mut object = self.stored.clone()?;
        self.crd.decode(&mut object);
        Some(object)
    }

    pub fn run(&mut self, op: &Op) -> Result<Outcome, Refused> {
        let live = self.live();
        match clients::call(op, live.as_ref())? {
            Some(call) => self.serve(&call, live),
            None => Ok(Outcome { changed: false, request: None, managed_fields_reset: false }),
        }
    }

    fn serve(&mut self, call: &Call, live: Option<Value>) -> Result<Outcome, Refused> {
        let request = Request {
            operation: if live.is_none() { "CREATE" } else { "UPDATE" },
            object: self.proposed(call, live.as_ref())?,
            options: options(call, live.is_none()),
            old_object: live,
        };
        let mut object = self.hook.mutate(&request).map_err(Refused::Denied)?;
        let managed_fields_reset = Managed::decode(managed_fields(&object)).is_err();
        if managed_fields_reset {
            set_managed_fields(&mut object, managed_fields(&request.object).cloned());
        }
        prepare(&mut object, request.old_object.as_ref());
        self.crd.check(&object)?;
        let reviewed = Request { object, ..request.clone() };
        self.hook.validate(&reviewed).map_err(Refused::Denied)?;
        let changed = self.store(reviewed.object);
        Ok(Outcome { changed, request: Some(request), managed_fields_reset })
    }

    /// The object that the request asks for, with its managed fields, as the mutating hook sees it.
    fn proposed(&self, call: &Call, live: Option<&Value>) -> Result<Value, Refused> {
        let mut object = match (&call.verb, live) {
            (Verb::Apply { config, force }, live) => return self.applied(config, &call.manager, *force, live),
            (Verb::Create(_), Some(_)) => return Err(Refused::AlreadyExists),
            (Verb::MergePatch(_), None) => return Err(Refused::NotFound),
            (Verb::Create(manifest) | Verb::Put(manifest), live) => put_object(manifest, live),
            (Verb::MergePatch(patch), Some(live)) => {
                let mut object = live.clone();
                json_patch::merge(&mut object, patch);
                object
            }
        };
        self.crd.decode(&mut object);
        let managed = ownership::update(live, &object, &Manager::new(&call.manager, Operation::Update, &object));
        set_managed_fields(&mut object, managed.encode());
        Ok(object)
    }

    fn applied(&self, config: &Value, manager: &str, force: bool, live: Option<&Value>) -> Result<Value, Refused> {
        self.crd.check_config(config)?;
        let manager = Manager::new(manager, Operation::Apply, config);
        let (mut object, managed) = ownership::apply(live, config, &manager, force, self.crd)?;
        schema::drop_empty_metadata(&mut object);
        set_managed_fields(&mut object, managed.encode());
        Ok(object)
    }

    /// Whether there was anything to write. What is compared is the storage itself: keys pruned since then are a change.
    fn store(&mut self, mut object: Value) -> bool {
        if self.stored.as_ref() == Some(&object) {
            return false;
        }
        self.writes += 1;
        object["metadata"]["resourceVersion"] = json!(self.writes.to_string());
        self.stored = Some(object);
        true
    }
}

/// The server's options as an admission review carries them: never `PatchOptions`, never `force`.
fn options(call: &Call, creates: bool) -> Value {
    let kind = if creates { "CreateOptions" } else { "UpdateOptions" };
    let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
    if call.names_manager {
        options["fieldManager"] = json!(call.manager);
    }
    options
}

const UID: &str = "00000000-0000-4000-8000-000000000001";
/// A client cannot change these.
const SYSTEM_FIELDS: [&str; 3] = ["uid", "creationTimestamp", "deletionTimestamp"];

/// A PUT carries what its client wrote; kubectl adds the resourceVersion it read, the other system fields come back after the hook.
fn put_object(manifest: &Value, live: Option<&Value>) -> Value {
    let mut object = manifest.clone();
    put(metadata_mut(&mut object), "resourceVersion", live.map(|live| live["metadata"]["resourceVersion"].clone()));
    object
}

/// What the server does between the two webhooks.
fn prepare(object: &mut Value, live: Option<&Value>) {
    let generation = match live {
        None => 1,
        Some(live) => live["metadata"]["generation"].as_u64().unwrap_or(0) + u64::from(!same_but_metadata(object, live)),
    };
    let created = json!({"metadata": {"uid": UID, "creationTimestamp": ownership::TIME}});
    let metadata = metadata_mut(object);
    for field in SYSTEM_FIELDS {
        put(metadata, field, live.unwrap_or(&created)["metadata"].get(field).cloned());
    }
    put(metadata, "generation", Some(json!(generation)));
}

fn same_but_metadata(a: &Value, b: &Value) -> bool {
    let body = |object: &Value| {
        let mut body = object.as_object().cloned().unwrap_or_default();
        put(&mut body, "metadata", None);
        body
    };
    body(a) == body(b)
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object["metadata"].get("managedFields")
}

fn set_managed_fields(object: &mut Value, entries: Option<Value>) {
    put(metadata_mut(object), "managedFields", entries);
}

fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata.as_object_mut().expect("made an object just above")
}

/// Sets a key, or removes it; the order of the others stays.
fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(key.to_owned(), value)),
        None => map.retain(|other, _| other != key),
    }
}
