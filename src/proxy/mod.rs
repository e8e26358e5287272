//! The MCP reverse proxy: a limiter in front of an MCP server.
//!
//! ```text
//! client ---> listener ---> origin, path -----> authenticate ---> parse -----------> decide ----> upstream
//!                           (origin, paths)    (callers)          (mcp::Reader)      (limiter)   (upstream)
//! ```
//!
//! Only `tools/call` is limited. Everything else passes: sessions, lists, notifications, responses, streams in both directions, and the
//! older HTTP+SSE pair of endpoints. Bodies of POST are read whole (at most 4 MiB by default), parsed strictly and forwarded unchanged;
//! responses are streamed without buffering.
//!
//! | what happens | the client gets |
//! |---|---|
//! | a foreign `Host` or `Origin` ([`origin`]) | 403 |
//! | a path that is not MCP's ([`paths`]) | 404 |
//! | a limit denies | as [`DenialForm`] says: by default in the form that the client's revision handles |
//! | a body that parsers read differently, or that is not JSON-RPC | 400 |
//! | a body too large, or too slow | 413, 408 |
//! | no memory for one more body, until its deadline | 503 with `Retry-After` |
//! | the MCP server is down, or does not respond in time | 502, 504, with the request's id |
//! | the store is unavailable and [`OnStoreError::Closed`](crate::stores::OnStoreError) | 503 |
//!
//! In a session up to 2025-11-25, which may not survive an HTTP error, what has the request's id is HTTP 200 (`mcp::reply`); on the older
//! transport it is an event on the session's stream (`events`).
//!
//! | file | contents |
//! |---|---|
//! | `front` | one request, from its head to its response |
//! | `bodies` | request bodies in memory, within a budget |
//! | [`origin`] | which hosts and origins are served, and what browsers may read |
//! | [`paths`], `clean`, `beside`, `announced` | which paths are reachable, and which pass without limits |
//! | `responses`, `events` | the proxy's own responses, also on streams of the older transport |
//! | [`callers`] | authentication of callers |
//! | `upstream`, `sending`, `hop` | the MCP server, retries, and hop-by-hop headers |
//! | [`forwarded`], `location` | forwarded headers of requests, and URLs in responses |
//! | [`follow`] | what happens when limits change |
//! | [`store`] | where buckets are stored |
//! | [`access`], `metrics`, `operations` | logs, metrics and the operations listener |
//! | [`live`], `digests`, `tally` | the current buckets, without names of users, and the outcome of calls |

pub mod access;
mod announced;
mod beside;
mod bodies;
pub mod callers;
mod clean;
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
mod responses;
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

/// The settings of a proxy.
#[derive(Debug)]
pub struct ProxySettings {
    /// The address to listen on for clients.
    pub listen: SocketAddr,
    /// A certificate, for HTTPS.
    pub tls: Option<Files>,
    /// The address of health, metrics and buckets, over plain HTTP.
    pub metrics_listen: SocketAddr,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Allowed hosts and origins.
    pub origins: Origins,
    /// Proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Other paths that pass without limits.
    pub pass_paths: Vec<PassPath>,
    /// The MCP server: `http://HOST[:PORT][/PATH]`, `https://` or `h2c://`.
    pub upstream: String,
    /// The CAs of its certificate, PEM; `None` for those that the system trusts.
    pub upstream_ca: Option<PathBuf>,
    /// The timeout for the head of its response.
    pub answer_within: Duration,
    /// The maximum size of a request body, in bytes.
    pub max_body: usize,
    /// The maximum memory for all request bodies together, in bytes; at least one body.
    pub max_buffered: usize,
    /// The timeout for receiving a request body.
    pub body_within: Duration,
    /// The form of denials.
    pub rejection: DenialForm,
    /// Whether the `RateLimit` and `RateLimit-Policy` headers are sent.
    pub rate_limit_fields: bool,
    /// Whether limits only report what they would have denied.
    pub shadow: bool,
    /// Whether `call_tool` is an optimizer's, regardless of the resource.
    pub optimizer: bool,
    /// Whether calls are refused without the store, so that a proxy without it is not ready.
    pub needs_store: bool,
    /// Which requests to log.
    pub access_log: AccessLog,
    /// How long the proxy keeps serving everything after a stop signal.
    pub drain: Duration,
}

/// The parts of a proxy.
#[derive(Debug)]
pub struct Parts {
    /// The limits, and whose they are.
    pub source: LimitedServer,
    /// Where calls are counted.
    pub buckets: Buckets,
    /// How callers are authenticated.
    pub callers: Callers,
}

/// Why a proxy could not start.
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

/// State shared by all requests.
#[derive(Debug)]
struct Gateway {
    limiter: Limiter<Observed<Buckets>>,
    served: ArcSwap<Served>,
    origins: Origins,
    trusted_proxies: Vec<TrustedProxy>,
    paths: Paths,
    callers: Callers,
    upstream: Upstream,
    /// The names of the MCP server.
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

/// State that changes with the limits.
#[derive(Debug)]
struct Served {
    reader: Reader,
}

/// A proxy that is bound but not serving yet.
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
    /// Reads the certificates, and binds both sockets. Decisions are reported to `observer`; the proxy's own metrics are registered in
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
            metrics: Metrics::new(registry, &source.server, has_keys),
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

    /// Whether it serves HTTPS.
    pub fn is_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// The path that clients use.
    pub fn endpoint(&self) -> &str {
        self.gateway.paths.endpoint()
    }

    /// The address of health, metrics and buckets.
    pub fn metrics_address(&self) -> SocketAddr {
        self.operations.address()
    }

    /// Serves until `shutdown` resolves, then drains: everything is served for [`ProxySettings::drain`], then nothing new is accepted and streams
    /// have their grace period to end. Meanwhile, `follow` may replace the limits; it is dropped at the end.
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

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
