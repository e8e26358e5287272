//! Who is calling: bearer tokens verified against their issuer, and the answers for those whose are not.
//!
//! A caller is the verified `sub` of a token, or nobody. A claim that was not verified never gets out of here, so it can never become the key of
//! a bucket: with one, anybody could drain the bucket of anybody else, or leave their own at will.
//!
//! # A token's way
//!
//! ```text
//! longer than 16 KiB?            rejected, unread
//! seen a short while ago?        its caller, for the price of a SHA-256          (remembered.rs)
//! three parts, strict, signed with an asymmetric algorithm?                     (token.rs)
//! iss, aud, exp, nbf, iat, sub as they should be?                               (claims.rs)
//! signed by the issuer's key of that kid?                                       (keys.rs, keyring.rs)
//! no JWT at all, and the issuer can be asked?                                   (introspection.rs)
//! ```
//!
//! The issuer is asked in the background only. One that is away or slow lets nobody in whose key is not at hand, and holds up nobody whose is;
//! a caller waits for it at most a second, and only for keys that were never read or may be new. What happens when is told in `keyring.rs`.
//!
//! # An example
//!
//! ```no_run
//! use tollgate::callers::{Auth, AuthMode, PeerIdentity, ProtectedResource, VerifierSettings, Verifier, challenge};
//!
//! # async fn of_request(headers: http::HeaderMap, ip: std::net::IpAddr) -> Result<(), Box<dyn std::error::Error>> {
//! let settings = VerifierSettings::new("https://login.example", "https://mcp.example/mcp");
//! let auth = Auth::new(AuthMode::Required, Some(Verifier::start(&settings)?), None)?;
//! let resource = ProtectedResource::new("https://mcp.example/mcp", "https://login.example", &[])?;
//!
//! match auth.caller(&headers, PeerIdentity { ip, certificate_names: &[] }).await {
//!     Ok(Some(caller)) => println!("{} may go on", caller.subject()),
//!     Ok(None) => println!("nobody in particular may go on"),
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
//! | file | what lives there |
//! |---|---|
//! | `verifier` | tokens in, callers out |
//! | `callers` | who is calling, by token or by header, and whether they have to be known |
//! | `peer` | who may name the user in a header |
//! | `rejection` | the reasons why nobody is let in |
//! | `challenge` | `WWW-Authenticate`, and RFC 9728's metadata |
//! | `settings` | whose tokens are trusted |
//! | `sign_in` | the same, from what a resource says ([`SignIn`](crate::manifest::sign_in::SignIn)) |
//! | `token`, `claims`, `algorithm`, `keys` | a token and a key, pure |
//! | `keyring`, `remembered` | what is kept |
//! | `introspection`, `credentials` | tokens that only the issuer can read, and who asks it |
//! | `fetch`, `web`, `file`, `url` | where keys come from |

mod algorithm;
mod callers;
mod challenge;
mod claims;
mod credentials;
mod fetch;
mod file;
mod introspection;
mod keyring;
mod keys;
mod peer;
mod rejection;
mod remembered;
pub mod settings;
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
pub use settings::{KeySource, VerifierSettings, VerifierSettingsError};
pub use sign_in::SignInError;
pub use verifier::{LONGEST_TOKEN, Verifier};

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    subject: Box<str>,
    issuer: Option<Box<str>>,
}

impl Caller {
    fn new(subject: impl Into<Box<str>>, issuer: Option<impl Into<Box<str>>>) -> Self {
        Self { subject: subject.into(), issuer: issuer.map(Into::into) }
    }

    /// The verified `sub`, or what a trusted peer says. Unique for one issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The verified `iss`; `None` for a caller whom a trusted peer knows.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}
