//! What the CRD that will be installed makes of an object: the fields that it drops, and its own rules.
//!
//! As the API server does it: fields that the schema lacks are dropped first, defaults filled in, then the CEL rules asked. Types,
//! patterns and bounds of the schema are left to the API server.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    cel::{Judge, Rules},
    prune::prune,
};
use crate::{
    model::{
        GROUP,
        path::{FieldPath, Step},
        problem::Problem,
        subject::Kind,
    },
    report::{Finding, Severity},
};

/// The CRDs to judge against.
#[derive(Debug, Default)]
pub struct Crds {
    by_kind_and_version: HashMap<(Kind, String), Crd>,
    judge: Judge,
}

#[derive(Debug)]
struct Crd {
    schema: Value,
    rules: Rules,
}

impl Crds {
    /// Whether the CRD of an object keeps `global` beside a `shared` at this path; `None` without such a CRD.
    pub fn keep_global(&self, kind: Kind, version: &str, shared: &FieldPath) -> Option<bool> {
        let crd = self.by_kind_and_version.get(&(kind, version.to_owned()))?;
        let (_, level) = shared.steps().split_last()?;
        let level = level.iter().try_fold(&crd.schema, |schema, step| match step {
            Step::Key(key) => schema.get("properties")?.get(key.as_ref()),
            Step::Index(_) => schema.get("items"),
        });
        let keeps_unknown = |level: &Value| level.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        Some(level.is_some_and(|level| keeps_unknown(level) || level.pointer("/properties/global").is_some()))
    }

    /// Takes the versions of a CRD of ours that are served; returns whether it is one of ours.
    pub fn add(&mut self, crd: &Value) -> bool {
        let text = |pointer| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = Kind::from_name(text("/spec/names/kind"));
        let Some(kind) = kind.filter(|_| text("/kind") == "CustomResourceDefinition" && text("/spec/group") == GROUP) else { return false };
        for version in crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
            let is_served = version.get("served") != Some(&Value::Bool(false));
            let schema = version.pointer("/schema/openAPIV3Schema").filter(|_| is_served);
            if let (Some(name), Some(schema)) = (version.get("name").and_then(Value::as_str), schema) {
                let crd = Crd { schema: schema.clone(), rules: Rules::of(schema) };
                self.by_kind_and_version.insert((kind, name.to_owned()), crd);
            }
        }
        true
    }

    /// What the CRD of an object makes of it.
    pub fn judge(&self, kind: Kind, version: &str, object: &Value) -> Vec<Finding> {
        let Some(crd) = self.by_kind_and_version.get(&(kind, version.to_owned())) else {
            let mut known: Vec<_> =
                self.by_kind_and_version.keys().filter(|(of, _)| *of == kind).map(|(_, version)| version.as_str()).collect();
            known.sort_unstable();
            return vec![unserved(kind, version, &known)];
        };
        let (pruned, dropped) = prune(&crd.schema, object);
        dropped.into_iter().map(lost).chain(self.judge.broken(&crd.rules, kind, version, &pruned)).collect()
    }
}

fn unserved(kind: Kind, version: &str, known: &[&str]) -> Finding {
    let path = FieldPath::new(["apiVersion"]);
    if known.is_empty() {
        let problem = Problem::new(format!("no CRD of {} was found", kind.name())).advice("name it with --crd");
        return Finding { severity: Severity::Unreadable, ..Finding::new("crd-version", problem).on(path) };
    }
    let problem = Problem::new(format!("the CRD does not serve {version}")).advice(format!("write {}", known.join(" or ")));
    Finding::new("crd-version", problem).on(path)
}

fn lost(path: FieldPath) -> Finding {
    let problem = Problem::new("the CRD has no such field, and the API server drops it without a word");
    Finding::new("crd-pruned", problem.advice("remove it, or install a CRD that has it")).on(path)
}
