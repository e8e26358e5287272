//! Why settings for verifying tokens are invalid.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the settings are invalid.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifierSettingsError {
    /// An empty issuer: any token with an empty `iss` would be accepted.
    #[error("the issuer is empty: set its URL, exactly as in the tokens' iss claim")]
    Issuer,
    /// No audience, or an empty one: tokens for other services would be accepted.
    #[error("the audience is empty: set the aud claim of tokens for this server, usually the URL that clients call")]
    Audience,
    /// Not a usable URL.
    #[error("{0:?} is not a URL to read keys from: use the form https://HOST[:PORT][/PATH]")]
    Url(String),
    /// Keys over a connection that an attacker on the network can modify.
    #[error("{0:?} uses plain HTTP, where anyone on the network path can substitute their own keys: use https, or allow plain HTTP")]
    PlainHttp(String),
    /// The CA file contains no certificate.
    #[error("the issuer's CA file contains no PEM certificate")]
    Ca,
    /// No CA was found to verify the issuer's certificate with.
    #[error("the system has no CA certificates to verify the issuer's certificate with: install them (ca-certificates), or configure a CA")]
    NoCa,
    /// TLS cannot be set up.
    #[error("TLS for reading keys cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A configured file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The key file is not a JWK Set.
    #[error("{} does not contain a JWK Set: the format is {{\"keys\": [..]}}", .0.display())]
    NoKeySet(PathBuf),
    /// The file with the bearer token for reading keys is invalid.
    #[error("{} does not contain a bearer token: it must be one line of visible ASCII characters", .0.display())]
    Bearer(PathBuf),
    /// The client secret is invalid.
    #[error("the client secret is not UTF-8 text")]
    Secret,
    /// The token for reading keys must not be sent to the server that has them.
    #[error(
        "{0:?} is not the cluster's own API server, which alone may receive the service account token: remove jwksAuthTokenPath, or set useClusterAuth: false"
    )]
    BearerElsewhere(String),
    /// Authentication is required, but no way to authenticate is configured.
    #[error("authentication is required, but neither an issuer nor a header set by a trusted peer is configured")]
    NoAuthentication,
    /// The URL advertised to clients is invalid.
    #[error("{0:?} is not a server URL: use the URL that clients call, http(s)://HOST[:PORT][/PATH]")]
    Resource(String),
    /// RFC 6750 allows visible ASCII without quotes.
    #[error("{0:?} is not a scope: use visible ASCII characters without spaces, quotes and backslashes")]
    Scope(String),
}

impl PartialEq for VerifierSettingsError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
