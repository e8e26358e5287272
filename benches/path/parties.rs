//! The parties: an API server, a namespace for each, and the servers behind the webhooks of two.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use super::{
    servers,
    shared::server::Server,
    support::apiserver::{Cluster, Judging, Names, crds},
};

/// What judges objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Without,
    Bare,
    Tollgate,
    Cel,
}

/// The name of the bucket for all callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Global,
    Shared,
}

/// An API server and what it calls.
#[derive(Debug)]
pub(super) struct Parties {
    pub(super) cluster: Cluster,
    _tollgate: Server,
    _bare: Server,
}

impl Party {
    pub(super) const ALL: [Self; 4] = [Self::Without, Self::Bare, Self::Tollgate, Self::Cel];
    /// Those with webhooks.
    pub(super) const CALLED: [Self; 2] = [Self::Bare, Self::Tollgate];

    /// The name of its namespace, too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Bare => "bare",
            Self::Tollgate => "tollgate",
            Self::Cel => "cel",
        }
    }

    /// Of its MCPServers.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Cel => "cel.toolhive.stacklok.dev",
            Self::Without | Self::Bare | Self::Tollgate => "toolhive.stacklok.dev",
        }
    }

    /// The name of a webhook, which the API server counts its calls under.
    pub(super) fn webhook(self, hook: &str) -> String {
        format!("{hook}.{}.dev", self.name())
    }

    /// An MCPServer.
    pub(super) fn object(self, key: Key, name: &str) -> anyhow::Result<Value> {
        const SAMPLE: &str = include_str!("../../manifests/samples/good/mcpserver-per-user.yaml");
        let mut object: Value = serde_saphyr::from_str(SAMPLE)?;
        object["apiVersion"] = json!(format!("{}/v1beta1", self.group()));
        object["metadata"] = json!({"name": name, "namespace": self.name()});
        let limits = object["spec"]["rateLimiting"].as_object_mut().context("the sample has limits")?;
        let bucket = limits.remove(Key::Global.name()).context("the sample has a bucket for all callers")?;
        limits.insert(key.name().to_owned(), bucket);
        Ok(object)
    }
}

impl Key {
    pub(super) const ALL: [Self; 2] = [Self::Global, Self::Shared];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Shared => "shared",
        }
    }
}

impl Parties {
    /// Starts and registers everything.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::start();
        let mut definitions = crds(Judging::No, Names::Both);
        definitions.push(with_cel_rules().context("a CRD of MCPServer")?);
        cluster.install(definitions);
        for party in Party::ALL {
            cluster.kubectl(&["create", "namespace", party.name()]).expect_ok();
        }
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base");
        for file in ["namespace.yaml", "serviceaccount.yaml", "rbac.yaml"] {
            cluster.kubectl_with(&["apply", "-f", "-"], &fs::read_to_string(base.join(file))?).expect_ok();
        }
        let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
        let tollgate = servers::tollgate(folder, &["--kubeconfig", &kubeconfig, "--log-format=json"])?;
        let bare = servers::bare(folder)?;
        let registration = servers::ca(folder).with_file_name("webhooks.yaml");
        for (party, server) in Party::CALLED.into_iter().zip([&bare, &tollgate]) {
            register(&cluster, &registration, party, server)?;
        }
        Ok(Self { cluster, _tollgate: tollgate, _bare: bare })
    }
}

/// The shipped definition under a group of its own.
fn with_cel_rules() -> Option<Value> {
    let mut definition = crds(Judging::Yes, Names::Both).into_iter().next()?;
    definition["metadata"]["name"] = json!(format!("mcpservers.{}", Party::Cel.group()));
    definition["spec"]["group"] = json!(Party::Cel.group());
    Some(definition)
}

/// Registers a server for the namespace of its party, with what tollgate wrote for the registration of itself.
fn register(cluster: &Cluster, registration: &Path, party: Party, server: &Server) -> anyhow::Result<()> {
    let configurations: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(registration)?)?;
    for mut configuration in configurations {
        let hook = if configuration["kind"] == "MutatingWebhookConfiguration" { "mutate" } else { "validate" };
        configuration["metadata"]["name"] = json!(party.name());
        let webhook = &mut configuration["webhooks"][0];
        webhook["name"] = json!(party.webhook(hook));
        webhook["clientConfig"]["url"] = json!(format!("https://{}/{hook}", server.address()));
        webhook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": party.name()}});
        cluster.kubectl_with(&["create", "-f", "-"], &configuration.to_string()).expect_ok();
    }
    Ok(())
}
