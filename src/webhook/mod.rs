//! The admission webhook over HTTPS, with its health and metrics, and the optional look into the cluster.
//!
//! `POST /validate` and `POST /mutate` on one listener; `GET /healthz`, `/readyz` and `/metrics` on another. A review makes no call to
//! anywhere: what it needs to know of the cluster, [`world`] keeps at hand. The certificate comes from files, or from an [`authority`] that
//! the replicas run themselves.

pub mod authority;
pub(crate) mod dial;
mod health;
mod intake;
mod judges;
mod metrics;
mod namespace;
mod refusal;
mod routes;
pub mod world;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tracing::info;

pub use self::world::World;
use self::{
    authority::{AuthoritySettings, Keeper, Trust, placeholder},
    health::Health,
    metrics::Metrics,
};
use crate::{
    admission::Facts,
    model::alias::{AliasPolicy, Mode},
    rules::References,
    server::{
        BindError, ConnectionLimits, Life, Listener, operations,
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
    /// The certificate, and what is asked of clients. With an authority, the paths of the certificate and its key are only names.
    pub tls: Files,
    /// What issues the certificate instead.
    pub authority: Option<AuthoritySettings>,
    /// What is done about `shared`.
    pub mode: Mode,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Maximum number of concurrent reviews; more are answered with 503.
    pub max_in_flight: usize,
    /// For a whole review, unless the caller asks for less with `?timeout=`.
    pub deadline: Duration,
    /// How long everything is still served after a stop signal.
    pub drain: Duration,
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
    world: World,
}

impl Server {
    /// Reads the certificates and binds both sockets.
    ///
    /// # Errors
    /// When either cannot be done; nothing is left behind.
    pub async fn bind(settings: WebhookSettings, world: World) -> Result<Self, BindError> {
        let certificate = Arc::new(match settings.authority {
            Some(_) => issued(settings.tls.clone())?,
            None => ServerCertificate::open(settings.tls.clone())?,
        });
        let reviews = Listener::bind(settings.listen, Some(certificate.clone()), settings.limits).await?;
        let operations = Listener::bind(settings.metrics_listen, None, settings.limits).await?;
        Ok(Self { settings, certificate, reviews, operations, world })
    }

    /// Where reviews come in.
    pub fn address(&self) -> SocketAddr {
        self.reviews.address()
    }

    /// Where health and metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.operations.address()
    }

    /// Serves until `shutdown` resolves, then drains: readiness fails first, everything is served for [`WebhookSettings::drain`], then nothing new
    /// is accepted and what is under way is finished.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let life = Life::new(Some(self.settings.drain));
        let mut background = JoinSet::new();
        let trust = self.settings.authority.map(|authority| {
            let (sender, trust) = watch::channel(Trust::default());
            background.spawn(Keeper::new(authority, self.certificate.clone(), sender).run());
            trust
        });
        let metrics = Metrics::new(self.certificate.clone(), trust.clone());
        let health = Arc::new(Health::new(self.certificate.clone(), trust, life.phase(), self.world.schema_answered.clone()));
        let shared = Arc::new(Shared { mode: self.settings.mode, world: self.world, metrics });
        let reviews = routes::router(shared.clone(), self.settings.max_in_flight, self.settings.deadline);
        background.spawn(keep_fresh(self.certificate.clone()));
        background.spawn(dial::keep_dialing(self.reviews.address(), self.certificate, health.clone()));
        let endpoints = operations::router(move || health.checks(), move || shared.metrics.encode());
        let work = self.reviews.serve(reviews, life.phase());
        life.run(work, self.operations, endpoints, shutdown).await;
        background.shutdown().await;
        info!("stopped");
    }
}

/// What is served until the authority has issued a certificate.
fn issued(files: Files) -> Result<ServerCertificate, TlsError> {
    let pair = placeholder().map_err(|error| TlsError::Broken { path: files.cert.clone(), why: error.to_string() })?;
    ServerCertificate::issued(files, pair)
}
