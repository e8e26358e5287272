//! Servers in a cluster, watched, one or all: their limits, and how their callers sign in.
//!
//! The object's `MCPOIDCConfig` is watched with it, so that callers sign in as it says.

mod all;

use std::{env, fmt, future::pending, str::FromStr, time::Duration};

use http::Uri;
use kube::Client;
use thiserror::Error;
use tokio::time::timeout;

pub use self::all::{AllServers, ServerRead, all};
use crate::{
    cluster::{
        Access, ClusterError,
        list::newest_version,
        watch::{ObjectKey, WatchedObject},
    },
    manifest::server::{LimitedServer, LimitedServerError},
    model::{
        GROUP,
        subject::{Kind, RefKind},
    },
};

/// For all requests until the limits are known.
const DEADLINE: Duration = Duration::from_secs(10);

/// The name of a server: `[KIND/]NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    kind: Option<Kind>,
    namespace: String,
    name: String,
}

/// Why a text is not the name of a server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadObjectName {
    /// There is a name alone.
    #[error("whose namespace? Write NAMESPACE/NAME, such as default/{0}")]
    NoNamespace(String),
    /// There are more than three parts.
    #[error("too many parts: write NAMESPACE/NAME or KIND/NAMESPACE/NAME")]
    Parts,
    /// A part that the API server would not accept as a name; it would be another path.
    #[error("{0:?} is not an object name: use lower case letters and digits, with - and . between them")]
    Name(String),
    /// A kind without limits.
    #[error("{0:?} is not a kind with limits: use MCPServer or VirtualMCPServer")]
    Kind(String),
}

/// Why the limits of a server are not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The cluster cannot be reached.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster is too slow.
    #[error("the cluster has not answered within {DEADLINE:?}")]
    Late,
    /// What is installed is not known.
    #[error("cannot ask what of {GROUP} is served")]
    Versions(#[source] ClusterError),
    /// The CRDs are not installed.
    #[error("no version of {GROUP} is served: the CRDs are not installed")]
    NotServed,
    /// Objects cannot be read.
    #[error("cannot read {plural}: {error}: {}", error.advice(format!("grant list and watch on {plural} (manifests/components/proxy does)")))]
    Unreadable {
        /// Which.
        plural: &'static str,
        /// Why not.
        error: ClusterError,
    },
    /// The server does not exist.
    #[error("the cluster has no {0}; kubectl get mcpservers,virtualmcpservers -A lists what it has")]
    Absent(ObjectName),
    /// Both kinds have a server of that name.
    #[error(
        "there are two servers {namespace}/{name}: choose with --watch {}/{namespace}/{name} or --watch {}/{namespace}/{name}",
        Kind::McpServer.name(),
        Kind::VirtualMcpServer.name()
    )]
    Ambiguous {
        /// Their namespace.
        namespace: String,
        /// Their name.
        name: String,
    },
    /// What says how callers sign in is missing.
    #[error("{at} names the {kind} {name:?}, which is not there")]
    NoSignIn {
        /// The path of the reference.
        at: String,
        /// The kind that it refers to.
        kind: &'static str,
        /// The name that it refers to.
        name: String,
    },
    /// What says how callers sign in names no issuer.
    #[error("{0} says no issuer")]
    NoIssuer(String),
    /// Its limits cannot work.
    #[error("{label}: {error}")]
    Limits {
        /// Which object.
        label: String,
        /// Why not.
        error: LimitedServerError,
    },
}

impl FromStr for ObjectName {
    type Err = BadObjectName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('/').collect();
        let (kind, namespace, name) = match *parts.as_slice() {
            [name] => return Err(BadObjectName::NoNamespace(name.to_owned())),
            [namespace, name] => (None, namespace, name),
            [kind, namespace, name] => (Some(kind_of(kind)?), namespace, name),
            _ => return Err(BadObjectName::Parts),
        };
        for part in [namespace, name] {
            let is_name = part.starts_with(is_of_name) && part.chars().all(|c| is_of_name(c) || "-.".contains(c));
            if !is_name {
                return Err(BadObjectName::Name(part.to_owned()));
            }
        }
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("MCPServer or VirtualMCPServer", Kind::name);
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// As kubectl accepts kinds: in any case, singular or plural.
fn kind_of(text: &str) -> Result<Kind, BadObjectName> {
    let is_meant = |kind: &Kind| text.eq_ignore_ascii_case(kind.name()) || text.eq_ignore_ascii_case(kind.plural());
    Kind::ALL.into_iter().find(is_meant).ok_or_else(|| BadObjectName::Kind(text.to_owned()))
}

/// A server that was found in a cluster.
#[derive(Debug)]
pub struct Found {
    /// Its limits, and how callers sign in.
    pub source: LimitedServer,
    /// The object, watched.
    pub watched: Watched,
    /// The cluster's API server, by the names that it goes by.
    pub api_servers: Vec<String>,
    /// Why it is not known how callers sign in, where the object refers to something that says so.
    pub sign_in: Result<(), WatchError>,
}

/// A server in the cluster, watched.
#[derive(Debug)]
pub struct Watched {
    server: WatchedObject,
    sign_in: Option<WatchedObject>,
}

/// Finds a server in a cluster, and what it names.
///
/// # Errors
/// When it cannot be read, or its limits cannot work. What says how callers sign in may be missing: see [`Found::sign_in`].
pub async fn find(named: &ObjectName, access: &Access) -> Result<Found, WatchError> {
    let cluster = access.find()?;
    let api_servers = api_servers(&cluster.config.cluster_url);
    let client = cluster.client()?;
    let (source, watched, sign_in) = timeout(DEADLINE, look(&client, named)).await.map_err(|_| WatchError::Late)??;
    Ok(Found { source, watched, api_servers, sign_in })
}

type Looked = (LimitedServer, Watched, Result<(), WatchError>);

async fn look(client: &Client, named: &ObjectName) -> Result<Looked, WatchError> {
    let version = newest_version(client).await.map_err(WatchError::Versions)?.ok_or(WatchError::NotServed)?;
    let server = the_only(client, version, named).await?;
    let source = LimitedServer::of_object(&server.value);
    let source = source.map_err(|error| WatchError::Limits { label: server.label.clone(), error })?;
    let (sign_in, known) = match sign_in(client, version, &source).await {
        Err(error) => (None, Err(error)),
        Ok(sign_in) => (sign_in, Ok(())),
    };
    let watched = Watched { server, sign_in };
    Ok((watched.described(source), watched, known))
}

/// The server with this name, of whichever kind.
async fn the_only(client: &Client, version: &str, named: &ObjectName) -> Result<WatchedObject, WatchError> {
    let ObjectName { kind: wanted, namespace, name } = named;
    let mut found = Vec::new();
    let mut unread = None;
    for kind in Kind::ALL.into_iter().filter(|kind| wanted.is_none_or(|wanted| wanted == *kind)) {
        match WatchedObject::begin(client.clone(), ObjectKey { version, kind: kind.name(), plural: kind.plural(), namespace, name }).await {
            Ok(server) => found.extend(server),
            Err(error) => unread = Some(WatchError::Unreadable { plural: kind.plural(), error }),
        }
    }
    match (found.pop(), found.is_empty(), unread) {
        (Some(server), true, _) => Ok(server),
        (Some(_), false, _) => Err(WatchError::Ambiguous { namespace: namespace.clone(), name: name.clone() }),
        (None, _, Some(error)) => Err(error),
        (None, _, None) => Err(WatchError::Absent(named.clone())),
    }
}

/// What the server names to say who issues tokens, if it names anything.
async fn sign_in(client: &Client, version: &str, source: &LimitedServer) -> Result<Option<WatchedObject>, WatchError> {
    let (kind, plural) = (RefKind::OidcConfig.name(), RefKind::OidcConfig.plural());
    let Some(sign_in) = &source.sign_in else { return Ok(None) };
    let Some(at) = sign_in.elsewhere.as_ref().filter(|at| at.kind == kind) else { return Ok(None) };
    let wanted = ObjectKey { version, kind, plural, namespace: &source.server.namespace, name: &at.name };
    let found = WatchedObject::begin(client.clone(), wanted).await.map_err(|error| WatchError::Unreadable { plural, error })?;
    let found = found.ok_or_else(|| WatchError::NoSignIn { at: at.path.to_string(), kind, name: at.name.clone() })?;
    if sign_in.clone().described_by(&found.value).issuer.is_none() {
        return Err(WatchError::NoIssuer(found.label));
    }
    Ok(Some(found))
}

impl Watched {
    /// The object, for people.
    pub fn label(&self) -> &str {
        &self.server.label
    }

    /// Waits for the next change, and reads the object again.
    pub async fn changed(&mut self) -> Result<LimitedServer, LimitedServerError> {
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
        LimitedServer::of_object(&self.server.value).map(|source| self.described(source))
    }

    /// Whether what was read is what the cluster has now.
    pub fn is_current(&self) -> bool {
        self.server.is_current() && self.sign_in.as_ref().is_none_or(WatchedObject::is_current)
    }

    fn described(&self, source: LimitedServer) -> LimitedServer {
        match &self.sign_in {
            Some(sign_in) => source.described_by(&sign_in.value, &sign_in.namespace),
            None => source,
        }
    }
}

/// The addresses of a cluster's API server, as `HOST:PORT`: the one used here, and those that pods use.
fn api_servers(asked_at: &Uri) -> Vec<String> {
    let asked_at = asked_at.host().map(|host| format!("{host}:{}", asked_at.port_u16().unwrap_or(443)));
    let in_pod = env::var("KUBERNETES_SERVICE_HOST").ok().map(|host| {
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("{host}:{}", env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned()))
    });
    let by_name = ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"].map(|name| format!("{name}:443"));
    asked_at.into_iter().chain(in_pod).chain(by_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_is_known_by_its_url_and_by_the_names_in_pods() {
        let found = api_servers(&"https://192.0.2.7:6443/prefix".parse().expect("a URL"));
        assert_eq!(found.first().map(String::as_str), Some("192.0.2.7:6443"));
        assert!(
            found.ends_with(&["kubernetes.default.svc:443", "kubernetes.default.svc.cluster.local:443"].map(str::to_owned)),
            "{found:?}"
        );
        assert_eq!(api_servers(&"https://[::1]".parse().expect("a URL")).first().map(String::as_str), Some("[::1]:443"));
    }
}
