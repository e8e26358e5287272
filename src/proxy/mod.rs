//! The MCP reverse proxy: a limiter in front of an MCP server.
//!
//! ```text
//! client ---> listener ---> origin, path -------> authenticate -----> parse -----------> decide ----> upstream
//!                           (gate::origin, paths)  (gate::callers)     (mcp::Reader)      (limiter)    (upstream)
//! ```
//!
//! Only `tools/call` is limited. Everything else passes: sessions, lists, notifications, responses, streams in both directions, and the
//! older HTTP+SSE pair of endpoints. Bodies of POST are read whole (at most 4 MiB by default), parsed strictly and forwarded unchanged;
//! responses are streamed without buffering.
//!
//! Connections are spread over a thread for each core. A request stays on its thread, which has connections of its own to the MCP server.
//!
//! | what happens | the client gets |
//! |---|---|
//! | a foreign `Host` or `Origin` ([`origin`](crate::gate::origin)) | 403 |
//! | a path that is not MCP's ([`paths`]) | 404 |
//! | a limit denies | as [`DenialForm`](crate::mcp::DenialForm) says: by default in the form that the client's revision handles |
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
//! | `front` | one request, from its head to its response; what Envoy's calls go through as well is in [`gate`](crate::gate) |
//! | `bodies` | request bodies in memory, within a budget |
//! | [`paths`], `clean`, `beside`, `announced` | which paths are reachable, and which pass without limits |
//! | `responses`, `events` | the proxy's own responses, also on streams of the older transport |
//! | `upstream`, `sending`, `hop` | the MCP server, retries, and hop-by-hop headers |
//! | [`forwarded`], `location` | forwarded headers of requests, and URLs in responses |
//! | `streaming`, `operations` | a metric, and the operations listener |
//! | [`live`], `digests` | the current buckets, without names of users, and the outcome of calls |

mod announced;
mod beside;
mod bodies;
mod clean;
mod digests;
mod events;
pub mod forwarded;
mod front;
mod hop;
pub mod live;
mod location;
mod operations;
pub mod paths;
mod responses;
mod sending;
mod streaming;
mod upstream;

use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use axum::Router;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use tokio::task::JoinSet;

pub use self::upstream::UpstreamError;
use self::{
    bodies::Bodies,
    forwarded::TrustedProxy,
    live::Lookout,
    paths::{BadPassPath, PassPath, Paths},
    streaming::Streams,
    upstream::Upstream,
};
use crate::{
    gate::{
        Gate, GateSettings,
        callers::Callers,
        follow::InForce,
        metrics::{Metrics, labelled},
        origin::{self, Origins},
    },
    inspect::DigestKey,
    limiter::Observer,
    manifest::server::LimitedServer,
    server::{
        BindError, ConnectionLimits, Life, Listener, Workers,
        tls::{Files, ServerCertificate, keep_fresh},
    },
    stores::Buckets,
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
    /// How requests are decided and answered.
    pub gate: GateSettings,
    /// Whether calls are refused without the store, so that a proxy without it is not ready.
    pub needs_store: bool,
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

/// State shared by all requests; those of one thread also share connections to the MCP server.
#[derive(Clone, Debug)]
struct Gateway {
    gate: Arc<Gate>,
    origins: Origins,
    trusted_proxies: Vec<TrustedProxy>,
    paths: Paths,
    upstream: Upstream,
    /// The names of the MCP server.
    origin: location::Origin,
    metrics: Arc<Metrics>,
    streams: Streams,
    /// What the limiter counts.
    decisions: Arc<crate::metrics::Metrics>,
    lookout: Arc<Lookout>,
    needs_store: bool,
    bodies: Bodies,
    is_tls: bool,
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
    limits_current: Gauge<i64, AtomicI64>,
}

/// What the names of the proxy's metrics begin with.
const PREFIX: &str = "tollgate_proxy";

impl Proxy {
    /// Reads the certificates, and binds both sockets. Decisions are counted in `decisions`; the proxy's own metrics are registered in
    /// `registry`, beside what is there.
    ///
    /// # Errors
    /// When something of it cannot be done; nothing is left behind.
    pub async fn bind(
        settings: ProxySettings,
        parts: Parts,
        decisions: Arc<crate::metrics::Metrics>,
        mut registry: Registry,
    ) -> Result<Self, ProxyError> {
        let Parts { source, buckets, callers } = parts;
        let certificate = settings.tls.map(ServerCertificate::open).transpose().map_err(BindError::from)?.map(Arc::new);
        let upstream = Upstream::new(&settings.upstream, settings.upstream_ca.as_deref(), settings.answer_within)?;
        let paths = Paths::new(upstream.path(), settings.pass_paths)?;
        let workers = Workers::start().map_err(BindError::Threads)?;
        let front = Listener::bind(settings.listen, certificate.clone(), settings.limits).await?.spread(workers);
        let operations = Listener::bind(settings.metrics_listen, None, settings.limits).await?;
        let has_keys = callers.auth.verifier().is_some();
        let origins = settings.origins.withhold(callers.auth.user_header().cloned());
        let ours = labelled(&mut registry, PREFIX, Some(&source.server));
        let streams = Streams::register(ours);
        let limits_current = Gauge::default();
        let about = "1 while the limits in force are those of the file or object, 0 while it cannot be read or used";
        ours.register("limits_current", about, limits_current.clone());
        let metrics = Arc::new(Metrics::new(registry, PREFIX, Some(&source.server), has_keys));
        let gateway = Gateway {
            gate: Arc::new(Gate::new(
                &source,
                Arc::new(buckets),
                Arc::clone(&decisions) as Arc<dyn Observer>,
                callers,
                Arc::clone(&metrics),
                settings.gate,
            )),
            origins,
            trusted_proxies: settings.trusted_proxies,
            paths,
            origin: upstream.origin(),
            upstream,
            metrics,
            streams,
            decisions,
            lookout: Arc::new(Lookout::new(DigestKey::new(random()?))),
            needs_store: settings.needs_store,
            bodies: Bodies::new(settings.max_buffered, settings.max_body, settings.body_within),
            is_tls: certificate.is_some(),
        };
        let gateway = Arc::new(gateway);
        Ok(Self { gateway, certificate, front, operations, drain: settings.drain, source, limits_current })
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
        let gateway = self.gateway.clone();
        let front = move || Router::new().fallback(front::serve).with_state(Arc::new(gateway.apart()));
        let endpoints = origin::guard(operations::router(self.gateway.clone(), life.phase()), self.operations.address().ip());
        let mut background = JoinSet::new();
        if let Some(certificate) = self.certificate {
            background.spawn(keep_fresh(certificate));
        }
        background.spawn(follow(InForce::new(self.gateway.gate.clone(), self.source).exporting(self.limits_current)));
        let work = self.front.serve_each(front, life.phase());
        life.run(work, self.operations, endpoints, shutdown).await;
        background.shutdown().await;
        tracing::info!("stopped");
    }
}

impl Gateway {
    /// The same, with connections of its own to the MCP server.
    fn apart(&self) -> Self {
        Self { upstream: self.upstream.apart(), ..self.clone() }
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
