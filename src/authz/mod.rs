//! The limiter behind Envoy's filter `ext_authz`: `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! ```text
//! client ---> Envoy ------------------------------> MCP server
//!              |  ^
//!       Check  v  |  allowed, or the response to send instead
//!           service ---> request ---> decide ---> response
//!           (gRPC)       (pure)       (gate)      (pure)
//! ```
//!
//! A check carries the head of a client's request and, with `with_request_body`, its body. What is decided, and how a client is answered, is
//! [`gate`](crate::gate)'s, as at the [`proxy`](crate::proxy): a response that Envoy sends for us has the same status, fields and body.
//!
//! One process decides for many servers. A route names its server in `context_extensions`, under [`request::SERVER`].
//!
//! | file | contents |
//! |---|---|
//! | `service` | gRPC: the messages, within a budget, and health |
//! | [`wire`] | the messages |
//! | [`request`], [`response`] | a check as an HTTP request, and the response to Envoy |
//! | `decide` | one check |
//! | [`servers`] | the servers, by name |
//! | [`follow`] | what happens when a configuration changes |

mod decide;
pub mod follow;
pub mod request;
pub mod response;
pub mod servers;
mod service;
pub mod wire;

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Once},
};

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::{sync::watch, task::JoinSet};

use self::{
    follow::{InForce, Outfit},
    servers::{OnUnknownServer, Servers},
};
use crate::{
    auth::Verifier,
    gate::{
        GateSettings,
        metrics::Metrics,
        origin::{self, Origins},
    },
    limiter::{Observer, ServerId},
    server::{
        BindError, ConnectionLimits, Life, Listener, Phase,
        budget::Budget,
        operations::{self, Check},
        tls::{Files, ServerCertificate, keep_fresh},
    },
};

/// The settings of the service.
#[derive(Debug)]
pub struct AuthzSettings {
    /// The address to listen on for Envoy.
    pub listen: SocketAddr,
    /// A certificate; without one, HTTP/2 over plain TCP.
    pub tls: Option<Files>,
    /// The address of health and metrics, over plain HTTP.
    pub metrics_listen: SocketAddr,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Allowed hosts and origins of the clients' requests.
    pub origins: Origins,
    /// What happens to requests for a server that is not known.
    pub on_unknown_server: OnUnknownServer,
    /// The maximum size of a request body, in bytes.
    pub max_body: usize,
    /// The maximum memory for all messages together, in bytes.
    pub max_buffered: usize,
    /// How requests are decided and answered.
    pub gate: GateSettings,
    /// Whether calls are refused without the store, so that the service is not ready without it.
    pub needs_store: bool,
    /// How long the service keeps serving everything after a stop signal.
    pub drain: std::time::Duration,
}

/// What the names of its metrics begin with.
const PREFIX: &str = "tollgate_authz";

/// State shared by all checks.
struct Shared {
    settings: Decided,
    servers: Servers,
    observer: Arc<dyn Observer>,
    metrics: Arc<Metrics>,
    budget: Budget,
    phase: watch::Receiver<Phase>,
    /// Logged once.
    has_text: Once,
}

/// The settings that a check needs.
#[derive(Debug)]
struct Decided {
    origins: Origins,
    on_unknown_server: OnUnknownServer,
    max_body: usize,
    gate: GateSettings,
    needs_store: bool,
}

/// A service that is bound but not serving yet.
#[derive(Debug)]
pub struct Authz<O> {
    shared: Arc<Shared>,
    in_force: InForce<O>,
    certificate: Option<Arc<ServerCertificate>>,
    front: Listener,
    operations: Listener,
    life: Life,
}

impl<O: Outfit> Authz<O> {
    /// Reads the certificates, and binds both sockets. Servers are added by [`Authz::in_force`]; `outfit` says where their calls are counted and
    /// how their callers are authenticated. Decisions are reported to `observer`; the service's own metrics are registered in `registry`.
    ///
    /// # Errors
    /// When something of it cannot be done; nothing is left behind.
    pub async fn bind(settings: AuthzSettings, outfit: O, observer: Arc<dyn Observer>, mut registry: Registry) -> Result<Self, BindError> {
        let certificate = settings.tls.map(ServerCertificate::open).transpose()?.map(Arc::new);
        let front = Listener::bind(settings.listen, certificate.clone(), settings.limits).await?.http2();
        let operations = Listener::bind(settings.metrics_listen, None, ConnectionLimits::default()).await?;
        let servers = Servers::default();
        let unknown = servers.unknown.clone();
        registry.sub_registry_with_prefix(PREFIX).register("unknown_servers", "Checks for a server that is not known", unknown);
        let life = Life::new(Some(settings.drain));
        let AuthzSettings { origins, on_unknown_server, max_body, gate, needs_store, .. } = settings;
        let shared = Arc::new(Shared {
            settings: Decided { origins, on_unknown_server, max_body, gate, needs_store },
            servers,
            observer,
            metrics: Arc::new(Metrics::new(registry, PREFIX, None, true)),
            budget: service::budget(settings.max_buffered, max_body),
            phase: life.phase(),
            has_text: Once::new(),
        });
        let in_force = InForce::new(Arc::clone(&shared), outfit);
        Ok(Self { shared, in_force, certificate, front, operations, life })
    }

    /// The servers in force.
    pub fn in_force(&mut self) -> &mut InForce<O> {
        &mut self.in_force
    }

    /// The address that Envoy connects to.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// The address of health and metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.operations.address()
    }

    /// Serves until `shutdown` resolves, then drains. Meanwhile, `follow` may replace the servers; it is dropped at the end.
    pub async fn run<F>(self, follow: impl FnOnce(InForce<O>) -> F, shutdown: impl Future<Output = ()>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (checked, measured) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let endpoints = operations::router(move || checked.checks(), move || measured.encode());
        let endpoints = origin::guard(endpoints, self.operations.address().ip());
        let mut background = JoinSet::new();
        if let Some(certificate) = self.certificate {
            background.spawn(keep_fresh(certificate));
        }
        background.spawn(follow(self.in_force));
        let router = Router::new().fallback(service::serve).with_state(self.shared);
        let work = self.front.serve(router, self.life.phase());
        self.life.run(work, self.operations, endpoints, shutdown).await;
        background.shutdown().await;
        tracing::info!("stopped");
    }
}

impl Shared {
    /// What readiness depends on. Checks of several servers that say the same are one.
    fn checks(&self) -> Vec<Check> {
        let servers = self.servers.all();
        let mut checks = vec![Check::not_stopping(&self.phase)];
        for check in servers.iter().flat_map(|server| server.gate.checks(self.settings.needs_store)) {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
        checks
    }

    fn is_ready(&self) -> bool {
        self.checks().iter().all(Check::is_met)
    }

    fn encode(&self) -> Result<String, fmt::Error> {
        // A check may have ended after its server was removed.
        self.forget_removed();
        let servers = self.servers.all();
        let ages = servers.iter().filter_map(|server| server.gate.callers().auth.verifier().map(Verifier::keys_age));
        self.metrics.encode(self.budget.used(), ages.max())
    }

    /// Removes the series of servers that are not in force.
    fn forget_removed(&self) {
        let servers = self.servers.all();
        let served: HashSet<&ServerId> = servers.iter().map(|server| &*server.id).collect();
        let is_served = |server: &ServerId| served.contains(server);
        self.observer.retain(&is_served);
        self.metrics.retain(&is_served);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).field("servers", &self.servers).finish_non_exhaustive()
    }
}
