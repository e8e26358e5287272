//! The webhook configurations, recognised by their webhooks' names, compared with those that `manifests/` install.

use serde_json::Value;

use super::{
    cluster::{Cluster, Trouble, items, text},
    report::Notes,
};

/// What `manifests/base` installs.
const WEBHOOKS: &str = include_str!("../../../manifests/base/webhooks.yaml");
const INSTALL: &str = "kubectl apply -k manifests/overlays/cert-manager (or own-ca)";
/// The API server waits this long for a hook that says nothing about it.
const DEFAULT_TIMEOUT_S: u64 = 10;

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
    shipped: Value,
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
        let shipped: Vec<Value> = serde_saphyr::from_multiple(WEBHOOKS).unwrap_or_default();
        for configuration in shipped {
            let kind = text(&configuration, "/kind").to_owned();
            let path = format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase());
            let listed = cluster.list(&path).await;
            for shipped in items(&configuration, "/webhooks") {
                let name = text(shipped, "/name");
                match &listed {
                    Ok(configurations) => installed.add(&kind, shipped, configurations, notes),
                    Err(Trouble::Forbidden(says)) => {
                        notes.unknown("installed", format!("whether {name} is: {says}"), format!("grant list on {}s", kind.to_lowercase()));
                    }
                    Err(trouble) => {
                        notes.unknown("installed", format!("whether {name} is: {trouble}"), "see whether the API server answers")
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

    fn is_mutating(&self) -> bool {
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

    /// Settings under which the hook is not asked, or is in the way.
    pub(super) fn look_at_settings(&self, notes: &mut Notes) {
        let before = notes.len();
        let mut problem = |says: String, todo: &str| notes.problem("settings", format!("{}: {says}", self.name()), todo);
        let shipped = text(&self.shipped, "/failurePolicy");
        match text(&self.entry, "/failurePolicy") {
            set if set == shipped => {}
            set if self.is_mutating() => {
                problem(
                    format!("failurePolicy is {set}: while tollgate is away, no limited server can be written"),
                    "set failurePolicy: Ignore",
                );
            }
            set => problem(format!("failurePolicy is {set}: while tollgate is away, faulty limits get in"), "set failurePolicy: Fail"),
        }
        let timeout_s = self.entry.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_TIMEOUT_S);
        if timeout_s > DEFAULT_TIMEOUT_S {
            problem(
                format!("timeoutSeconds is {timeout_s}: a tollgate that hangs holds up each write for so long"),
                "set timeoutSeconds to 2 or 3",
            );
        }
        if text(&self.entry, "/matchPolicy") == "Exact" {
            problem(
                "matchPolicy is Exact: objects written in a version that its rules do not name pass by".to_owned(),
                "set matchPolicy: Equivalent",
            );
        }
        if self.is_mutating() && text(&self.entry, "/reinvocationPolicy") != text(&self.shipped, "/reinvocationPolicy") {
            let says = "reinvocationPolicy is Never: what a later webhook writes is not looked at again";
            problem(says.to_owned(), "set reinvocationPolicy: IfNeeded");
        }
        if self.entry.get("objectSelector").is_some_and(|selector| selector.as_object().is_some_and(|keys| !keys.is_empty())) {
            problem("an objectSelector lets whoever may label an object step around the rules".to_owned(), "remove objectSelector");
        }
        for missed in self.missed() {
            problem(format!("{missed} is not asked about"), "take the rules from manifests/base/webhooks.yaml");
        }
        if notes.len() == before {
            notes.ok("settings", format!("{} as in the manifests", self.name()));
        }
    }

    /// What the manifests ask about, and the installed rules do not.
    fn missed(&self) -> Vec<String> {
        let shipped = items(&self.shipped, "/rules");
        let wanted = shipped.iter().flat_map(|rule| {
            let resources = items(rule, "/resources").iter().filter_map(Value::as_str);
            resources.flat_map(move |resource| {
                items(rule, "/operations").iter().filter_map(Value::as_str).map(move |operation| (rule, resource, operation))
            })
        });
        let missed = wanted.filter(|(rule, resource, operation)| {
            let group = items(rule, "/apiGroups").iter().filter_map(Value::as_str).next().unwrap_or_default();
            !items(&self.entry, "/rules").iter().any(|installed| {
                has(installed, "/apiGroups", group) && has(installed, "/resources", resource) && has(installed, "/operations", operation)
            })
        });
        missed.map(|(_, resource, operation)| format!("{operation} of {resource}")).collect()
    }
}

/// Whether a list of a rule has a name, or stands for all.
fn has(rule: &Value, pointer: &str, name: &str) -> bool {
    items(rule, pointer).iter().filter_map(Value::as_str).any(|item| item == name || item == "*" || item == "*/*")
}
