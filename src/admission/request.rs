//! The request of an AdmissionReview (`admission.k8s.io/v1`), as far as it is used.

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, value::RawValue};

use super::{
    Record,
    decoded::{Decoded, whole},
    recovered_uid,
};

/// Why a review cannot be checked.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Not an AdmissionReview of a supported version, or one that cannot be answered.
    NoReview(String),
    /// An AdmissionReview with a uid, whose request cannot be decoded.
    Request { uid: String, why: String },
}

/// An AdmissionReview on the wire, with as much of its objects as `O` decodes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "O: Deserialize<'de> + Default")]
struct Review<O> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Incoming<O>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Incoming<O = Value> {
    pub(super) uid: String,
    pub(super) kind: GroupVersionKind,
    request_kind: Option<GroupVersionKind>,
    pub(super) sub_resource: String,
    name: String,
    namespace: String,
    pub(super) operation: String,
    pub(super) object: O,
    pub(super) old_object: O,
    dry_run: Option<bool>,
    #[serde(deserialize_with = "whole")]
    options: Value,
    /// Whether the object is being deleted, and the request leaves its spec unchanged.
    #[serde(skip)]
    pub(super) is_only_leaving: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupVersionKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

const API_VERSION: &str = "admission.k8s.io/v1";

/// Decodes what is used. Nothing is decoded of an object that is being deleted, as long as its spec is unchanged: removing the last
/// finalizer must not depend on whether an old spec can be decoded.
pub(super) fn decode(body: &[u8]) -> Result<Incoming, Unreadable> {
    let incoming = decode_as::<Decoded>(body);
    if incoming.as_ref().is_ok_and(|incoming| !incoming.is_leaving()) {
        return incoming;
    }
    let leaving = decode_objects::<Leaving>(body).ok().filter(|incoming| Leaving::keeps_its_spec(&incoming.object, &incoming.old_object));
    match leaving {
        Some(leaving) => Ok(Incoming { is_only_leaving: true, ..leaving.with(Value::Null, Value::Null) }),
        None => incoming,
    }
}

/// As much of an object as shows whether it is being deleted and unchanged. Texts are compared, and decoded only if they differ.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Leaving {
    metadata: Deletion,
    spec: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Deletion {
    deletion_timestamp: Option<IgnoredAny>,
}

impl Leaving {
    fn keeps_its_spec(new: &Option<Self>, old: &Option<Self>) -> bool {
        let (Some(new), Some(old)) = (new, old) else { return false };
        let text = |of: &Self| of.spec.as_ref().map(|spec| spec.get().to_owned());
        let value = |of: &Self| of.spec.as_ref().and_then(|spec| whole(&mut serde_json::Deserializer::from_str(spec.get())).ok());
        let is_same = text(new) == text(old) || value(new).is_some_and(|new| Some(new) == value(old));
        new.metadata.deletion_timestamp.is_some() && is_same
    }
}

pub(super) fn decode_as<O: DeserializeOwned + Default + Into<Value>>(body: &[u8]) -> Result<Incoming, Unreadable> {
    let mut incoming = decode_objects::<O>(body)?;
    let [object, old_object] = [&mut incoming.object, &mut incoming.old_object].map(|object| object.take().map_or(Value::Null, O::into));
    Ok(incoming.with(object, old_object))
}

fn decode_objects<O: DeserializeOwned>(body: &[u8]) -> Result<Incoming<Option<O>>, Unreadable> {
    let unreadable = |why: String| match recovered_uid::find(body) {
        Some(uid) => Unreadable::Request { uid, why: format!("the review cannot be decoded: {why}") },
        None if body.is_empty() => Unreadable::NoReview("the body is empty".to_owned()),
        None => Unreadable::NoReview(why),
    };
    // Over the whole body, so that it includes skipped parts too.
    let text = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    let review: Review<Option<O>> = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if review.kind != "AdmissionReview" || review.api_version != API_VERSION {
        let (version, kind) = (clip(&review.api_version), clip(&review.kind));
        return Err(Unreadable::NoReview(format!("it is {version:?} {kind:?}; register the webhook with admissionReviewVersions: [v1]")));
    }
    let request = review.request.ok_or_else(|| Unreadable::NoReview("request is missing".to_owned()))?;
    if request.uid.is_empty() {
        return Err(Unreadable::NoReview("request.uid is missing".to_owned()));
    }
    Ok(request)
}

/// The part of foreign text that an error repeats.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

impl<O> Incoming<O> {
    /// The same request with other objects.
    fn with(self, object: Value, old_object: Value) -> Incoming {
        let Self { uid, kind, request_kind, sub_resource, name, namespace, operation, dry_run, options, is_only_leaving, .. } = self;
        Incoming {
            uid,
            kind,
            request_kind,
            sub_resource,
            name,
            namespace,
            operation,
            object,
            old_object,
            dry_run,
            options,
            is_only_leaving,
        }
    }
}

impl Incoming {
    /// Whether the object is being deleted.
    fn is_leaving(&self) -> bool {
        self.object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
    }

    pub(super) fn record(&self) -> Record {
        Record {
            operation: ["CREATE", "UPDATE", "DELETE", "CONNECT"].into_iter().find(|name| *name == self.operation).unwrap_or_default(),
            namespace: clip(&self.namespace),
            name: self.name().chars().take(253).collect(),
            dry_run: self.dry_run.unwrap_or_default(),
            ..Record::default()
        }
    }

    /// The object's name; its `generateName` if it has none yet.
    pub(super) fn name(&self) -> &str {
        let from_object = |key| self.object.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
        if self.name.is_empty() { from_object("name").or_else(|| from_object("generateName")).unwrap_or_default() } else { &self.name }
    }

    /// The versions that the object passes through: its own, and the one that the client sent if the API server converted it.
    pub(super) fn versions(&self) -> Vec<&str> {
        let sent = self.request_kind.as_ref().filter(|sent| sent.group == self.kind.group && sent.version != self.kind.version);
        std::iter::once(self.kind.version.as_str()).chain(sent.map(|sent| sent.version.as_str())).collect()
    }

    /// `fieldManager` of the create, update or patch options.
    pub(super) fn manager(&self) -> Option<&str> {
        self.options.get("fieldManager").and_then(Value::as_str).filter(|manager| !manager.is_empty())
    }

    /// `force` of patch options; other options do not have it.
    pub(super) fn force(&self) -> Option<bool> {
        let is_patch = self.options.get("kind").and_then(Value::as_str) == Some("PatchOptions");
        is_patch.then(|| self.options.get("force").and_then(Value::as_bool).unwrap_or_default())
    }
}
