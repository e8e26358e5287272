//! Authentication of callers, and the response to those who are not authenticated.
//!
//! A request's token is checked and taken out of its head: it was issued for this front, and MCP forbids passing it on. If the
//! server verifies tokens itself, [`Callers::pass_token`] keeps it.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use tokio::{sync::Semaphore, time::timeout};

use super::answer::{Turned, plain};
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
    /// How long a request waits to know its caller, where the front itself has little time. It is not known in time: 503. What was asked of the
    /// issuer goes on, so that a later request finds the answer.
    pub within: Option<Duration>,
}

/// Questions to the issuer that go on without a request.
const MOST_LEFT_BEHIND: usize = 1024;
static LEFT_BEHIND: Semaphore = Semaphore::const_new(MOST_LEFT_BEHIND);

impl Callers {
    /// The response to a request for RFC 9728's metadata document.
    pub fn metadata(&self, parts: &Parts) -> Option<Response> {
        let resource =
            self.resource.as_ref().filter(|resource| parts.method == Method::GET && parts.uri.path() == resource.metadata_path())?;
        let mut response = Response::new(Body::from(resource.metadata().to_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }

    /// The caller, if authenticated. Removes from the head what must not be forwarded, and names it.
    pub(super) async fn who(&self, parts: &mut Parts, peer: Option<&Peer>) -> Result<(Option<Arc<Caller>>, Vec<HeaderName>), Rejection> {
        // A browser sends a preflight without any token (CORS).
        let caller = match (&parts.method, self.within) {
            (&Method::OPTIONS, _) => None,
            (_, None) => self.auth.caller(&parts.headers, asking(peer)).await?,
            (_, Some(within)) => self.caller_within(within, &parts.headers, peer).await?,
        };
        let removed = self.strip(&mut parts.headers, peer, self.pass_token);
        Ok((caller, removed))
    }

    async fn caller_within(&self, within: Duration, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<Arc<Caller>>, Rejection> {
        let names = [Some(&header::AUTHORIZATION), self.auth.user_header()].into_iter().flatten();
        let credentials: HeaderMap =
            names.flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone()))).collect();
        let (auth, peer) = (self.auth.clone(), peer.cloned());
        let mut asked = Box::pin(async move { auth.caller(&credentials, asking(peer.as_ref())).await });
        if let Ok(caller) = timeout(within, asked.as_mut()).await {
            return caller;
        }
        if let Ok(place) = LEFT_BEHIND.try_acquire() {
            tokio::spawn(async move {
                let _ = asked.await;
                drop(place);
            });
        }
        Err(Rejection::IssuerAway)
    }

    /// Removes what the MCP server must not receive, and names it: a user header that was not set by a trusted peer, and tokens for this front.
    pub fn strip(&self, headers: &mut HeaderMap, peer: Option<&Peer>, keeps_token: bool) -> Vec<HeaderName> {
        let mut removed = Vec::new();
        if let Some(user) = self.auth.user_header() {
            let is_trusted = self.auth.trusts(asking(peer));
            // The other spelling is never used for counting, so it must not pass either.
            removed.extend(headers.keys().filter(|name| is_spelling(name, user) && !(is_trusted && *name == user)).cloned());
        }
        if self.auth.verifier().is_some() && !keeps_token {
            removed.push(header::AUTHORIZATION);
        }
        removed.retain(|name| headers.remove(name).is_some());
        removed
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
