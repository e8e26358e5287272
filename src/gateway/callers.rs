//! Who is calling: nobody, the user that a trusted peer names, or the subject of a verified token.

use std::net::IpAddr;

use axum::response::Response;
use http::{HeaderName, HeaderValue, request::Parts};

use super::front::{Turned, plain};
use crate::listener::Peer;

/// How callers are known.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// The header in which a trusted peer names the user.
    pub user_header: Option<HeaderName>,
}

impl Callers {
    pub(super) fn metadata(&self, _parts: &Parts) -> Option<Response> {
        None
    }

    /// The user, when there is one that can be believed. What must not go on is taken out of the head.
    pub(super) async fn who(&self, parts: &mut Parts, peer: Option<Peer>) -> Result<Option<String>, Turned> {
        self.named_by_peer(parts, peer)
    }

    /// What the header says, if the peer may say so. From anybody else it is taken out, so that the server does not believe it either.
    fn named_by_peer(&self, parts: &mut Parts, peer: Option<Peer>) -> Result<Option<String>, Turned> {
        let Some(name) = &self.user_header else { return Ok(None) };
        if !peer.is_some_and(is_trusted) {
            parts.headers.remove(name);
            return Ok(None);
        }
        let mut values = parts.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => readable(value).map(Some).ok_or_else(|| unreadable(name)),
            (Some(_), Some(_)) => Err(unreadable(name)),
        }
    }
}

/// On this machine, or with a certificate that was asked for.
fn is_trusted(peer: Peer) -> bool {
    peer.certified || IpAddr::to_canonical(&peer.address.ip()).is_loopback()
}

fn readable(value: &HeaderValue) -> Option<String> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned).filter(|user| !user.is_empty())
}

fn unreadable(name: &HeaderName) -> Turned {
    Turned::with(plain(400, &format!("the header {name} must name one user, in UTF-8")))
}
