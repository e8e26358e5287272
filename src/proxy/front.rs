//! One request: authenticate, parse, decide; then forward to the MCP server, or respond.
//!
//! ```text
//! foreign Host, Origin    403 (origin)
//! other paths             404, or passed without limits if configured (paths, beside)
//! POST            read whole (bounded), read strictly; tools/call is decided, everything else passes
//! GET DELETE ..   forwarded without a body: streams, the end of a session
//! other methods   405: a server might execute their bodies
//! ```

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, Method, Uri, header, request::Parts};

use super::{
    Gateway, announced::Asked, bodies::Unread, forwarded::Hop, hop, paths::Route, responses::unread, sending::Head, upstream::NoAnswer,
};
use crate::{
    auth::Caller,
    gate::{
        access::Access,
        answer::{Turned, method_not_allowed, plain, with},
    },
    mcp::{
        Fault, Refusal,
        http::{ALLOWED, Role, declared},
    },
    server::Peer,
};

/// Serves one request.
pub(super) async fn serve(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let mut access = Access::begin(request.method(), gateway.gate.settings().access_log);
    let answered =
        gateway.origins.around(request.into_parts(), |(parts, _)| parts, |(parts, body)| gateway.answer(parts, body, &mut access));
    let response = answered.await.unwrap_or_else(Turned::into_response);
    gateway.metrics.finish(access, &response);
    response
}

impl Gateway {
    /// The server's response, or the proxy's own.
    async fn answer(&self, mut parts: Parts, body: Body, access: &mut Access) -> Result<Response, Turned> {
        let peer = parts.extensions.get::<Peer>().cloned();
        if let Some(metadata) = self.gate.callers().metadata(&parts) {
            return Err(Turned::with(metadata));
        }
        let route = self.paths.route(&parts.method, parts.uri.path())?;
        if route != Route::Endpoint {
            return self.pass_beside(route, parts, peer.as_ref(), body).await;
        }
        let (caller, _) = self.gate.who(&mut parts, peer.as_ref()).await?;
        match Role::of(&parts.method) {
            Role::Message => self.post(parts, peer.as_ref(), body, caller.as_deref().map(Caller::subject), access).await,
            Role::Passing => {
                let user = caller.as_deref().map(Caller::subject);
                self.forward(parts, peer.as_ref(), Bytes::new(), user).await.map_err(|error| Turned::with(error.without_id()))
            }
            Role::NotAllowed => Err(Turned::with(method_not_allowed(ALLOWED))),
        }
    }

    /// A message: parsed, decided, and forwarded.
    async fn post(
        &self,
        parts: Parts,
        peer: Option<&Peer>,
        body: Body,
        user: Option<&str>,
        access: &mut Access,
    ) -> Result<Response, Turned> {
        let (declared, answers) = (declared(&parts.headers), self.paths.answers(&parts.uri, user));
        let form = &self.gate.settings().rejection;
        let body = self.read(&parts, body, form.spares(declared) || answers.need_id()).await.map_err(|why| match why {
            Unread::TooLarge(limit, id @ Some(_)) => {
                Turned::with(answers.give(form.refused(declared, &Refusal { fault: Fault::TooLarge { limit }, id })))
            }
            why => Turned::with(unread(why)),
        })?;
        let admitted = self.gate.admit(&parts.headers, &body, user, access).await;
        let (envelope, fields) = admitted.map_err(|(reply, fields)| Turned::with(with(answers.give(reply), fields)))?;
        let mut response = self.forward(parts, peer, body, user).await.map_err(|error| {
            error.log();
            Turned::with(answers.give(form.failed(&envelope, error.status(), &error.to_string())))
        })?;
        for (name, value) in fields {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// Forwards a request; URLs in the response do not lead past this proxy.
    pub(super) async fn forward(&self, parts: Parts, peer: Option<&Peer>, body: Bytes, user: Option<&str>) -> Result<Response, NoAnswer> {
        let asked = (parts.method == Method::GET).then(|| Asked { path: parts.uri.path().to_owned(), user: user.map(Box::from) });
        let head = self.head(parts, peer);
        let mut response = self.upstream.pass(head, body).await?;
        self.origin.hide(response.headers_mut(), |path| self.paths.is_named(path));
        if let Some(asked) = asked {
            response = self.paths.announced.watch(asked, &self.origin, response);
        }
        Ok(self.streams.streaming(response))
    }

    /// The whole body, within bounds of size, time and memory.
    pub(super) async fn read(&self, parts: &Parts, body: Body, wants_id: bool) -> Result<Bytes, Unread> {
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.bodies.read(announced, body, wants_id).await
    }

    /// The head as it is forwarded.
    fn head(&self, parts: Parts, peer: Option<&Peer>) -> Head {
        let Parts { method, uri, mut headers, .. } = parts;
        let (user, host) = (self.gate.callers().auth.user_header(), host(&uri, &headers));
        hop::leave_hop(&mut headers, user);
        if let Some(peer) = peer.map(|peer| peer.address.ip()) {
            Hop { peer, host, is_tls: self.is_tls, trusted: &self.trusted_proxies, kept: user }.write(&mut headers);
        }
        // The body is complete: its length is set again, and `Expect: 100-continue` has been handled.
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::EXPECT);
        Head { method, uri, headers }
    }
}

/// The host that the client called: the authority of the target, which is all that HTTP/2 has, or else `Host`.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let authority = uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    authority.or_else(|| headers.get(header::HOST).cloned())
}

impl NoAnswer {
    fn log(&self) {
        tracing::debug!(error = %super::chain(self), "no response from the MCP server");
    }

    /// The response to a request without an id.
    pub(super) fn without_id(&self) -> Response {
        self.log();
        plain(self.status(), &self.to_string())
    }
}
