//! What the CRD that will be installed makes of an object: the fields that it drops, and its own rules.
//!
//! As the API server does it: fields that the schema lacks are dropped first, defaults filled in, then the CEL rules asked. Types,
//! patterns and bounds of the schema are left to the API server.

mod prune;
mod rules;

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use self::{
    prune::prune,
    rules::{Judge, Rules},
};
use crate::{
    cli::cluster,
    manifest::objects,
    model::{GROUP, path::FieldPath, subject::Kind},
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
    pub(super) fn load(named: &[PathBuf], access: &cluster::Access) -> anyhow::Result<Self> {
        let mut crds = Self { by_kind_and_version: HashMap::new(), judge: Judge::new() };
        for name in named {
            let found = if name.as_os_str() == CLUSTER { from_cluster(access)? } else { from_file(name)? };
            if !found.iter().map(|crd| crds.add(crd)).fold(false, |any, added| any | added) {
                bail!("{} has no CRD of MCPServer or VirtualMCPServer", name.display());
            }
        }
        Ok(crds)
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

fn from_file(path: &PathBuf) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    objects(text).with_context(|| format!("{} cannot be read", path.display()))
}

fn from_cluster(access: &cluster::Access) -> anyhow::Result<Vec<Value>> {
    cluster::run(async {
        let client = cluster::connect(access).await?;
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
