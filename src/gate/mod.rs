//! What every front does with a request, whichever way it arrives: the [`proxy`](crate::proxy) over HTTP, [`authz`](crate::authz) from Envoy.
//!
//! ```text
//! foreign Host, Origin    403, or 204 for a preflight          (origin)
//! who is calling          401, 403, 503 where that is unknown  (callers)
//! the body of a POST      400, 413, 415 where it is not clear  (mcp)
//! its calls               allowed, or denied                   (limiter)
//! ```
//!
//! A [`Gate`] is one server's: its limits, its callers and its buckets. A response of our own is a [`Turned`]; its status, fields and body do
//! not depend on the front.
//!
//! | file | contents |
//! |---|---|
//! | [`origin`] | which hosts and origins are served, and what browsers may read |
//! | [`callers`] | authentication of callers |
//! | [`answer`] | responses of our own |
//! | [`claims`] | fields that only a trusted proxy may set |
//! | [`follow`] | what happens when limits change |
//! | [`access`], [`metrics`] | logs and metrics of requests |

pub mod access;
pub mod answer;
pub mod callers;
pub mod claims;
pub mod follow;
pub mod metrics;
pub mod origin;

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, request::Parts};

use self::{
    access::{Access, AccessLog},
    answer::Turned,
    callers::Callers,
    metrics::Metrics,
};
use crate::{
    auth::{AuthMode, Caller, Verifier},
    limiter::{Call, Limiter, Observer, Policy},
    manifest::server::LimitedServer,
    mcp::{
        DenialForm, Envelope, Reader, Refusal, Reply,
        http::{Decided, Fields, declared, headers},
    },
    server::{Peer, operations::Check},
    stores::{Buckets, Observed},
};

/// How requests are decided and answered.
#[derive(Clone, Copy, Debug)]
pub struct GateSettings {
    /// The form of denials.
    pub rejection: DenialForm,
    /// Whether the `RateLimit` and `RateLimit-Policy` headers are sent.
    pub rate_limit_fields: bool,
    /// Whether limits only report what they would have denied.
    pub shadow: bool,
    /// Whether `call_tool` is an optimizer's, regardless of the resource.
    pub optimizer: bool,
    /// Which requests to log.
    pub access_log: AccessLog,
}

/// The limits of one server, whoever asks.
#[derive(Debug)]
pub struct Gate {
    limiter: Limiter<Observed<Arc<Buckets>>>,
    reader: ArcSwap<Reader>,
    callers: Callers,
    metrics: Arc<Metrics>,
    settings: GateSettings,
}

impl Gate {
    /// A server's limits, with its calls counted in `buckets`, and decisions reported to `observer`.
    pub fn new(
        source: &LimitedServer,
        buckets: Arc<Buckets>,
        observer: Arc<dyn Observer>,
        callers: Callers,
        metrics: Arc<Metrics>,
        settings: GateSettings,
    ) -> Self {
        let limiter = Limiter::new(Observed::new(buckets, observer), policy(source, settings));
        Self { limiter, reader: ArcSwap::from_pointee(reader(source, settings)), callers, metrics, settings }
    }

    /// Decides calls.
    pub fn limiter(&self) -> &Limiter<Observed<Arc<Buckets>>> {
        &self.limiter
    }

    /// Where the calls are counted.
    pub fn buckets(&self) -> &Arc<Buckets> {
        self.limiter.store().store()
    }

    /// How callers are authenticated.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// The settings.
    pub fn settings(&self) -> &GateSettings {
        &self.settings
    }

    /// Whether the store answers, as a check that readiness may need, and whether the issuer's keys were ever read.
    ///
    /// A store or an issuer that is unreachable makes a front unready only where it refuses all calls without it.
    pub fn checks(&self, needs_store: bool) -> Vec<Check> {
        let mut checks = vec![Check::new("the store answers", self.buckets().is_answering()).needed(needs_store)];
        let auth = &self.callers.auth;
        let keys = |verifier: &Verifier| Check::new("the issuer's keys have been read", verifier.has_had_keys());
        checks.extend(auth.verifier().map(|verifier| keys(verifier).needed(auth.mode() == AuthMode::Required)));
        checks
    }

    /// The caller, if authenticated. Removes from the head what the server must not receive, and names it.
    pub async fn who(&self, parts: &mut Parts, peer: Option<&Peer>) -> Result<(Option<Arc<Caller>>, Vec<HeaderName>), Turned> {
        self.callers.who(parts, peer).await.map_err(|rejection| {
            self.metrics.sign_in_refused(rejection);
            self.callers.unknown(rejection)
        })
    }

    /// Reads a message, and decides its calls: header fields for the server's response, or the reply to send instead of it.
    pub async fn admit(
        &self,
        headers_of: &HeaderMap,
        body: &[u8],
        user: Option<&str>,
        access: &mut Access,
    ) -> Result<(Envelope, Fields), (Reply, Fields)> {
        let refused = |refusal| (self.settings.rejection.refused(declared(headers_of), &refusal), Fields::new());
        let envelope = self.envelope(headers_of, body).map_err(refused)?;
        let fields = self.decide(&envelope, user, access).await?;
        Ok((envelope, fields))
    }

    fn envelope(&self, headers_of: &HeaderMap, body: &[u8]) -> Result<Envelope, Refusal> {
        let headers = headers(headers_of).map_err(|fault| Refusal { fault, id: None })?;
        self.reader.load().read(&headers, body)
    }

    async fn decide(&self, envelope: &Envelope, user: Option<&str>, access: &mut Access) -> Result<Fields, (Reply, Fields)> {
        let tools = envelope.tools();
        if tools.is_empty() {
            return Ok(Fields::new());
        }
        let start = Instant::now();
        let decided = Decided::about(&self.limiter, &Call::batch(&tools).by_known(user), self.settings.rate_limit_fields).await;
        access.decided(&tools, &decided.decision, start.elapsed());
        match decided.reply(&self.settings.rejection, envelope) {
            Some(reply) => Err((reply, decided.fields)),
            None => Ok(decided.fields),
        }
    }

    /// Replaces the limits from the next call on.
    fn reload(&self, source: &LimitedServer) {
        self.limiter.reload(policy(source, self.settings));
        self.reader.store(Arc::new(reader(source, self.settings)));
        self.metrics.reloaded(true);
    }
}

fn policy(source: &LimitedServer, settings: GateSettings) -> Policy {
    Policy::new(&source.server, &source.limits).shadow(|_| settings.shadow)
}

fn reader(source: &LimitedServer, settings: GateSettings) -> Reader {
    Reader::default().optimizer(settings.optimizer || source.optimizer)
}
