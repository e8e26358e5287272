//! Who is calling, and what those get whom nobody knows.
//!
//! A request's token is checked and taken out of its head: it was issued for this proxy, and MCP forbids to pass it on. Where the server
//! behind asks for tokens itself, [`Callers::pass_token`] leaves it in.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, header, request::Parts};

use super::front::{Turned, plain};
use crate::{
    identity::{Auth, Caller, Peer as Asking, ProtectedResource, Rejection, challenge},
    listener::Peer,
};

/// How callers are known.
#[derive(Clone, Debug)]
pub struct Callers {
    /// By tokens, by a header, or not.
    pub auth: Auth,
    /// What clients are told of how to sign in.
    pub resource: Option<Arc<ProtectedResource>>,
    /// Whether the token goes on to the server behind.
    pub pass_token: bool,
}

impl Callers {
    /// RFC 9728's document, when that is what is asked for.
    pub(super) fn metadata(&self, parts: &Parts) -> Option<Response> {
        let resource =
            self.resource.as_ref().filter(|resource| parts.method == Method::GET && parts.uri.path() == resource.metadata_path())?;
        let mut response = Response::new(Body::from(resource.metadata().to_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }

    /// The caller, when it is known. What must not go on is taken out of the head.
    pub(super) async fn who(&self, parts: &mut Parts, peer: Option<Peer>) -> Result<Option<Arc<Caller>>, Rejection> {
        let asking = peer.map(|peer| Asking { ip: peer.address.ip(), has_certificate: peer.certified });
        let asking = asking.unwrap_or(Asking { ip: std::net::Ipv4Addr::UNSPECIFIED.into(), has_certificate: false });
        // A browser asks whether it may ask, without any token (CORS).
        let caller = match parts.method {
            Method::OPTIONS => None,
            _ => self.auth.caller(&parts.headers, asking).await?,
        };
        if let Some(name) = self.auth.user_header().filter(|_| !asking.is_trusted()) {
            // The server behind must not believe it either.
            parts.headers.remove(name);
        }
        if self.auth.verifier().is_some() && !self.pass_token {
            parts.headers.remove(header::AUTHORIZATION);
        }
        Ok(caller)
    }

    /// The answer to a caller who is not let in.
    pub(super) fn unknown(&self, rejection: Rejection) -> Turned {
        let mut response = plain(rejection.status(), &rejection.to_string());
        let challenge = challenge(rejection, self.resource.as_deref()).and_then(|challenge| HeaderValue::try_from(challenge).ok());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Turned::with(response)
    }
}
