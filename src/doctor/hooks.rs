//! The webhook configurations, recognised by the names of their webhooks.

use serde_json::Value;

use super::report::Notes;
use crate::cluster::{
    Cluster,
    request::{items, text},
};
use crate::manifest::objects;

/// What `manifests/base` installs.
const WEBHOOKS: &str = include_str!("../../manifests/base/webhooks.yaml");
const INSTALL: &str = "kubectl apply -k manifests/overlays/self-managed (or cert-manager, own-ca)";

/// The hooks that are installed.
#[derive(Debug, Default)]
pub(super) struct Installed {
    pub(super) hooks: Vec<Hook>,
}

/// One of our hooks, as one configuration registers it.
#[derive(Debug)]
pub(super) struct Hook {
    /// `ValidatingWebhookConfiguration tollgate`.
    pub(super) configuration: String,
    /// The webhook's entry, as installed.
    pub(super) entry: Value,
    /// The same in our manifests.
    pub(super) shipped: Value,
}

/// Where a hook is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    /// Through a Service.
    Service { namespace: String, name: String, port: u64 },
    /// At a URL.
    Url(String),
}

impl Installed {
    /// Reads the configurations of the cluster; notes what is missing.
    pub(super) async fn read(cluster: &Cluster, notes: &mut Notes) -> Self {
        let mut installed = Self::default();
        for configuration in objects(WEBHOOKS).unwrap_or_default() {
            let kind = text(&configuration, "/kind").to_owned();
            let path = format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase());
            let listed = cluster.list(&path).await;
            for shipped in items(&configuration, "/webhooks") {
                let name = text(shipped, "/name");
                match &listed {
                    Ok(configurations) => installed.add(&kind, shipped, configurations, notes),
                    Err(trouble) => {
                        let todo = trouble.advice(format!("grant list on {}s", kind.to_lowercase()));
                        notes.unknown("installed", format!("whether {name} is: {trouble}"), todo);
                    }
                }
            }
        }
        installed
    }

    fn add(&mut self, kind: &str, shipped: &Value, configurations: &[Value], notes: &mut Notes) {
        let name = text(shipped, "/name");
        let before = self.hooks.len();
        for configuration in configurations {
            for entry in items(configuration, "/webhooks").iter().filter(|entry| text(entry, "/name") == name) {
                let configuration = format!("{kind} {}", text(configuration, "/metadata/name"));
                notes.ok("installed", format!("{name} in {configuration}"));
                self.hooks.push(Hook { configuration, entry: entry.clone(), shipped: shipped.clone() });
            }
        }
        if self.hooks.len() == before {
            notes.problem("installed", format!("no {kind} has the webhook {name}: it is never asked"), INSTALL);
        }
    }
}

impl Hook {
    /// `validate.tollgate.dev` or `mutate.tollgate.dev`.
    pub(super) fn name(&self) -> &str {
        text(&self.entry, "/name")
    }

    /// Its configuration as kubectl takes it: `validatingwebhookconfiguration/tollgate`.
    pub(super) fn resource(&self) -> String {
        let (kind, name) = self.configuration.split_once(' ').unwrap_or_default();
        format!("{}/{name}", kind.to_lowercase())
    }

    pub(super) fn is_mutating(&self) -> bool {
        self.configuration.starts_with("Mutating")
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let client = |pointer: &str| text(&self.entry, &format!("/clientConfig/{pointer}")).to_owned();
        match self.entry.pointer("/clientConfig/service") {
            None => Endpoint::Url(client("url")),
            Some(service) => Endpoint::Service {
                namespace: client("service/namespace"),
                name: client("service/name"),
                port: service.get("port").and_then(Value::as_u64).unwrap_or(443),
            },
        }
    }
}
