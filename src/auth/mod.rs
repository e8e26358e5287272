//! Identifies callers: bearer tokens verified against their issuer, and the responses for invalid ones.
//!
//! A caller is the verified `sub` of a token, or anonymous. An unverified claim never leaves this module, so it can never become the key of
//! a bucket: with one, a client could drain someone else's bucket, or switch buckets at will.
//!
//! # How a token is processed
//!
//! ```text
//! longer than 16 KiB?            rejected, unread
//! verified recently?             its caller, for the cost of a SHA-256           (remembered.rs)
//! three parts, strict, signed with an asymmetric algorithm?                     (token.rs)
//! are iss, aud, exp, nbf, iat, sub valid?                                       (claims.rs)
//! signed by the issuer's key with that kid?                                     (keys.rs, keyring.rs)
//! not a JWT, and introspection is configured?                                   (introspection.rs)
//! ```
//!
//! The issuer is contacted in the background. If it is unreachable or slow, only tokens whose key is not cached are rejected, and no other
//! caller is delayed; a caller waits for it at most a second, and only for keys that were never read or may be new. `keyring.rs` describes
//! the details.
//!
//! # An example
//!
//! ```no_run
//! use tollgate::auth::{Auth, AuthMode, PeerIdentity, ProtectedResource, VerifierSettings, Verifier, challenge};
//!
//! # async fn of_request(headers: http::HeaderMap, ip: std::net::IpAddr) -> Result<(), Box<dyn std::error::Error>> {
//! let settings = VerifierSettings::new("https://login.example", "https://mcp.example/mcp");
//! let auth = Auth::new(AuthMode::Required, Some(Verifier::start(&settings)?), None)?;
//! let resource = ProtectedResource::new("https://mcp.example/mcp", "https://login.example", &[])?;
//!
//! match auth.caller(&headers, PeerIdentity { ip, certificate_names: &[] }).await {
//!     Ok(Some(caller)) => println!("{} may go on", caller.subject()),
//!     Ok(None) => println!("an anonymous caller may go on"),
//!     Err(rejection) => println!("{}, WWW-Authenticate: {:?}", rejection.status(), challenge(rejection, Some(&resource))),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Why not a JWT library
//!
//! Signatures are ring's, which TLS brings anyway. Around them a library would have to read strictly (each member once, no `crit`), take the
//! time as an argument and share no provider with the rest of the process; that is less code here than the settings that would make one do so.
//! The tests sign with such a library, so the two have to agree.
//!
//! # Files
//!
//! | file | contents |
//! |---|---|
//! | `verifier` | tokens in, callers out |
//! | `callers` | identifies the caller, by token or by header, and decides whether that is required |
//! | `peer` | who may name the user in a header |
//! | `rejection` | the reasons for rejecting a request |
//! | `challenge` | `WWW-Authenticate`, and RFC 9728's metadata |
//! | `settings` | the trusted issuer, its keys and caching |
//! | `sign_in` | the same, from a resource's settings ([`SignIn`](crate::manifest::sign_in::SignIn)) |
//! | `token`, `claims`, `algorithm`, `keys` | parsing and verifying tokens and keys, pure |
//! | `keyring`, `remembered` | caches |
//! | `introspection`, `credentials` | opaque tokens, and the client that introspects them |
//! | `fetch`, `web`, `file`, `url` | reading keys |

mod algorithm;
mod callers;
mod challenge;
mod claims;
mod credentials;
mod fetch;
mod fetch_error;
mod file;
mod introspection;
mod keyring;
mod keys;
mod peer;
mod rejection;
mod remembered;
pub mod settings;
mod settings_error;
mod sign_in;
mod token;
mod url;
mod verifier;
mod web;
#[cfg(test)]
mod wycheproof;

pub use callers::{Auth, AuthMode};
pub use challenge::{ProtectedResource, WELL_KNOWN, challenge};
pub use credentials::{Credentials, Secret};
pub use peer::{PeerIdentity, TrustedPeers, UserHeader};
pub use rejection::Rejection;
pub use settings::{KeySource, VerifierSettings};
pub use settings_error::VerifierSettingsError;
pub use sign_in::SignInError;
pub use verifier::{LONGEST_TOKEN, Verifier};

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    subject: Box<str>,
    issuer: Option<Box<str>>,
}

impl Caller {
    fn new(subject: impl Into<Box<str>>, issuer: Option<impl Into<Box<str>>>) -> Self {
        Self { subject: subject.into(), issuer: issuer.map(Into::into) }
    }

    /// The verified `sub`, or the name given by a trusted peer. Unique within one issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The verified `iss`; `None` if a trusted peer identified the caller.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}
