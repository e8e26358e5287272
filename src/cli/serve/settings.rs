//! The settings of `tollgate serve`, resolved from its arguments.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use time::OffsetDateTime;

use super::{
    args::{CrdGlobal, ServeArgs},
    authority::Authority,
    surroundings::{Surroundings, Typed},
};
use crate::{
    certs::{DevCerts, ensure_dev},
    cli::values::DrainTime,
    cluster::Access,
    server::{ConnectionLimits, tls::Files},
    webhook::WebhookSettings,
};

/// Everything that `serve` needs.
#[derive(Debug)]
pub(super) struct ServeSettings {
    pub(super) server: WebhookSettings,
    /// What `--crd-global` says about the CRDs.
    pub(super) crd_global: CrdGlobal,
    /// Whether to assume that ToolHive's operator reads `global`; otherwise the cluster is checked.
    pub(super) operator_reads_global: bool,
    /// The cluster to follow, if any.
    pub(super) surroundings: Surroundings,
    /// What issues the certificate, if the replicas do that themselves.
    pub(super) authority: Option<Authority>,
    /// The development certificates, if they are used.
    pub(super) dev: Option<DevCerts>,
}

/// In a pod: longer than endpoints take to drop a terminating pod.
const DRAIN: Duration = Duration::from_secs(15);

/// Resolves the arguments; generates development certificates if no others are given.
pub(super) fn resolve(args: ServeArgs) -> anyhow::Result<ServeSettings> {
    // Naming every field makes an unused flag a compile error.
    let ServeArgs {
        listen,
        metrics_listen,
        tls_cert,
        tls_key,
        tls_dev,
        client_ca,
        client_name,
        shared_alias,
        toolhive_reads_global,
        crd_global,
        kubeconfig,
        context,
        no_cluster,
        secrets_in,
        schema_poll,
        max_in_flight,
        max_connections,
        deadline,
        drain,
        authority,
    } = args;
    let drain = drain.map(|DrainTime(time)| time);
    let named = tls_cert.zip(tls_key);
    let is_issued = authority.is_used();
    let named = named.or_else(|| is_issued.then(|| ("the issued certificate".into(), "its key".into())));
    let dev = named.is_none().then(|| dev_certs(tls_dev, listen.ip())).transpose()?;
    let (cert, key) = named.or_else(|| dev.as_ref().map(|dev| (dev.cert.clone(), dev.key.clone()))).unwrap_or_default();
    let schema_poll = schema_poll.as_duration().max(Duration::from_millis(100));
    let access = Access { kubeconfig, context };
    let authority = authority.resolve(&access)?;
    let typed = Typed { access, no_cluster, secrets_in, operator_reads_global: toolhive_reads_global, schema_poll };
    let surroundings = Surroundings::look(typed)?;
    Ok(ServeSettings {
        server: WebhookSettings {
            listen,
            metrics_listen,
            tls: Files { cert, key, client_ca, client_names: client_name },
            // Connected once there is a runtime.
            authority: None,
            mode: shared_alias,
            limits: ConnectionLimits { connections: usize::from(max_connections), ..ConnectionLimits::default() },
            max_in_flight: usize::from(max_in_flight),
            deadline: deadline.as_duration(),
            drain: drain.unwrap_or(if dev.is_some() { Duration::ZERO } else { DRAIN }),
        },
        crd_global,
        operator_reads_global: toolhive_reads_global,
        surroundings,
        authority,
        dev,
    })
}

fn dev_certs(folder: PathBuf, listen: std::net::IpAddr) -> anyhow::Result<DevCerts> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !listen.is_unspecified() && !names.contains(&listen.to_string()) {
        names.push(listen.to_string());
    }
    ensure_dev(&folder, &names, OffsetDateTime::now_utc()).context("cannot generate development certificates")
}
