//! What the CRD that will be installed makes of an object: the fields that it drops, and its own rules.
//!
//! As the API server does it: fields that the schema lacks are dropped first, defaults filled in, then the CEL rules asked. Types,
//! patterns and bounds of the schema are left to the API server.

mod prune;
mod rules;

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use self::{
    prune::prune,
    rules::{Judge, Rules},
};
use crate::{
    cli::{
        inputs::{Input, expand},
        runtime::run,
    },
    cluster::Access,
    manifest::objects,
    model::{
        GROUP,
        path::{FieldPath, Step},
        schema::Schema,
        subject::Kind,
    },
    report::{Finding, Severity},
};

/// What stands for the installed CRDs on the command line.
const CLUSTER: &str = "cluster";

/// The CRDs to judge against.
#[derive(Debug)]
pub(super) struct Crds {
    by_kind_and_version: HashMap<(Kind, String), Crd>,
    judge: Judge,
}

#[derive(Debug)]
struct Crd {
    schema: Value,
    rules: Rules,
}

impl Crds {
    /// From files, or from the cluster where that is named.
    pub(super) fn load(named: &[PathBuf], access: &Access) -> anyhow::Result<Self> {
        let mut crds = Self { by_kind_and_version: HashMap::new(), judge: Judge::new() };
        for name in named {
            let found = documents(name, access)?;
            if !found.iter().map(|crd| crds.add(crd)).fold(false, |any, added| any | added) {
                bail!("{} has no CRD of MCPServer or VirtualMCPServer", name.display());
            }
        }
        Ok(crds)
    }

    /// Whether the CRD of an object keeps `global` beside a `shared` at this path; `None` where there is no such CRD.
    pub(super) fn keep_global(&self, kind: Kind, version: &str, shared: &FieldPath) -> Option<bool> {
        let crd = self.by_kind_and_version.get(&(kind, version.to_owned()))?;
        let (_, level) = shared.steps().split_last()?;
        let level = level.iter().try_fold(&crd.schema, |schema, step| match step {
            Step::Key(key) => schema.get("properties")?.get(key),
            Step::Index(_) => schema.get("items"),
        });
        let keeps_unknown = |level: &Value| level.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        Some(level.is_some_and(|level| keeps_unknown(level) || level.pointer("/properties/global").is_some()))
    }

    /// Takes the versions of a CRD of ours that are served.
    fn add(&mut self, crd: &Value) -> bool {
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
    pub(super) fn judge(&self, kind: Kind, version: &str, object: &Value) -> Vec<Finding> {
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
        let message = format!("there is no CRD of {} to judge by: name it with --crd", kind.name());
        return Finding { severity: Severity::Unreadable, ..Finding::new("crd-version", message).on(path) };
    }
    Finding::new("crd-version", format!("the CRD does not serve {version}: write {}", known.join(" or "))).on(path)
}

fn lost(path: FieldPath) -> Finding {
    let message = "the CRD has no such field, and the API server drops it without a word: remove it, or install a CRD that has it";
    Finding::new("crd-pruned", message).on(path)
}

/// What the installed CRDs keep, as the rename asks it.
pub(in crate::cli) fn schema(named: &[PathBuf], access: &Access) -> anyhow::Result<Schema> {
    let mut described = Vec::new();
    for name in named {
        let before = described.len();
        described.extend(documents(name, access)?.iter().flat_map(described_by));
        ensure!(described.len() > before, "{} has no CRD of MCPServer or VirtualMCPServer", name.display());
    }
    Ok(Schema::installed(described.iter().map(|(version, document)| (version.as_str(), document))))
}

/// The versions of a CRD of ours, each as an OpenAPI document of its own.
fn described_by(crd: &Value) -> Vec<(String, Value)> {
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

/// The CRDs in a file or in the files of a folder, or those of the cluster.
fn documents(name: &PathBuf, access: &Access) -> anyhow::Result<Vec<Value>> {
    if name.as_os_str() == CLUSTER {
        return from_cluster(access);
    }
    if !name.is_dir() {
        return from_file(name);
    }
    let mut found = Vec::new();
    for input in expand(std::slice::from_ref(name), &|_| false) {
        match input {
            // Beside CRDs there may be anything, and a CRD in a template is none.
            Ok(Input::File(file)) => found.extend(from_file(&file).unwrap_or_default()),
            Ok(Input::Stdin) => {}
            Err(missing) => bail!("{}: {}", missing.name, missing.message),
        }
    }
    Ok(found)
}

fn from_file(path: &PathBuf) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    objects(text).with_context(|| format!("{} cannot be read", path.display()))
}

fn from_cluster(access: &Access) -> anyhow::Result<Vec<Value>> {
    run(async {
        let client = access.find()?.client()?;
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.{GROUP}", kind.plural());
            let request = http::Request::get(&path).body(Vec::new())?;
            match client.request::<Value>(request).await {
                Ok(crd) => found.push(crd),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error).context("cannot read the installed CRDs"),
            }
        }
        Ok(found)
    })
}
