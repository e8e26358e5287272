//! What `tollgate proxy` will do, from the arguments that were typed.

use super::{
    args::{AccessLogArg, ProxyArgs, RejectStatusArg},
    callers::{self, CallerSettings},
};
use crate::{
    cli::{
        args::Drain,
        target::{Read, StoreSettings},
    },
    gateway::{AccessLog, Settings, follow::Followed, source::Source},
    listener::{Limits, tls::Files},
    mcp::{RejectStatus, Rejection},
};

/// Everything that `proxy` needs to know.
#[derive(Debug)]
pub(super) struct ProxySettings {
    pub(super) proxy: Settings,
    pub(super) source: Source,
    /// The file, unless it was stdin.
    pub(super) followed: Option<Followed>,
    pub(super) store: StoreSettings,
    pub(super) callers: CallerSettings,
}

/// Resolves what was typed, and reads the files that it names.
pub(super) fn resolve(args: ProxyArgs) -> anyhow::Result<ProxySettings> {
    // Naming every field makes a flag that nobody reads a compile error.
    let ProxyArgs {
        source,
        upstream,
        upstream_ca,
        listen,
        metrics_listen,
        tls_cert,
        tls_key,
        client_ca,
        client_name,
        store,
        callers,
        reject_status,
        reject_code,
        rate_limit_fields,
        shadow,
        optimizer,
        access_log,
        max_body,
        body_timeout,
        upstream_timeout,
        max_connections,
        drain: Drain(drain),
        grace: Drain(grace),
    } = args;
    let Read { source, followed } = source.read()?;
    let store = store.resolve(source.storage.as_ref())?;
    let callers = callers::resolve(callers, &source)?;
    let needs_store = matches!(store, StoreSettings::Redis { is_needed: true, .. });
    let proxy = Settings {
        listen,
        tls: tls_cert.zip(tls_key).map(|(cert, key)| Files { cert, key, client_ca, client_names: client_name }),
        metrics_listen,
        limits: Limits {
            connections: max_connections as usize,
            // Sessions and their streams live as long as their clients like.
            age: std::time::Duration::MAX,
            requests: u64::MAX,
            grace,
            ..Limits::default()
        },
        upstream,
        upstream_ca,
        answer_within: upstream_timeout.as_duration(),
        max_body: max_body as usize,
        body_within: body_timeout.as_duration(),
        rejection: Rejection { status: reject_status_of(reject_status), code: reject_code },
        rate_limit_fields,
        shadow,
        optimizer,
        needs_store,
        access_log: match access_log {
            AccessLogArg::All => AccessLog::All,
            AccessLogArg::Denials => AccessLog::Denials,
            AccessLogArg::None => AccessLog::None,
        },
        drain,
    };
    Ok(ProxySettings { proxy, source, followed, store, callers })
}

fn reject_status_of(status: RejectStatusArg) -> RejectStatus {
    match status {
        RejectStatusArg::Auto => RejectStatus::Auto,
        RejectStatusArg::Always429 => RejectStatus::Always429,
        RejectStatusArg::Always200 => RejectStatus::Always200,
        RejectStatusArg::ToolResult => RejectStatus::ToolResult,
    }
}
