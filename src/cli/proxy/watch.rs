//! `--watch`: the limits of an object in the cluster, followed for as long as the proxy runs.
//!
//! The object's `MCPOIDCConfig` is followed with it, so that callers sign in as it says. What needs a restart is left as it was, as with a
//! file.

use std::{future::pending, str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use kube::Client;
use tokio::time::timeout;
use tracing::warn;

use super::trust::api_servers;
use crate::{
    cli::target::workable,
    cluster::{
        Access, ClusterError,
        list::newest_version,
        watch::{ObjectKey, WatchedObject},
    },
    manifest::server::LimitedServer,
    model::{
        GROUP,
        subject::{Kind, RefKind},
    },
    proxy::follow::InForce,
};

/// For all requests before the proxy can start.
const DEADLINE: Duration = Duration::from_secs(10);

/// An object, as it is named on the command line: `[KIND/]NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectName {
    kind: Option<Kind>,
    namespace: String,
    name: String,
}

impl FromStr for ObjectName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('/').collect();
        let (kind, namespace, name) = match *parts.as_slice() {
            [name] => bail!("whose namespace? Write NAMESPACE/NAME, such as default/{name}"),
            [namespace, name] => (None, namespace, name),
            [kind, namespace, name] => (Some(kind_of(kind)?), namespace, name),
            _ => bail!("too many parts: write NAMESPACE/NAME or KIND/NAMESPACE/NAME"),
        };
        for part in [namespace, name] {
            // What the API server accepts; anything else would be another path.
            let is_name = part.starts_with(is_of_name) && part.chars().all(|c| is_of_name(c) || "-.".contains(c));
            ensure!(is_name, "{part:?} is not an object name: use lower case letters and digits, with - and . between them");
        }
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// As kubectl accepts kinds: in any case, singular or plural.
fn kind_of(text: &str) -> anyhow::Result<Kind> {
    let is_meant = |kind: &Kind| text.eq_ignore_ascii_case(kind.name()) || text.eq_ignore_ascii_case(kind.plural());
    Kind::ALL.into_iter().find(is_meant).with_context(|| format!("{text:?} is not a kind with limits: use MCPServer or VirtualMCPServer"))
}

/// What was found in the cluster.
pub(super) struct Found {
    pub(super) source: LimitedServer,
    pub(super) watched: Watched,
    /// The cluster's API server, by the names that it goes by.
    pub(super) api_servers: Vec<String>,
}

/// A server in the cluster, followed.
pub(super) struct Watched {
    server: WatchedObject,
    sign_in: Option<WatchedObject>,
}

/// Finds the object, and what it names. `needs_issuer` if no flag names the token issuer.
pub(super) async fn find(named: &ObjectName, access: &Access, needs_issuer: bool) -> anyhow::Result<Found> {
    let cluster = access.find()?;
    let api_servers = api_servers(&cluster.config.cluster_url);
    let client = cluster.client()?;
    let look = timeout(DEADLINE, look(&client, named, needs_issuer)).await;
    let (source, watched) = look.unwrap_or_else(|_| bail!("the cluster has not answered within {DEADLINE:?}"))?;
    Ok(Found { source, watched, api_servers })
}

async fn look(client: &Client, named: &ObjectName, needs_issuer: bool) -> anyhow::Result<(LimitedServer, Watched)> {
    let version = newest_version(client).await.with_context(|| format!("cannot ask what of {GROUP} is served"))?;
    let version = version.with_context(|| format!("no version of {GROUP} is served: the CRDs are not installed"))?;
    let server = the_only(client, version, named).await?;
    let source = workable(&server.label, LimitedServer::of_object(&server.value))?;
    let sign_in = match sign_in(client, version, &source).await {
        Err(error) if needs_issuer => return Err(error.context("add --oidc-issuer URL, or disable authentication with --auth none")),
        Err(error) => {
            warn!("{error:#}");
            None
        }
        Ok(sign_in) => sign_in,
    };
    let watched = Watched { server, sign_in };
    Ok((watched.described(source), watched))
}

/// The server with this name, of whichever kind.
async fn the_only(client: &Client, version: &str, named: &ObjectName) -> anyhow::Result<WatchedObject> {
    let ObjectName { kind: wanted, namespace, name } = named;
    let mut found = Vec::new();
    let mut unread = None;
    for kind in Kind::ALL.into_iter().filter(|kind| wanted.is_none_or(|wanted| wanted == *kind)) {
        match WatchedObject::begin(client.clone(), ObjectKey { version, kind: kind.name(), plural: kind.plural(), namespace, name }).await {
            Ok(server) => found.extend(server),
            Err(trouble) => unread = Some(cannot_read(kind.plural(), &trouble)),
        }
    }
    match (found.pop(), found.is_empty(), unread) {
        (Some(server), true, _) => Ok(server),
        (Some(_), false, _) => {
            let [one, other] = Kind::ALL.map(|kind| format!("--watch {}/{namespace}/{name}", kind.name()));
            bail!("there are two servers {namespace}/{name}: choose with {one} or {other}")
        }
        (None, _, Some(error)) => Err(error),
        (None, _, None) => {
            let kind = wanted.map_or("MCPServer or VirtualMCPServer", Kind::name);
            bail!("the cluster has no {kind} {namespace}/{name}; kubectl get mcpservers,virtualmcpservers -A lists what it has")
        }
    }
}

/// What the server names to say who issues tokens, if it names anything.
async fn sign_in(client: &Client, version: &str, source: &LimitedServer) -> anyhow::Result<Option<WatchedObject>> {
    let (kind, plural) = (RefKind::OidcConfig.name(), RefKind::OidcConfig.plural());
    let Some(sign_in) = &source.sign_in else { return Ok(None) };
    let Some(at) = sign_in.elsewhere.as_ref().filter(|at| at.kind == kind) else { return Ok(None) };
    let wanted = ObjectKey { version, kind, plural, namespace: &source.server.namespace, name: &at.name };
    let found = WatchedObject::begin(client.clone(), wanted).await.map_err(|trouble| cannot_read(plural, &trouble))?;
    let found = found.with_context(|| format!("{} names the {kind} {:?}, which is not there", at.path, at.name))?;
    let described = sign_in.clone().described_by(&found.value);
    ensure!(described.issuer.is_some(), "{} says no issuer", found.label);
    Ok(Some(found))
}

fn cannot_read(plural: &str, trouble: &ClusterError) -> anyhow::Error {
    let todo = trouble.advice(format!("grant list and watch on {plural} (manifests/components/proxy does)"));
    anyhow!("cannot read {plural}: {trouble}: {todo}")
}

impl Watched {
    /// Follows the object; never returns.
    pub(super) async fn follow(mut self, mut in_force: InForce) {
        loop {
            let sign_in = async {
                match &mut self.sign_in {
                    Some(sign_in) => sign_in.changed().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.server.changed() => {}
                () = sign_in => {}
            }
            let read = LimitedServer::of_object(&self.server.value).map(|source| self.described(source));
            in_force.read_again(&self.server.label, read);
        }
    }

    fn described(&self, source: LimitedServer) -> LimitedServer {
        match &self.sign_in {
            Some(sign_in) => source.described_by(&sign_in.value, &sign_in.namespace),
            None => source,
        }
    }
}
