//! The CRDs that `--crd` names: those in files and folders, or those of a cluster.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{
    inputs::{Input, expand},
    runtime,
};
use crate::{
    check::Crds,
    cluster::Access,
    manifest::objects,
    model::{
        GROUP,
        schema::{Schema, documents_of},
        subject::Kind,
    },
};

/// What stands for the installed CRDs on the command line.
const CLUSTER: &str = "cluster";

/// The CRDs to check objects against.
pub(super) fn crds(named: &[PathBuf], access: &Access) -> anyhow::Result<Crds> {
    let mut crds = Crds::default();
    for name in named {
        let found = documents(name, access)?;
        let added = found.iter().map(|crd| crds.add(crd)).fold(false, |any, added| any | added);
        ensure!(added, "{} has no CRD of MCPServer or VirtualMCPServer", name.display());
    }
    Ok(crds)
}

/// What the CRDs keep, as the rename asks it.
pub(super) fn schema(named: &[PathBuf], access: &Access) -> anyhow::Result<Schema> {
    let mut described = Vec::new();
    for name in named {
        let before = described.len();
        described.extend(documents(name, access)?.iter().flat_map(documents_of));
        ensure!(described.len() > before, "{} has no CRD of MCPServer or VirtualMCPServer", name.display());
    }
    Ok(Schema::installed(described.iter().map(|(version, document)| (version.as_str(), document))))
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
            // A folder of CRDs may hold other files too; a template of a CRD is skipped.
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
    runtime::run(async {
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
