//! What the CRD knows: which bucket keys exist, what a bucket must hold, and what the limits of an object are.

use super::{Refused, put};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where limits may stand in an object.
const PLACES: [(&str, &str); 2] = [("spec.rateLimiting", "/spec/rateLimiting"), ("spec.config.rateLimiting", "/spec/config/rateLimiting")];
const BUCKETS: [&str; 3] = ["global", "shared", "perUser"];

type Holder = Map<String, Value>;

/// The installed schema, as far as the alias is concerned; `perUser` is always known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crd {
    pub has_global: bool,
    pub has_shared: bool,
}

impl Crd {
    /// In the middle of the rename.
    pub const BOTH: Self = Self { has_global: true, has_shared: true };
    /// Before the rename.
    pub const SHARED_ONLY: Self = Self { has_global: false, has_shared: true };

    fn knows(self, bucket: &str) -> bool {
        match bucket {
            "global" => self.has_global,
            "shared" => self.has_shared,
            _ => true,
        }
    }

    fn unknown(self) -> impl Iterator<Item = &'static str> {
        BUCKETS.into_iter().filter(move |bucket| !self.knows(bucket))
    }

    /// What reading a request or the storage does: unknown bucket keys and nulls go, and so do empty annotations and labels.
    pub(super) fn decode(self, object: &mut Value) {
        each_holder(object, &mut |holder| self.unknown().for_each(|bucket| put(holder, bucket, None)));
        if let Some(object) = object.as_object_mut() {
            let mut spec = object.get_mut("spec").map(Value::take).unwrap_or_default();
            drop_nulls(&mut spec);
            put(object, "spec", Some(spec).filter(|spec| !spec.is_null()));
        }
        drop_empty_metadata(object);
    }

    /// An applied configuration is typed before it is merged: it is refused where other writes are pruned.
    pub(super) fn check_config(self, config: &Value) -> Result<(), Refused> {
        let mut found = None;
        each_holder(&mut config.clone(), &mut |holder| found = found.or(self.unknown().find(|bucket| holder.contains_key(*bucket))));
        if let Some(bucket) = found {
            return Err(Refused::Schema(format!(".{bucket}: field not declared in schema")));
        }
        if !config["metadata"]["managedFields"].is_null() {
            return Err(Refused::Schema("metadata.managedFields must be nil".to_owned()));
        }
        blocks(config).try_for_each(|(place, block)| tools(block, place).map(drop))
    }

    /// The schema's verdict on what is about to be stored: no field is nullable, buckets are whole, tools have names of their own.
    pub(super) fn check(self, object: &Value) -> Result<(), Refused> {
        if let Some(place) = object.get("spec").and_then(|spec| find_null(spec, "spec")) {
            return Err(Refused::Schema(format!("{place}: must not be null")));
        }
        for (place, block) in blocks(object) {
            self.check_buckets(block, place)?;
            for (name, tool) in tools(block, place)? {
                self.check_buckets(tool, &format!("{place}.tools[{name}]"))?;
            }
        }
        Ok(())
    }

    fn check_buckets(self, holder: &Value, place: &str) -> Result<(), Refused> {
        if !holder.is_object() {
            return Err(Refused::Schema(format!("{place}: must be an object")));
        }
        for (key, bucket) in BUCKETS.into_iter().filter(|key| self.knows(key)).filter_map(|key| Some((key, holder.get(key)?))) {
            if !bucket["maxTokens"].is_i64() || !bucket["refillPeriod"].is_string() {
                return Err(Refused::Schema(format!("{place}.{key}: must have an integer maxTokens and a refillPeriod")));
            }
        }
        Ok(())
    }
}

/// The limits that an object asks for, as `{place: {global, perUser, tools: {name: {global, perUser}}}}`, with `shared` read as
/// `global` where `global` is absent. What holds no bucket limits nothing and is left out.
pub fn limits(object: &Value) -> Value {
    let of_place = |(place, block): (&str, &Value)| {
        let mut found = effective(block);
        let tools = tools(block, place).unwrap_or_default();
        let mut tools: Vec<_> = tools.into_iter().map(|(name, tool)| (name.to_owned(), effective(tool))).collect();
        tools.retain(|(_, buckets)| !buckets.is_empty());
        tools.sort_by(|(a, _), (b, _)| a.cmp(b));
        if !tools.is_empty() {
            let tools: Holder = tools.into_iter().map(|(name, buckets)| (name, buckets.into())).collect();
            found.insert("tools".to_owned(), tools.into());
        }
        (!found.is_empty()).then(|| (place.to_owned(), Value::from(found)))
    };
    Value::Object(blocks(object).filter_map(of_place).collect())
}

fn effective(holder: &Value) -> Holder {
    let bucket = |key: &str| holder.get(key).filter(|bucket| !bucket.is_null()).cloned();
    let mut found = Holder::new();
    put(&mut found, "global", bucket("global").or_else(|| bucket("shared")));
    put(&mut found, "perUser", bucket("perUser"));
    found
}

/// The `rateLimiting` blocks that are there, null ones included.
fn blocks(object: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    PLACES.into_iter().filter_map(|(place, pointer)| Some((place, object.pointer(pointer)?)))
}

/// The tools of a block by name: a list-map, whose items must have one, each a different one.
fn tools<'a>(block: &'a Value, place: &str) -> Result<Vec<(&'a str, &'a Value)>, Refused> {
    let refused = |fault: &str| Refused::Schema(format!("{place}.tools: {fault}"));
    let items = match block.get("tools") {
        None => return Ok(Vec::new()),
        Some(tools) => tools.as_array().ok_or_else(|| refused("must be a list"))?,
    };
    let mut names = BTreeSet::new();
    let named = |item: &'a Value| {
        let name = item["name"].as_str().ok_or_else(|| refused("name: required value"))?;
        if names.insert(name) { Ok((name, item)) } else { Err(refused("duplicate value")) }
    };
    items.iter().map(named).collect()
}

/// Every map of an object or of a patch in which buckets can stand.
pub(super) fn each_holder(object: &mut Value, visit: &mut impl FnMut(&mut Holder)) {
    for (_, pointer) in PLACES {
        let Some(block) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { continue };
        visit(block);
        let tools = block.get_mut("tools").and_then(Value::as_array_mut);
        tools.into_iter().flatten().filter_map(Value::as_object_mut).for_each(&mut *visit);
    }
}

fn find_null(value: &Value, place: &str) -> Option<String> {
    match value {
        Value::Null => Some(place.to_owned()),
        Value::Object(map) => map.iter().find_map(|(key, value)| find_null(value, &format!("{place}.{key}"))),
        Value::Array(items) => items.iter().find_map(|item| find_null(item, &format!("{place}[]"))),
        _ => None,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

pub(super) fn drop_empty_metadata(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        metadata.retain(|key, value| !matches!(key.as_str(), "annotations" | "labels") || !empty(value));
    }
}
