//! The trusted issuer, where its keys are, and how long they may be cached.

use std::{path::PathBuf, time::Duration};

use super::credentials::Credentials;

/// Default tolerated clock difference.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// How long keys are cached, by default and at most; less if the issuer's `Cache-Control` says so.
pub const REFRESH_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long after that the keys of an unreachable issuer remain in use.
pub const STALE_FOR: Duration = Duration::from_secs(60 * 60);
/// Minimum interval between reads caused by tokens with unknown keys.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a caller with an unknown key waits for such a read.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Deadline for reading the keys, including discovery.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many verified tokens are cached.
pub const MOST_REMEMBERED: usize = 10_000;

/// The trusted issuer and how to reach it.
///
/// ```
/// use tollgate::auth::VerifierSettings;
///
/// // Keys are found through https://login.example/.well-known/openid-configuration.
/// let settings = VerifierSettings::new("https://login.example", "https://mcp.example/mcp");
/// // Or they are at a given URL.
/// let settings = settings.jwks_url("https://login.example/keys");
/// ```
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) keys: KeySource,
    pub(super) allow_http: bool,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) bearer_file: Option<PathBuf>,
    pub(super) introspection: Option<(String, Option<Credentials>)>,
    pub(super) bearer_hosts: Option<Vec<String>>,
    pub(super) leeway: Duration,
    pub(super) refresh_every: Duration,
    pub(super) stale_for: Duration,
    pub(super) cool_down: Duration,
    pub(super) patience: Duration,
    pub(super) fetch_timeout: Duration,
    pub(super) most_remembered: usize,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// At the `jwks_uri` of the issuer's discovery document: `/.well-known/openid-configuration`, else RFC 8414's.
    Discovery,
    /// At this URL.
    Url(String),
    /// In this file, which is read again periodically.
    File(PathBuf),
}

impl VerifierSettings {
    /// Trusts tokens with exactly this `iss` and this `aud`. Keys are found through discovery.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            keys: KeySource::Discovery,
            allow_http: false,
            ca_pem: None,
            bearer_file: None,
            introspection: None,
            bearer_hosts: None,
            leeway: LEEWAY,
            refresh_every: REFRESH_EVERY,
            stale_for: STALE_FOR,
            cool_down: COOL_DOWN,
            patience: PATIENCE,
            fetch_timeout: FETCH_TIMEOUT,
            most_remembered: MOST_REMEMBERED,
        }
    }

    /// Accepts another audience.
    #[must_use]
    pub fn or_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets where the keys are.
    #[must_use]
    pub fn keys(self, keys: KeySource) -> Self {
        Self { keys, ..self }
    }

    /// Reads keys from this URL, without discovery.
    #[must_use]
    pub fn jwks_url(self, url: impl Into<String>) -> Self {
        self.keys(KeySource::Url(url.into()))
    }

    /// Reads keys from this file, without contacting the issuer.
    #[must_use]
    pub fn jwks_file(self, path: impl Into<PathBuf>) -> Self {
        self.keys(KeySource::File(path.into()))
    }

    /// Whether keys may be read over plain HTTP from hosts other than this one. Not for production.
    #[must_use]
    pub fn allow_http(self, allow: bool) -> Self {
        Self { allow_http: allow, ..self }
    }

    /// The CA that signed the issuer's certificate, PEM, instead of the system's trusted CAs.
    #[must_use]
    pub fn ca_pem(self, ca: impl Into<Vec<u8>>) -> Self {
        Self { ca_pem: Some(ca.into()), ..self }
    }

    /// A file with a bearer token for reading keys, as the Kubernetes API server requires. It is read again for each request.
    #[must_use]
    pub fn bearer_file(self, path: impl Into<PathBuf>) -> Self {
        Self { bearer_file: Some(path.into()), ..self }
    }

    /// The issuer's introspection endpoint for opaque tokens (RFC 7662), and the client to authenticate as. Without it, such tokens are
    /// malformed.
    #[must_use]
    pub fn introspection(self, url: impl Into<String>, client: Option<Credentials>) -> Self {
        Self { introspection: Some((url.into(), client)), ..self }
    }

    /// The only servers that may receive that token, each as `HOST` or `HOST:PORT`, over `https`. Keys that are read with it must be at one
    /// of them.
    #[must_use]
    pub fn bearer_only_to(self, hosts: Vec<String>) -> Self {
        Self { bearer_hosts: Some(hosts), ..self }
    }

    /// Tolerated clock difference: [`LEEWAY`].
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// How long keys are cached: [`REFRESH_EVERY`].
    #[must_use]
    pub fn refresh_every(self, every: Duration) -> Self {
        Self { refresh_every: every, ..self }
    }

    /// How long keys remain in use if they cannot be refreshed: [`STALE_FOR`].
    #[must_use]
    pub fn stale_for(self, stale: Duration) -> Self {
        Self { stale_for: stale, ..self }
    }

    /// Minimum interval between reads caused by unknown keys: [`COOL_DOWN`].
    #[must_use]
    pub fn cool_down(self, cool_down: Duration) -> Self {
        Self { cool_down, ..self }
    }

    /// How long a caller waits for keys, at most: [`PATIENCE`].
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Deadline for reading the keys: [`FETCH_TIMEOUT`].
    #[must_use]
    pub fn fetch_timeout(self, timeout: Duration) -> Self {
        Self { fetch_timeout: timeout, ..self }
    }

    /// How many verified tokens are cached: [`MOST_REMEMBERED`]. 0 disables the cache.
    #[must_use]
    pub fn most_remembered(self, most: usize) -> Self {
        Self { most_remembered: most, ..self }
    }
}
