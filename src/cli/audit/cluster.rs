//! An audit of a cluster: neighbours first, then the objects page by page, so that no more than a page of them is held.

use anyhow::Context;
use kube::Client;
use serde_json::Value;
use tracing::{debug, warn};

use super::{args::AuditArgs, judged::Audit, progress::Progress};
use crate::{
    audit::{around::Neighbours, judge, rendered::SELECTOR},
    cli::inputs::Input,
    cluster::{
        Access, Cluster, ClusterError,
        list::{Pages, Resource, newest_version},
        request::text,
    },
    model::{
        GROUP,
        problem::Problem,
        subject::{Kind, RefKind, Subject},
    },
    report::{Finding, Object},
};

pub(super) async fn look(args: &AuditArgs, audit: &mut Audit<'_>) -> anyhow::Result<()> {
    let cluster = Cluster::connect(&Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() })?;
    let version = version(&cluster).await?;
    let api = format!("/apis/{GROUP}/{version}");
    let mut namespaces: Vec<_> = args.namespace.iter().map(|namespace| Some(namespace.as_str())).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    if namespaces.is_empty() {
        namespaces.push(None);
    }
    // A namespace that was named and is empty may be misspelt, so it is listed with zeros.
    for namespace in namespaces.iter().flatten() {
        audit.reporter.summary.namespaces.entry((*namespace).to_owned()).or_default();
    }
    let mut look = Look {
        client: &cluster.client,
        api: &api,
        limit: args.chunk_size,
        around: Neighbours::default(),
        compared: Compared::default(),
        progress: Progress::new(),
        audit,
    };
    for namespace in &namespaces {
        look.configs(RefKind::OidcConfig, *namespace).await;
        look.configs(RefKind::ExternalAuthConfig, *namespace).await;
    }
    for namespace in &namespaces {
        for kind in Kind::ALL {
            look.objects(kind, *namespace).await;
        }
    }
    look.progress.clear();
    Ok(())
}

/// The newest version that is served.
pub(super) async fn version(cluster: &Cluster) -> anyhow::Result<&'static str> {
    let version = newest_version(&cluster.client).await.with_context(|| format!("cannot ask what of {GROUP} is served"))?;
    version.with_context(|| format!("no version of {GROUP} is served, so nothing can be audited"))
}

/// Whether limits are compared with what ToolHive's operator rendered.
#[derive(Default)]
struct Compared {
    /// The namespaces of which everything rendered is known; `None` for all at once.
    namespaces: Vec<Option<String>>,
    /// Whether ConfigMaps turned out to be unreadable, which is reported once.
    is_given_up: bool,
}

/// An audit of a cluster under way.
struct Look<'a, 'w> {
    client: &'a Client,
    /// `/apis/GROUP/VERSION`
    api: &'a str,
    /// Objects on a page.
    limit: u16,
    around: Neighbours,
    compared: Compared,
    progress: Progress,
    audit: &'a mut Audit<'w>,
}

impl Look<'_, '_> {
    /// Reads the sign-in configs; where their kind is not installed, nothing is known of them.
    async fn configs(&mut self, kind: RefKind, namespace: Option<&str>) {
        let names_only = kind != RefKind::ExternalAuthConfig;
        let resource = Resource { api: self.api, plural: kind.plural(), namespace, names_only, labels: "" };
        self.gather(kind, resource).await;
    }

    /// Reads a whole list of neighbours.
    async fn gather(&mut self, kind: RefKind, resource: Resource<'_>) {
        let mut pages = Pages::of(self.client, resource.clone(), self.limit);
        let mut gathered = Vec::new();
        loop {
            self.progress.show(self.audit.reporter.summary.judged, &resource);
            match pages.next().await {
                Ok(Some(page)) => gathered.extend(page),
                Ok(None) => break,
                Err(ClusterError::Absent(why)) => return debug!(%resource, why, "not installed"),
                Err(trouble) => return self.unread(&resource, &trouble),
            }
        }
        self.around.is_whole(kind, resource.namespace);
        for object in &gathered {
            self.around.add(kind, object);
        }
    }

    async fn objects(&mut self, kind: Kind, namespace: Option<&str>) {
        let resource = Resource { api: self.api, plural: kind.plural(), namespace, names_only: false, labels: "" };
        let mut pages = Pages::of(self.client, resource.clone(), self.limit);
        while !self.audit.reporter.has_failed() {
            self.progress.show(self.audit.reporter.summary.judged, &resource);
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return,
                Err(trouble) => return self.unread(&resource, &trouble),
            };
            self.secrets_of(kind, &page).await;
            if page.iter().any(|object| !Subject::new(kind, object).blocks().is_empty()) {
                self.rendered(namespace).await;
            }
            self.progress.clear();
            for object in &page {
                self.judge(kind, object);
            }
        }
    }

    /// Lists the names of Secrets in the namespaces of objects that refer to one.
    async fn secrets_of(&mut self, kind: Kind, page: &[Value]) {
        for object in page {
            let subject = Subject::new(kind, object);
            let names_secret = subject.references().iter().any(|reference| reference.kind == RefKind::Secret);
            let Some(namespace) = subject.namespace().filter(|_| names_secret && !subject.blocks().is_empty()) else { continue };
            if !self.around.knows(RefKind::Secret, namespace) {
                let plural = RefKind::Secret.plural();
                let resource = Resource { api: "/api/v1", plural, namespace: Some(namespace), names_only: true, labels: "" };
                self.gather(RefKind::Secret, resource).await;
            }
        }
    }

    /// Reads what ToolHive's operator rendered, once there are limits to compare with it.
    async fn rendered(&mut self, namespace: Option<&str>) {
        let scope = namespace.map(str::to_owned);
        if self.compared.is_given_up || self.compared.namespaces.contains(&scope) {
            return;
        }
        let resource = Resource { api: "/api/v1", plural: "configmaps", namespace, names_only: false, labels: SELECTOR };
        let mut pages = Pages::of(self.client, resource.clone(), self.limit);
        loop {
            self.progress.show(self.audit.reporter.summary.judged, &resource);
            match pages.next().await {
                Ok(Some(page)) => page.iter().for_each(|config_map| self.around.add_config_map(config_map)),
                Ok(None) => break,
                Err(trouble) => {
                    self.progress.clear();
                    self.compared.is_given_up = true;
                    return warn!("cannot compare limits with what ToolHive's operator rendered: cannot list {resource}: {trouble}");
                }
            }
        }
        self.compared.namespaces.push(scope);
    }

    fn judge(&mut self, kind: Kind, object: &Value) {
        let subject = Subject::new(kind, object);
        let findings = judge(subject, &self.around);
        let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(|pointer| text(object, pointer));
        let who = Object { kind: kind.name().to_owned(), namespace: Some(namespace.to_owned()), name: Some(name.to_owned()) };
        self.audit.judged(namespace, &Input::Stdin, &who, subject, findings);
    }

    /// Reports what could not be read.
    fn unread(&mut self, resource: &Resource<'_>, trouble: &ClusterError) {
        let todo = trouble.advice(format!("grant list on {}", resource.plural));
        let problem = Problem::new(format!("cannot list {resource}: {trouble}")).advice(todo);
        self.progress.clear();
        self.audit.reporter.text(&resource.to_string(), vec![Finding::new("unreadable", problem)]);
    }
}
