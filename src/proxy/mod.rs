//! The MCP reverse proxy: a limiter in front of an MCP server.
//!
//! ```text
//! client ---> listener ---> from where? ----> who is calling? ---> what is called? ---> may it? ---> upstream
//!                           (origin, paths)   (callers)            (mcp::Reader)        (limiter)    (upstream)
//! ```
//!
//! Only `tools/call` is limited. Everything else passes: sessions, lists, notifications, responses, streams in both directions, and the
//! older HTTP+SSE pair of endpoints. Bodies of POST are read whole (4 MiB by default) and strictly, and go on as they came; answers are
//! passed on unbuffered.
//!
//! | what happens | the client gets |
//! |---|---|
//! | a foreign `Host` or `Origin` ([`origin`]) | 403 |
//! | a path that is not MCP's ([`paths`]) | 404 |
//! | a limit denies | what [`DenialForm`] says: by default what the client's revision gets along with |
//! | a body that parsers read differently, or no JSON-RPC | 400 |
//! | a body too large, or too slow | 413, 408 |
//! | no memory for one more body, until its deadline | 503 with `Retry-After` |
//! | the MCP server is down, or says nothing in time | 502, 504, with the request's id |
//! | the store is away and [`OnStoreError::Closed`](crate::stores::OnStoreError) | 503 |
//!
//! In a session up to 2025-11-25, which may not survive an HTTP error, what has the request's id is HTTP 200 (`mcp::reply`); on the older
//! transport it is an event on the session's stream (`events`).
//!
//! | file | what lives there |
//! |---|---|
//! | `front` | one request, from its head to its answer |
//! | `bodies` | bodies of requests in memory, and how many |
//! | [`origin`] | which hosts and origins are served, and what browsers may read |
//! | [`paths`], `beside`, `announced` | which paths are reached, and what passes unlimited |
//! | `events` | the proxy's answers on streams of the older transport |
//! | [`callers`] | who is calling |
//! | `upstream`, `sending`, `hop` | the server behind, requests that are sent again, and headers from one hop to the next |
//! | [`forwarded`], `location` | what the server learns about clients, and clients about the server |
//! | [`follow`] | what happens when limits change |
//! | [`store`] | where buckets are |
//! | [`access`], `metrics`, `operations` | what is told about it |
//! | [`live`], `digests`, `tally` | the buckets as they stand, without names of users, and what became of calls |

pub mod access;
mod announced;
mod beside;
mod bodies;
pub mod callers;
mod digests;
mod events;
pub mod follow;
pub mod forwarded;
mod front;
mod hop;
pub mod live;
mod location;
mod metrics;
mod operations;
pub mod origin;
pub mod paths;
mod sending;
pub mod store;
mod tally;
mod upstream;

use std::{error::Error, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::Router;
use prometheus_client::registry::Registry;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use tokio::task::JoinSet;

pub use self::{access::AccessLog, upstream::UpstreamError};
use self::{
    bodies::Bodies,
    callers::Callers,
    follow::InForce,
    forwarded::TrustedProxy,
    live::Lookout,
    metrics::Metrics,
    origin::Origins,
    paths::{BadPassPath, PassPath, Paths},
    store::Buckets,
    tally::Tally,
    upstream::Upstream,
};
use crate::{
    inspect::DigestKey,
    limiter::{Limiter, Observer, Policy},
    manifest::server::LimitedServer,
    mcp::{DenialForm, Reader},
    server::{
        BindError, ConnectionLimits, Life, Listener,
        tls::{Files, ServerCertificate, keep_fresh},
    },
    stores::Observed,
};

/// How a proxy runs.
#[derive(Debug)]
pub struct ProxySettings {
    /// Where clients come in.
    pub listen: SocketAddr,
    /// A certificate, for HTTPS.
    pub tls: Option<Files>,
    /// Where health, metrics and buckets are, in plain HTTP.
    pub metrics_listen: SocketAddr,
    /// What connections have to keep to.
    pub limits: ConnectionLimits,
    /// Which hosts and origins are served.
    pub origins: Origins,
    /// Proxies in front whose `X-Forwarded-*` are kept.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Paths beside the MCP endpoint that pass unlimited.
    pub pass_paths: Vec<PassPath>,
    /// The MCP server: `http://HOST[:PORT][/PATH]`, `https://` or `h2c://`.
    pub upstream: String,
    /// The CAs of its certificate, PEM; `None` for those that the system trusts.
    pub upstream_ca: Option<PathBuf>,
    /// Until the head of its answer.
    pub answer_within: Duration,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// The most that bodies of requests may take up at once, in bytes; no less than one of them.
    pub max_buffered: usize,
    /// Until a request's body is here.
    pub body_within: Duration,
    /// How calls are turned away.
    pub rejection: DenialForm,
    /// Whether `RateLimit` and `RateLimit-Policy` are told.
    pub rate_limit_fields: bool,
    /// Whether limits only tell what they would have denied.
    pub shadow: bool,
    /// Whether `call_tool` is an optimizer's whatever the resource says.
    pub optimizer: bool,
    /// Whether calls are refused without the store, so that a proxy without one is not ready.
    pub needs_store: bool,
    /// What is logged of requests.
    pub access_log: AccessLog,
    /// How long everything is still served after the proxy was told to stop.
    pub drain: Duration,
}

/// What a proxy is made of.
#[derive(Debug)]
pub struct Parts {
    /// The limits, and whose they are.
    pub source: LimitedServer,
    /// Where calls are counted.
    pub buckets: Buckets,
    /// Who is calling.
    pub callers: Callers,
}

/// Why a proxy could not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The certificates, or a socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The MCP server.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The key for users' digests.
    #[error("the system cannot provide random bytes")]
    Random,
    /// A path that passes.
    #[error("--pass-path {0}")]
    PassPath(#[from] BadPassPath),
}

/// What all requests share.
#[derive(Debug)]
struct Gateway {
    limiter: Limiter<Observed<Buckets>>,
    served: ArcSwap<Served>,
    origins: Origins,
    trusted_proxies: Vec<TrustedProxy>,
    paths: Paths,
    callers: Callers,
    upstream: Upstream,
    /// How the server behind may call itself.
    origin: location::Origin,
    metrics: Metrics,
    tally: Arc<Tally>,
    lookout: Lookout,
    rejection: DenialForm,
    rate_limit_fields: bool,
    shadow: bool,
    optimizer: bool,
    needs_store: bool,
    access_log: AccessLog,
    bodies: Bodies,
    is_tls: bool,
}

/// What changes with the limits, besides the limits.
#[derive(Debug)]
struct Served {
    reader: Reader,
}

/// A proxy that is bound and not yet served.
#[derive(Debug)]
pub struct Proxy {
    gateway: Arc<Gateway>,
    certificate: Option<Arc<ServerCertificate>>,
    front: Listener,
    operations: Listener,
    drain: Duration,
    source: LimitedServer,
}

impl Served {
    fn of(source: &LimitedServer, optimizer: bool) -> Self {
        Self { reader: Reader::default().optimizer(optimizer || source.optimizer) }
    }
}

impl Gateway {
    fn shadowed(&self, source: &LimitedServer) -> Policy {
        policy(source, self.shadow)
    }
}

fn policy(source: &LimitedServer, shadow: bool) -> Policy {
    Policy::new(&source.server, &source.limits).shadow(|_| shadow)
}

impl Proxy {
    /// Reads the certificates, and binds both sockets. Decisions are told to `observer`; what the proxy counts itself is registered in
    /// `registry`, beside what is there.
    ///
    /// # Errors
    /// When something of it cannot be done; nothing is left behind.
    pub async fn bind(settings: ProxySettings, parts: Parts, observer: Arc<dyn Observer>, registry: Registry) -> Result<Self, ProxyError> {
        let Parts { source, buckets, callers } = parts;
        let certificate = settings.tls.map(ServerCertificate::open).transpose().map_err(BindError::from)?.map(Arc::new);
        let upstream = Upstream::new(&settings.upstream, settings.upstream_ca.as_deref(), settings.answer_within)?;
        let paths = Paths::new(upstream.path(), settings.pass_paths)?;
        let front = Listener::bind(settings.listen, certificate.clone(), settings.limits).await?;
        let operations = Listener::bind(settings.metrics_listen, None, settings.limits).await?;
        let has_keys = callers.auth.verifier().is_some();
        let tally = Arc::new(Tally::new());
        let observer = Arc::new((observer, Arc::clone(&tally)));
        let gateway = Gateway {
            limiter: Limiter::new(Observed::new(buckets, observer), policy(&source, settings.shadow)),
            served: ArcSwap::from_pointee(Served::of(&source, settings.optimizer)),
            origins: settings.origins.withhold(callers.auth.user_header().cloned()),
            trusted_proxies: settings.trusted_proxies,
            paths,
            callers,
            origin: upstream.origin(),
            upstream,
            metrics: Metrics::new(registry, has_keys),
            tally,
            lookout: Lookout::new(DigestKey::new(random()?)),
            rejection: settings.rejection,
            rate_limit_fields: settings.rate_limit_fields,
            shadow: settings.shadow,
            optimizer: settings.optimizer,
            needs_store: settings.needs_store,
            access_log: settings.access_log,
            bodies: Bodies::new(settings.max_buffered, settings.max_body, settings.body_within),
            is_tls: certificate.is_some(),
        };
        let gateway = Arc::new(gateway);
        Ok(Self { gateway, certificate, front, operations, drain: settings.drain, source })
    }

    /// Whether clients come in over HTTPS.
    pub fn is_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// The path that they use.
    pub fn endpoint(&self) -> &str {
        self.gateway.paths.endpoint()
    }

    /// Where health, metrics and buckets are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.operations.address()
    }

    /// Serves until `shutdown` resolves, then drains: everything is served for [`ProxySettings::drain`], then nothing new is accepted and streams
    /// have their grace to end. Meanwhile, `follow` may put other limits in force; it is dropped at the end.
    pub async fn run<F>(self, follow: impl FnOnce(InForce) -> F, shutdown: impl Future<Output = ()>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let life = Life::new(Some(self.drain));
        let front = Router::new().fallback(front::serve).with_state(self.gateway.clone());
        let endpoints = origin::guard(operations::router(self.gateway.clone(), life.phase()), self.operations.address().ip());
        let mut background = JoinSet::new();
        if let Some(certificate) = self.certificate {
            background.spawn(keep_fresh(certificate));
        }
        background.spawn(follow(InForce::new(self.gateway.clone(), self.source)));
        let work = self.front.serve(front, life.phase());
        life.run(work, self.operations, endpoints, shutdown).await;
        background.shutdown().await;
        tracing::info!("stopped");
    }
}

fn random<const N: usize>() -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ProxyError::Random)?;
    Ok(bytes)
}

/// An error and all that caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
