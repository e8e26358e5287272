//! The settings of `tollgate proxy`, resolved from its arguments.

use anyhow::Context;
use tracing::warn;

use super::args::{FromArgs, ProxyArgs};
use crate::{
    cli::{
        callers::{self, CallerSettings},
        target::{Read, StoreSettings, WhichArgs, unworkable},
        trust::{ObjectArgs, Trust},
    },
    cluster::Access,
    gate::follow::{self, InForce},
    manifest::server::LimitedServer,
    proxy::ProxySettings,
    watch::{self, Found, WatchError, Watched},
};

/// Everything that `proxy` needs.
pub(super) struct Resolved {
    pub(super) proxy: ProxySettings,
    pub(super) source: LimitedServer,
    pub(super) followed: Followed,
    pub(super) store: StoreSettings,
    pub(super) callers: CallerSettings,
}

/// What is followed while the proxy runs.
pub(super) enum Followed {
    /// Stdin is read once.
    Nothing,
    File(follow::Followed),
    Object(Box<Watched>),
}

impl Followed {
    pub(super) async fn follow(self, in_force: InForce) {
        match self {
            Self::Nothing => {}
            Self::File(file) => follow::file(file, in_force).await,
            Self::Object(object) => follow_object(*object, in_force).await,
        }
    }
}

/// Never returns. What needs a restart is left as it was, as with a file.
async fn follow_object(mut object: Watched, mut in_force: InForce) {
    loop {
        let read = object.changed().await;
        in_force.read_again(&object.label(), read);
        in_force.readable(object.is_current());
    }
}

/// Resolves the arguments, and reads the files or the object that they name.
pub(super) async fn resolve(args: ProxyArgs) -> anyhow::Result<Resolved> {
    // Naming every field makes an unused flag a compile error.
    let ProxyArgs {
        from,
        which,
        cluster,
        object,
        upstream,
        upstream_ca,
        listen,
        metrics_listen,
        tls,
        front,
        store,
        callers,
        gate,
        bodies,
        body_timeout,
        upstream_timeout,
        connections,
    } = args;
    let (max_body, max_buffered) = bodies.resolve()?;
    let (limits, drain) = connections.resolve();
    let access = cluster.access();
    let (source, followed, trust) = from.read(which, &access, object, callers.needs_issuer()).await?;
    let store = store.resolve(source.storage.as_ref(), trust.redis_password_for())?;
    let callers = callers::resolve(callers, &source, &trust, tls.asks_certificates())?;
    let needs_store = matches!(store, StoreSettings::Redis { is_needed: true, .. });
    let proxy = ProxySettings {
        listen,
        tls: tls.files(),
        metrics_listen,
        origins: front.origins(listen.ip()),
        trusted_proxies: front.trusted_proxy,
        pass_paths: front.pass_path,
        limits,
        upstream,
        upstream_ca,
        answer_within: upstream_timeout.as_duration(),
        max_body,
        max_buffered,
        body_within: body_timeout.as_duration(),
        gate: gate.settings(),
        needs_store,
        drain,
    };
    Ok(Resolved { proxy, source, followed, store, callers })
}

impl FromArgs {
    /// The resource, how it is followed, and how far it is trusted.
    async fn read(
        self,
        which: WhichArgs,
        access: &Access,
        object: ObjectArgs,
        needs_issuer: bool,
    ) -> anyhow::Result<(LimitedServer, Followed, Trust)> {
        if let Some(named) = self.watch {
            let found = watch::find(&named, access).await.map_err(|error| match error {
                WatchError::Limits { label, error } => unworkable(&label, error),
                error => error.into(),
            });
            let Found { source, watched, api_servers, sign_in } = found?;
            match sign_in {
                Err(error) if needs_issuer => {
                    return Err(error).context("add --oidc-issuer URL, or disable authentication with --auth none");
                }
                Err(error) => warn!("{:#}", anyhow::Error::from(error)),
                Ok(()) => {}
            }
            return Ok((source, Followed::Object(Box::new(watched)), object.trust(api_servers)));
        }
        let Read { source, followed } = which.read(self.file.context("name a resource with -f or --watch")?)?;
        Ok((source, followed.map_or(Followed::Nothing, Followed::File), Trust::Whole))
    }
}
