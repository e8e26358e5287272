//! The settings of `tollgate authz`, resolved from its arguments.

use std::{net::Ipv4Addr, sync::Arc};

use super::{
    args::{AuthzArgs, FromArgs},
    files::Files,
};
use crate::{
    authz::{
        AuthzSettings,
        follow::{InForce, Outfit, Unit},
    },
    cli::{
        callers::{self, CallerArgs},
        target::{StoreArgs, unworkable},
        trust::Trust,
    },
    gate::{callers::Callers, origin::Origins},
    limiter::Observer,
    manifest::server::LimitedServer,
    stores::Buckets,
    watch::{self, AllServers},
};

/// Everything that `authz` needs.
pub(super) struct Resolved {
    pub(super) authz: AuthzSettings,
    pub(super) source: Source,
    pub(super) shop: Shop,
}

/// Where the servers are.
pub(super) enum Source {
    Files(Files),
    Cluster(Box<AllServers>),
}

/// What makes stores and callers of the flags and a server's manifest.
pub(super) struct Shop {
    store: StoreArgs,
    callers: CallerArgs,
    trust: Trust,
    asks_certificates: bool,
    /// Whether the objects of others name the stores.
    has_many: bool,
    pub(super) observer: Arc<dyn Observer>,
}

/// All namespaces.
const ALL: &str = "*";

/// Resolves the arguments, and reads the files or the cluster that they name.
pub(super) async fn resolve(args: AuthzArgs, observer: Arc<dyn Observer>) -> anyhow::Result<Resolved> {
    // Naming every field makes an unused flag a compile error.
    let AuthzArgs {
        from: FromArgs { file, watch },
        namespace,
        cluster,
        object,
        on_unknown_server,
        listen,
        metrics_listen,
        tls,
        allowed_host,
        allowed_origin,
        store,
        callers,
        gate,
        bodies,
        connections,
    } = args;
    let (max_body, max_buffered) = bodies.resolve()?;
    let (limits, drain) = connections.resolve();
    let asks_certificates = tls.asks_certificates();
    let user_header = callers.user_header(asks_certificates)?;
    let has_many = watch.is_some();
    let (source, trust) = match watch {
        Some(wanted) => {
            let wanted = Some(wanted.as_str()).filter(|wanted| *wanted != ALL);
            let servers = watch::all(wanted, &cluster.access()).await?;
            let trust = object.trust(servers.api_servers.clone());
            (Source::Cluster(Box::new(servers)), trust)
        }
        None => (Source::Files(Files::open(file, namespace)?), Trust::Whole),
    };
    let authz = AuthzSettings {
        listen,
        tls: tls.files(),
        metrics_listen,
        limits,
        // Which hosts and pages may call is Envoy's business, unless flags say it here.
        origins: Origins::new(Ipv4Addr::UNSPECIFIED.into(), allowed_host, allowed_origin).withhold(user_header),
        on_unknown_server,
        max_body,
        max_buffered,
        gate: gate.settings(),
        needs_store: store.refuses_without(),
        drain,
    };
    Ok(Resolved { authz, source, shop: Shop { store, callers, trust, asks_certificates, has_many, observer } })
}

impl Source {
    /// The servers at the start. In files of the operator's own, all must work.
    pub(super) fn first(&self) -> anyhow::Result<Vec<Unit>> {
        match self {
            Self::Files(files) => files.units().into_iter().map(checked).collect(),
            Self::Cluster(servers) => Ok(units(servers)),
        }
    }

    /// Follows them; never returns.
    pub(super) async fn follow<O: Outfit>(self, mut in_force: InForce<O>) {
        match self {
            Self::Files(files) => files.follow(in_force).await,
            Self::Cluster(mut servers) => loop {
                servers.changed().await;
                in_force.read_again(units(&servers)).await;
            },
        }
    }

    /// Whether a server that cannot be served is left out, and the others are served.
    pub(super) fn is_lenient(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

fn checked(Unit { label, servers }: Unit) -> anyhow::Result<Unit> {
    match servers {
        Ok(servers) => Ok(Unit { label, servers: Ok(servers) }),
        Err(error) => Err(unworkable(&label, error)),
    }
}

fn units(servers: &AllServers) -> Vec<Unit> {
    servers.read().into_iter().map(|(label, server)| Unit { label, servers: server.map(|server| vec![server]) }).collect()
}

impl Outfit for Shop {
    type Error = anyhow::Error;

    async fn buckets(&self, source: &LimitedServer) -> anyhow::Result<Buckets> {
        let settings = self.store.clone().resolve(source.storage.as_ref(), self.trust.redis_password_for())?;
        let observer = Arc::clone(&self.observer);
        if self.has_many { settings.open_as_one_of_many(observer).await } else { settings.open(observer).await }
    }

    fn callers(&self, source: &LimitedServer) -> anyhow::Result<Callers> {
        let settings = callers::resolve(self.callers.clone(), source, &self.trust, self.asks_certificates)?;
        // Envoy waits for neither longer than its own timeout, 200 ms by default.
        settings.within(self.store.deadline()).start()
    }
}
