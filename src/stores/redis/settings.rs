//! How to connect to Redis.
//!
//! | URL | |
//! |---|---|
//! | `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]` | one server |
//! | `redis+unix:///PATH[?db=DB]` | one server, by its socket |
//! | `redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]../MASTER[/DB]` | the master named by the Sentinels at these addresses (port 26379 by default) |
//! | `redis-cluster://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]..` | a cluster, discovered through any of these nodes |
//!
//! With `rediss` instead of `redis`, all connections use TLS. Parts of a URL are percent-encoded where necessary.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;

use crate::limiter::{Observer, observe::Unobserved};

/// How long connecting may take, by default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a response may take before the connection is dropped, by default.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
const SENTINEL_PORT: u16 = 26379;

/// How to connect to Redis. Parse a URL, then set the rest.
///
/// ```
/// use std::time::Duration;
/// use tollgate::stores::redis::RedisSettings;
///
/// let settings = RedisSettings::parse("redis://cache.default.svc:6379/1")?.password("secret").response_timeout(Duration::from_millis(250));
/// assert!(!format!("{settings:?}").contains("secret"));
/// # Ok::<(), tollgate::stores::redis::RedisSettingsError>(())
/// ```
#[derive(Clone)]
pub struct RedisSettings {
    pub(super) topology: Topology,
    /// Each with the database and the credentials of the URL.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) remember_denials: bool,
    pub(super) observer: Arc<dyn Observer>,
}

/// What is at the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Single,
    Sentinel { master: String },
    Cluster,
}

/// Why the settings are invalid. Messages never contain a password.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisSettingsError {
    /// Not one of the schemes.
    #[error(
        "not a Redis URL: it must begin with redis://, rediss://, redis+unix://, redis-sentinel://, rediss-sentinel://, redis-cluster:// or rediss-cluster://"
    )]
    Scheme,
    /// A host, port, database or escape that cannot be parsed.
    #[error("the Redis URL is invalid; use the form {0}")]
    Form(&'static str),
    /// A CA or client certificate for connections without TLS.
    #[error("certificates are given, but the URL is for connections without TLS: use {0}:// instead of {1}://")]
    NotTls(&'static str, &'static str),
}

impl RedisSettings {
    /// Parses a URL.
    ///
    /// # Errors
    /// When it has none of the forms listed in the [module](self).
    pub fn parse(url: &str) -> Result<Self, RedisSettingsError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisSettingsError::Scheme)?;
        let (topology, nodes) = match scheme {
            "redis" | "rediss" | "redis+unix" | "unix" => (Topology::Single, vec![node(url, SINGLE_FORM)?]),
            "redis-sentinel" | "rediss-sentinel" => sentinels(base(scheme), rest)?,
            "redis-cluster" | "rediss-cluster" => (Topology::Cluster, nodes(base(scheme), rest, "", None, CLUSTER_FORM)?),
            _ => return Err(RedisSettingsError::Scheme),
        };
        Ok(Self {
            topology,
            nodes,
            username: None,
            password: None,
            ca_pem: None,
            identity_pem: None,
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
            remember_denials: true,
            observer: Arc::new(Unobserved),
        })
    }

    /// Sets the ACL user, instead of the one in the URL.
    #[must_use]
    pub fn username(self, username: impl Into<String>) -> Self {
        Self { username: Some(username.into()), ..self }
    }

    /// Sets the password, instead of the one in the URL.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Sets the CA that signed the servers' certificates, PEM, instead of the system's trusted CAs.
    #[must_use]
    pub fn ca_pem(self, ca: impl Into<Vec<u8>>) -> Self {
        Self { ca_pem: Some(ca.into()), ..self }
    }

    /// Sets a client certificate and its key, PEM.
    #[must_use]
    pub fn identity_pem(self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self { identity_pem: Some((certificate.into(), key.into())), ..self }
    }

    /// Sets how long connecting may take: [`CONNECT_TIMEOUT`].
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// Sets how long Redis may take to respond before the connection is dropped and replaced: [`RESPONSE_TIMEOUT`]. How long a caller waits
    /// is up to [`Guard`](crate::stores::Guard).
    #[must_use]
    pub fn response_timeout(self, timeout: Duration) -> Self {
        Self { response_timeout: timeout, ..self }
    }

    /// Sets whether denials that are certain from earlier responses are answered without asking Redis. By default they are.
    #[must_use]
    pub fn remember_denials(self, remember: bool) -> Self {
        Self { remember_denials: remember, ..self }
    }

    /// Sets the observer of batches.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Whether connections use TLS.
    pub(super) fn tls(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.addr(), redis::ConnectionAddr::TcpTls { .. }))
    }
}

/// Contains neither the password nor a key.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("RedisSettings").field("topology", &self.topology).field("nodes", &addresses).finish_non_exhaustive()
    }
}

const SINGLE_FORM: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or redis+unix:///PATH[?db=DB]";
const SENTINEL_FORM: &str = "redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]../MASTER[/DB]";
const CLUSTER_FORM: &str = "redis-cluster://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT].. without a database";

fn base(scheme: &str) -> &'static str {
    if scheme.starts_with("rediss") { "rediss" } else { "redis" }
}

fn sentinels(scheme: &str, rest: &str) -> Result<(Topology, Vec<ConnectionInfo>), RedisSettingsError> {
    let (authority, path) = rest.split_once('/').ok_or(RedisSettingsError::Form(SENTINEL_FORM))?;
    let (master, db) = path.split_once('/').map_or((path, ""), |(master, db)| (master, db));
    if master.is_empty() {
        return Err(RedisSettingsError::Form(SENTINEL_FORM));
    }
    let nodes = nodes(scheme, authority, db, Some(SENTINEL_PORT), SENTINEL_FORM)?;
    Ok((Topology::Sentinel { master: master.to_owned() }, nodes))
}

/// One address each, all with the credentials that precede them.
fn nodes(
    scheme: &str,
    authority: &str,
    db: &str,
    port: Option<u16>,
    form: &'static str,
) -> Result<Vec<ConnectionInfo>, RedisSettingsError> {
    let (credentials, hosts) = authority.rsplit_once('@').map_or(("", authority), |(credentials, hosts)| (credentials, hosts));
    let at = if credentials.is_empty() { "" } else { "@" };
    let with_port = |host: &str| match port {
        Some(port) if !host.rsplit(']').next().unwrap_or(host).contains(':') => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    let hosts = hosts.trim_end_matches('/').split(',');
    hosts.map(|host| node(&format!("{scheme}://{credentials}{at}{}/{db}", with_port(host)), form)).collect()
}

fn node(url: &str, form: &'static str) -> Result<ConnectionInfo, RedisSettingsError> {
    // The library's own error would quote the URL, including the password.
    let info = url.into_connection_info().map_err(|_| RedisSettingsError::Form(form))?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        RedisSettings::parse(url).expect("a good URL").nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(addresses("redis://cache"), ["cache:6379"]);
        assert_eq!(addresses("redis://:p%40ss@cache:7000/3"), ["cache:7000"]);
        assert_eq!(addresses("redis-cluster://me:x@a:1,b:2"), ["a:1", "b:2"]);
        assert_eq!(addresses("redis-sentinel://a,b:7,[::1]/main/2"), ["a:26379", "b:7", "::1:26379"]);
        assert_eq!(addresses("redis+unix:///run/redis.sock?db=2"), ["/run/redis.sock"]);
        assert!(RedisSettings::parse("rediss-sentinel://a/main").is_ok_and(|settings| settings.tls()));
        let settings = RedisSettings::parse("redis-sentinel://me:p%40ss@a/main/2").expect("a good URL");
        assert_eq!(settings.topology, Topology::Sentinel { master: "main".to_owned() });
        let info = settings.nodes.first().expect("one node").redis_settings();
        assert_eq!((info.username(), info.password(), info.db()), (Some("me"), Some("p@ss"), 2));
    }

    #[test]
    fn bad_ones_say_what_to_write_and_no_password() {
        for url in ["cache:6379", "http://cache", "", "://"] {
            assert_eq!(RedisSettings::parse(url).err(), Some(RedisSettingsError::Scheme), "{url}");
        }
        for url in [
            "redis://",
            "redis://:hunter2@cache:port",
            "redis-sentinel://a",
            "redis-sentinel://a/",
            "redis-cluster://a:1,,b",
            "redis://a/x",
        ] {
            let error = RedisSettings::parse(url).expect_err(url).to_string();
            assert!(error.contains("HOST") && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
