//! The settings of `tollgate proxy`, resolved from its arguments.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use tracing::warn;

use super::{
    args::{BoundArgs, DenialArgs, FromArgs, ListenArgs, ProxyArgs},
    front::FrontArgs,
};
use crate::{
    cli::{
        callers::{self, CallerSettings},
        target::{Read, StoreSettings, WhichArgs, unworkable},
        trust::{ObjectArgs, Trust},
    },
    cluster::Access,
    manifest::server::LimitedServer,
    mcp::DenialForm,
    proxy::{
        ProxySettings,
        access::AccessLog,
        follow::{self, InForce},
    },
    server::{ConnectionLimits, tls::Files},
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
    // Naming every field, here and below, makes an unused flag a compile error.
    let ProxyArgs {
        from,
        which,
        kubeconfig,
        context,
        object,
        upstream,
        upstream_ca,
        listen,
        front,
        store,
        callers,
        denials,
        access_log,
        bounds,
    } = args;
    let (source, followed, trust) = from.read(which, &Access { kubeconfig, context }, object, callers.needs_issuer()).await?;
    let store = store.resolve(source.storage.as_ref(), trust.redis_password_for())?;
    let callers = callers::resolve(callers, &source, &trust, listen.client_ca.is_some())?;
    let needs_store = matches!(store, StoreSettings::Redis { is_needed: true, .. });
    let proxy = settings(listen, front, denials, bounds, Rest { upstream, upstream_ca, access_log, needs_store })?;
    Ok(Resolved { proxy, source, followed, store, callers })
}

/// What belongs to no group of flags.
struct Rest {
    upstream: String,
    upstream_ca: Option<PathBuf>,
    access_log: AccessLog,
    needs_store: bool,
}

fn settings(listen: ListenArgs, front: FrontArgs, denials: DenialArgs, bounds: BoundArgs, rest: Rest) -> anyhow::Result<ProxySettings> {
    let ListenArgs { listen, metrics_listen, tls_cert, tls_key, client_ca, client_name } = listen;
    let DenialArgs { reject_status, reject_code, rate_limit_fields, shadow, optimizer } = denials;
    let BoundArgs { max_body, max_buffered_bytes, body_timeout, upstream_timeout, max_connections, drain, grace } = bounds;
    let Rest { upstream, upstream_ca, access_log, needs_store } = rest;
    ensure!(
        max_buffered_bytes >= max_body,
        "--max-buffered-bytes {max_buffered_bytes} is less than --max-body {max_body}: raise it, or lower --max-body"
    );
    Ok(ProxySettings {
        listen,
        tls: tls_cert.zip(tls_key).map(|(cert, key)| Files { cert, key, client_ca, client_names: client_name }),
        metrics_listen,
        origins: front.origins(listen.ip()),
        trusted_proxies: front.trusted_proxy,
        pass_paths: front.pass_path,
        limits: connection_limits(max_connections, grace.0),
        upstream,
        upstream_ca,
        answer_within: upstream_timeout.as_duration(),
        max_body: max_body as usize,
        max_buffered: max_buffered_bytes as usize,
        body_within: body_timeout.as_duration(),
        rejection: DenialForm { status: reject_status, code: reject_code },
        rate_limit_fields,
        shadow,
        optimizer,
        needs_store,
        access_log,
        drain: drain.0,
    })
}

/// Sessions and their streams last as long as their clients want.
fn connection_limits(connections: u32, grace: Duration) -> ConnectionLimits {
    ConnectionLimits { connections: connections as usize, age: Duration::MAX, requests: u64::MAX, grace, ..ConnectionLimits::default() }
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
