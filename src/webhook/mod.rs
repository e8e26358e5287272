//! The admission webhook over HTTPS, with its health and metrics, and the optional look into the cluster.
//!
//! `POST /validate` and `POST /mutate` on one listener; `GET /healthz`, `/readyz` and `/metrics` on another. A review makes no call to
//! anywhere: what it needs to know of the cluster, [`world`] keeps at hand.

pub(crate) mod dial;
mod health;
mod intake;
mod judges;
mod metrics;
mod namespace;
mod routes;
pub mod world;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};
use tracing::{error, info};

pub use self::world::World;
use self::{health::Health, metrics::Metrics};
use crate::{
    admission::Facts,
    model::alias::{AliasPolicy, Mode},
    rules::References,
    server::{
        ConnectionLimits, Listener, Phase,
        tls::{Files, ServerCertificate, TlsError, keep_fresh},
    },
};

/// How a server runs.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where reviews come in, over TLS.
    pub listen: SocketAddr,
    /// Where health and metrics are, in plain HTTP.
    pub metrics_listen: SocketAddr,
    /// The certificate, and what is asked of clients.
    pub tls: Files,
    /// What is done about `shared`.
    pub mode: Mode,
    /// What connections have to keep to.
    pub limits: ConnectionLimits,
    /// Reviews at once; more are answered with 503.
    pub max_in_flight: usize,
    /// For a whole review, unless the caller asks for less with `?timeout=`.
    pub deadline: Duration,
    /// How long everything is still served after the server was told to stop.
    pub drain: Duration,
}

/// Why a server could not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system says it.
        error: io::Error,
    },
}

/// What all handlers share.
#[derive(Debug)]
struct Shared {
    mode: Mode,
    world: World,
    metrics: Metrics,
}

impl Shared {
    fn with_facts<T>(&self, f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let schema = self.world.schema.load();
        let references = self.world.references.as_deref().map(|references| references as &dyn References);
        let policy = AliasPolicy { mode: self.mode, operator: *self.world.operator.borrow() };
        f(&Facts { policy, schema: &schema, references })
    }
}

/// A server that is bound and not yet served.
#[derive(Debug)]
pub struct Server {
    settings: WebhookSettings,
    certificate: Arc<ServerCertificate>,
    reviews: Listener,
    operations: Listener,
    address: SocketAddr,
    metrics_address: SocketAddr,
    world: World,
}

impl Server {
    /// Reads the certificates and binds both sockets.
    ///
    /// # Errors
    /// When either cannot be done; nothing is left behind.
    pub async fn bind(settings: WebhookSettings, world: World) -> Result<Self, BindError> {
        let certificate = Arc::new(ServerCertificate::open(settings.tls.clone())?);
        let (reviews, address) = bind(settings.listen, Some(certificate.clone()), settings.limits).await?;
        let (operations, metrics_address) = bind(settings.metrics_listen, None, settings.limits).await?;
        Ok(Self { settings, certificate, reviews, operations, address, metrics_address, world })
    }

    /// Where reviews come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Serves until `shutdown` resolves, then drains: readiness fails first, everything is served for [`WebhookSettings::drain`], then nothing new
    /// is accepted and what is under way is finished.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (tell, phase) = watch::channel(Phase::Serving);
        let metrics = Metrics::new(self.certificate.clone());
        let health = Arc::new(Health::new(self.certificate.clone(), phase.clone(), self.world.schema_answered.clone()));
        let shared = Arc::new(Shared { mode: self.settings.mode, world: self.world, metrics });
        let reviews = routes::router(shared.clone(), self.settings.max_in_flight, self.settings.deadline);
        let operations = health::router(health.clone(), shared.clone());

        let mut background = JoinSet::new();
        background.spawn(keep_fresh(self.certificate.clone()));
        background.spawn(dial::keep_dialing(self.address, self.certificate, health));
        let (stop_operations, operations_phase) = watch::channel(Phase::Serving);
        let operations = tokio::spawn(self.operations.serve(operations, operations_phase));
        let reviews = tokio::spawn(self.reviews.serve(reviews, phase));

        shutdown.await;
        info!(drain = ?self.settings.drain, "told to stop: not ready any more, still serving");
        let _ = tell.send(Phase::Draining);
        tokio::time::sleep(self.settings.drain).await;
        let _ = tell.send(Phase::Closing);
        if let Err(panic) = reviews.await {
            error!(%panic, "the server ended badly");
        }
        // Last, so that the end can be watched from outside.
        let _ = stop_operations.send(Phase::Closing);
        let _ = operations.await;
        background.shutdown().await;
        info!("stopped");
    }
}

async fn bind(
    address: SocketAddr,
    certificate: Option<Arc<ServerCertificate>>,
    limits: ConnectionLimits,
) -> Result<(Listener, SocketAddr), BindError> {
    let failed = |error| BindError::Listen { address, error };
    let listener = Listener::bind(address, certificate, limits).await.map_err(failed)?;
    let bound = listener.address().map_err(failed)?;
    Ok((listener, bound))
}
