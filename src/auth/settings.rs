//! Whose tokens are trusted, where that issuer's keys are, and for how long.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use super::credentials::Credentials;

/// How far clocks may be apart, by default.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// After this long keys are read again, by default and at most; sooner where the issuer's `Cache-Control` says so.
pub const REFRESH_EVERY: Duration = Duration::from_secs(10 * 60);
/// For this long after they should have been read again, keys of an issuer that is away are still used.
pub const STALE_FOR: Duration = Duration::from_secs(60 * 60);
/// Tokens with unknown keys make the keys be read again at most this often.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a caller with an unknown key waits for that.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long reading the keys may take, discovery included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many tokens are remembered as verified.
pub const MOST_REMEMBERED: usize = 10_000;

/// Whose tokens are trusted.
///
/// ```
/// use tollgate::auth::VerifierSettings;
///
/// // Keys are found through https://login.example/.well-known/openid-configuration.
/// let settings = VerifierSettings::new("https://login.example", "https://mcp.example/mcp");
/// // Or they are where somebody says.
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
pub enum KeySource {
    /// Where the issuer's discovery document says: `/.well-known/openid-configuration`, else RFC 8414's.
    Discovery,
    /// At this URL.
    Url(String),
    /// In this file, which is read again when it may have changed.
    File(PathBuf),
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifierSettingsError {
    /// An empty issuer: any token that leaves `iss` empty would do.
    #[error("the issuer is empty: write its URL, exactly as tokens have it in iss")]
    Issuer,
    /// No audience, or an empty one: tokens for anybody else would do.
    #[error("the audience is empty: write what tokens for this server have in aud, mostly the URL that clients call")]
    Audience,
    /// No URL that could be asked.
    #[error("{0:?} is no URL to read keys from: write https://HOST[:PORT][/PATH]")]
    Url(String),
    /// Keys over a connection that anybody on the way can change.
    #[error("{0:?} is plain HTTP, over which anybody on the way can hand in keys of their own: write https, or allow it")]
    PlainHttp(String),
    /// The CA is none.
    #[error("the CA for the issuer holds no certificate: it has to be PEM")]
    Ca,
    /// Nothing to judge the issuer's certificate by.
    #[error("the system has no CA certificates to judge the issuer's by: install them (ca-certificates), or name a CA")]
    NoCa,
    /// TLS cannot be set up.
    #[error("TLS for reading keys cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A file that is named cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// As the system says it.
        error: io::Error,
    },
    /// The file with the keys has none.
    #[error("{} holds no JWK Set: write {{\"keys\": [..]}}", .0.display())]
    NoKeySet(PathBuf),
    /// The file with a token to read keys with.
    #[error("{} holds no bearer token: it has to be one line of visible ASCII characters", .0.display())]
    Bearer(PathBuf),
    /// The client's secret.
    #[error("the client secret is not UTF-8 text")]
    Secret,
    /// The token to read keys with must not be sent to where they are.
    #[error(
        "{0:?} is not the cluster's own API server, which alone may receive the service account token: remove jwksAuthTokenPath, or set useClusterAuth: false"
    )]
    BearerElsewhere(String),
    /// No way to know anybody where everybody has to be known.
    #[error("callers have to be known, and nothing says how: name an issuer, or a header that a trusted peer sets")]
    NobodyKnown,
    /// What clients are told to call is no URL.
    #[error("{0:?} is no URL of a server: write http(s)://HOST[:PORT][/PATH], as clients call it")]
    Resource(String),
    /// RFC 6750 allows visible ASCII without quotes.
    #[error("{0:?} is no scope: write visible ASCII characters without spaces, quotes and backslashes")]
    Scope(String),
}

impl PartialEq for VerifierSettingsError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl VerifierSettings {
    /// Trusts tokens with exactly this `iss` and this in `aud`. Keys are found through discovery.
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

    /// One more audience that will do.
    #[must_use]
    pub fn or_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Where the keys are.
    #[must_use]
    pub fn keys(self, keys: KeySource) -> Self {
        Self { keys, ..self }
    }

    /// Reads keys from this URL, without discovery.
    #[must_use]
    pub fn jwks_url(self, url: impl Into<String>) -> Self {
        self.keys(KeySource::Url(url.into()))
    }

    /// Reads keys from this file, and asks nobody.
    #[must_use]
    pub fn jwks_file(self, path: impl Into<PathBuf>) -> Self {
        self.keys(KeySource::File(path.into()))
    }

    /// Whether keys may be read over plain HTTP from elsewhere than this host. Not for production.
    #[must_use]
    pub fn allow_http(self, allow: bool) -> Self {
        Self { allow_http: allow, ..self }
    }

    /// The CA that has signed the issuer's certificate, PEM, instead of those that the system trusts.
    #[must_use]
    pub fn ca_pem(self, ca: impl Into<Vec<u8>>) -> Self {
        Self { ca_pem: Some(ca.into()), ..self }
    }

    /// A file with a bearer token to read keys with, as the API server of Kubernetes asks for. It is read anew each time.
    #[must_use]
    pub fn bearer_file(self, path: impl Into<PathBuf>) -> Self {
        Self { bearer_file: Some(path.into()), ..self }
    }

    /// The issuer's introspection endpoint for opaque tokens (RFC 7662), and the client to authenticate as. Without it, such tokens are malformed.
    #[must_use]
    pub fn introspection(self, url: impl Into<String>, client: Option<Credentials>) -> Self {
        Self { introspection: Some((url.into(), client)), ..self }
    }

    /// The only servers that may receive that token, each as `HOST` or `HOST:PORT`, over `https`. Keys that are read with it have to be there.
    #[must_use]
    pub fn bearer_only_to(self, hosts: Vec<String>) -> Self {
        Self { bearer_hosts: Some(hosts), ..self }
    }

    /// How far clocks may be apart: [`LEEWAY`].
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// After how long keys are read again: [`REFRESH_EVERY`].
    #[must_use]
    pub fn refresh_every(self, every: Duration) -> Self {
        Self { refresh_every: every, ..self }
    }

    /// How long keys are used that could not be read again: [`STALE_FOR`].
    #[must_use]
    pub fn stale_for(self, stale: Duration) -> Self {
        Self { stale_for: stale, ..self }
    }

    /// How often unknown keys may have the keys read again: [`COOL_DOWN`].
    #[must_use]
    pub fn cool_down(self, cool_down: Duration) -> Self {
        Self { cool_down, ..self }
    }

    /// How long a caller waits for keys, at most: [`PATIENCE`].
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long reading the keys may take: [`FETCH_TIMEOUT`].
    #[must_use]
    pub fn fetch_timeout(self, timeout: Duration) -> Self {
        Self { fetch_timeout: timeout, ..self }
    }

    /// How many tokens are remembered as verified: [`MOST_REMEMBERED`]. None with 0.
    #[must_use]
    pub fn most_remembered(self, most: usize) -> Self {
        Self { most_remembered: most, ..self }
    }
}
