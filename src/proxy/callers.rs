//! Authentication of callers, and the response to those who are not authenticated.
//!
//! A request's token is checked and taken out of its head: it was issued for this proxy, and MCP forbids passing it on. If the
//! server verifies tokens itself, [`Callers::pass_token`] keeps it.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

use super::responses::{Turned, plain};
use crate::{
    auth::{Auth, Caller, PeerIdentity, ProtectedResource, Rejection, challenge},
    server::Peer,
};

/// How callers are authenticated.
#[derive(Clone, Debug)]
pub struct Callers {
    /// By tokens, by a header, or not at all.
    pub auth: Auth,
    /// The metadata by which clients discover how to sign in.
    pub resource: Option<Arc<ProtectedResource>>,
    /// Whether the token is forwarded to the MCP server.
    pub pass_token: bool,
}

impl Callers {
    /// The response to a request for RFC 9728's metadata document.
    pub(super) fn metadata(&self, parts: &Parts) -> Option<Response> {
        let resource =
            self.resource.as_ref().filter(|resource| parts.method == Method::GET && parts.uri.path() == resource.metadata_path())?;
        let mut response = Response::new(Body::from(resource.metadata().to_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }

    /// The caller, if authenticated. Removes from the head what must not be forwarded.
    pub(super) async fn who(&self, parts: &mut Parts, peer: Option<&Peer>) -> Result<Option<Arc<Caller>>, Rejection> {
        let asking = asking(peer);
        // A browser sends a preflight without any token (CORS).
        let caller = match parts.method {
            Method::OPTIONS => None,
            _ => self.auth.caller(&parts.headers, asking).await?,
        };
        self.strip(&mut parts.headers, peer, self.pass_token);
        Ok(caller)
    }

    /// Removes what the MCP server must not receive: a user header that was not set by a trusted peer, and tokens for this proxy.
    pub(super) fn strip(&self, headers: &mut HeaderMap, peer: Option<&Peer>, keeps_token: bool) {
        if let Some(user) = self.auth.user_header() {
            let is_trusted = self.auth.trusts(asking(peer));
            // The other spelling is never used for counting, so it must not pass either.
            let false_ones = headers.keys().filter(|name| is_spelling(name, user) && !(is_trusted && *name == user));
            for name in false_ones.cloned().collect::<Vec<_>>() {
                headers.remove(name);
            }
        }
        if self.auth.verifier().is_some() && !keeps_token {
            headers.remove(header::AUTHORIZATION);
        }
    }

    /// The response to a caller who is rejected.
    pub(super) fn unknown(&self, rejection: Rejection) -> Turned {
        let mut response = plain(rejection.status(), &rejection.to_string());
        let challenge = challenge(rejection, self.resource.as_deref()).and_then(|challenge| HeaderValue::try_from(challenge).ok());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Turned::with(response)
    }
}

fn asking(peer: Option<&Peer>) -> PeerIdentity<'_> {
    match peer {
        Some(peer) => PeerIdentity { ip: peer.address.ip(), certificate_names: &peer.certificate_names },
        None => PeerIdentity { ip: std::net::Ipv4Addr::UNSPECIFIED.into(), certificate_names: &[] },
    }
}

/// Whether a server that maps `-` to `_`, as CGI does, confuses the two names.
fn is_spelling(name: &HeaderName, of: &HeaderName) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.as_str().bytes().map(fold).eq(of.as_str().bytes().map(fold))
}
