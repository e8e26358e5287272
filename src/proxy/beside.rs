//! Requests to other paths than the MCP endpoint that pass: sign-in metadata, and the paths of `--pass-path`.
//!
//! They are not limited, so a body that could be a JSON-RPC message is refused. They need no authentication, since clients use them in order
//! to sign in. At a path of `--pass-path`, `Authorization` is for the MCP server, such as a client's own secret at `/token`.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{Method, request::Parts};

use super::{Gateway, paths::Route, responses::unread};
use crate::{
    gate::answer::{Turned, method_not_allowed, reply},
    mcp::{Refusal, beside::no_message, http::headers},
    server::Peer,
};

/// Methods whose bodies are forwarded.
const WITH_BODY: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];
/// Methods that pass without one.
const BARE: [Method; 4] = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS];

impl Gateway {
    /// Forwards a request that is not MCP.
    pub(super) async fn pass_beside(&self, route: Route, mut parts: Parts, peer: Option<&Peer>, body: Body) -> Result<Response, Turned> {
        let body = match &parts.method {
            method if WITH_BODY.contains(method) => self.read_beside(&parts, body).await?,
            method if BARE.contains(method) => Bytes::new(),
            _ => return Err(Turned::with(method_not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))),
        };
        self.gate.callers().strip(&mut parts.headers, peer, route == Route::Passed || self.gate.callers().pass_token);
        self.forward(parts, peer, body, None).await.map_err(|error| Turned::with(error.without_id()))
    }

    /// A whole body that is certainly not a message.
    async fn read_beside(&self, parts: &Parts, body: Body) -> Result<Bytes, Turned> {
        let body = self.read(parts, body, false).await.map_err(|why| Turned::with(unread(why)))?;
        let headers = headers(&parts.headers).map_err(|fault| Refusal { fault, id: None });
        let checked = headers.and_then(|headers| no_message(&headers, &body));
        checked.map_err(|refusal| Turned::with(reply(refusal.reply())))?;
        Ok(body)
    }
}
