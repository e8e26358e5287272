//! One check: the path of a request at the proxy, up to where that would forward it.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt;

use super::{
    Shared,
    request::Asked,
    response::{allowed, denied},
    servers::{OnUnknownServer, Server},
    wire::{CheckRequest, CheckResponse},
};
use crate::{
    auth::Caller,
    gate::{
        Gate,
        access::Access,
        answer::{Turned, method_not_allowed, plain, reply, too_large, with},
    },
    mcp::{
        Fault, IdScan, Reader, Refusal,
        http::{ALLOWED, Fields, Role, declared, headers},
    },
    server::Peer,
};

const UNKNOWN: &str = "the limits of this server are not known at the moment";

/// The fields that the server must not receive: an extension of a response that stands for a request that goes on.
#[derive(Clone, Debug, Default)]
struct Removed(Vec<HeaderName>);

impl Shared {
    /// Answers a check.
    pub(super) async fn check(&self, check: CheckRequest, peer: Option<&Peer>) -> CheckResponse {
        let asked = match Asked::read(check) {
            Ok(asked) => asked,
            Err(turned) => return deny(turned.into_response()).await,
        };
        let mut access = Access::begin(&asked.parts.method, self.settings.gate.access_log);
        match self.answer(asked, peer, &mut access).await {
            Ok(passed) => {
                self.metrics.finish(access, &passed);
                let removed = passed.extensions().get::<Removed>().map_or(&[][..], |Removed(names)| names);
                allowed(removed, passed.headers())
            }
            Err(turned) => {
                let response = turned.into_response();
                self.metrics.finish(access, &response);
                deny(response).await
            }
        }
    }

    /// A response without a body, whose fields the server's response gets; or one of ours.
    async fn answer(&self, asked: Asked, peer: Option<&Peer>, access: &mut Access) -> Result<Response, Turned> {
        let Some(Server { id, gate }) = self.servers.find(asked.server.as_deref()) else { return self.unknown(&asked) };
        access.server = Some(id);
        self.settings.origins.around(asked, |asked| &asked.parts, |asked| self.pass(&gate, asked, peer, access)).await
    }

    fn unknown(&self, asked: &Asked) -> Result<Response, Turned> {
        if self.settings.on_unknown_server == OnUnknownServer::Allow {
            return Ok(Response::default());
        }
        let read = |headers| Reader::default().read(&headers, &asked.body).ok();
        let envelope = headers(&asked.parts.headers).ok().filter(|_| Role::of(&asked.parts.method) == Role::Message).and_then(read);
        let failed = |envelope| reply(self.settings.gate.rejection.failed(&envelope, 503, UNKNOWN));
        Err(Turned::with(envelope.map_or_else(|| plain(503, UNKNOWN), failed)))
    }

    async fn pass(&self, gate: &Gate, asked: Asked, peer: Option<&Peer>, access: &mut Access) -> Result<Response, Turned> {
        let Asked { mut parts, body, is_whole, replacement, .. } = asked;
        if let Some(metadata) = gate.callers().metadata(&parts) {
            return Err(Turned::with(metadata));
        }
        let (caller, removed) = gate.who(&mut parts, peer).await?;
        let user = caller.as_deref().map(Caller::subject);
        let fields = match Role::of(&parts.method) {
            Role::Message => self.message(gate, &parts.headers, Message { body, is_whole, replacement }, user, access).await?,
            Role::Passing => Fields::new(),
            Role::NotAllowed => return Err(Turned::with(method_not_allowed(ALLOWED))),
        };
        let mut passed = with(Response::default(), fields);
        passed.extensions_mut().insert(Removed(removed));
        Ok(passed)
    }

    /// Why a body is not read.
    fn fault(&self, message: &Message) -> Option<Fault> {
        let limit = self.settings.max_body;
        match message.replacement {
            _ if message.body.len() > limit => Some(Fault::TooLarge { limit }),
            _ if !message.is_whole => Some(Fault::Partial),
            Some(replacement) => {
                self.has_text.call_once(|| tracing::warn!("Envoy sends bodies as text, some of which are refused: set pack_as_bytes"));
                Some(Fault::Replaced(replacement))
            }
            None => None,
        }
    }

    async fn message(
        &self,
        gate: &Gate,
        headers: &HeaderMap,
        message: Message,
        user: Option<&str>,
        access: &mut Access,
    ) -> Result<Fields, Turned> {
        if let Some(fault) = self.fault(&message) {
            return Err(Turned::with(unread(gate, headers, &message, fault)));
        }
        let admitted = gate.admit(headers, &message.body, user, access).await;
        admitted.map(|(_, fields)| fields).map_err(|(instead, fields)| Turned::with(with(reply(instead), fields)))
    }
}

/// The body of a POST.
struct Message {
    body: Bytes,
    is_whole: bool,
    replacement: Option<char>,
}

/// The response to a body that is not what the server would get, or too large.
fn unread(gate: &Gate, headers: &HeaderMap, message: &Message, fault: Fault) -> Response {
    let (form, declared) = (&gate.settings().rejection, declared(headers));
    let id = if form.spares(declared) { IdScan::of(&message.body) } else { None };
    let id = id.filter(|id| message.replacement.is_none_or(|replacement| !id.as_str().contains(replacement)));
    match fault {
        Fault::TooLarge { limit } if id.is_none() => too_large(limit),
        fault => reply(form.refused(declared, &Refusal { fault, id })),
    }
}

/// A response of ours, as Envoy sends it.
pub(super) async fn deny(response: Response<Body>) -> CheckResponse {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => denied(head.status, &head.headers, &body.to_bytes()),
        // Bodies of ours are in memory.
        Err(_) => denied(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), &[]),
    }
}
