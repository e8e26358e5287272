//! What `tollgate proxy` will do, from the arguments that were typed.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    args::{AccessLogArg, OnStoreErrorArg, ProxyArgs, RejectStatusArg, StoreArg, StoreArgs},
    callers::{self, CallerSettings},
};
use crate::{
    cli::args::Drain,
    gateway::{
        AccessLog, Settings,
        follow::Followed,
        source::{Source, SourceError, Storage},
    },
    listener::{Limits, tls::Files},
    mcp::{RejectStatus, Rejection},
    stores::{GuardSettings, OnStoreError, redis},
};

/// The environment variable in which ToolHive's operator gives its proxies the password.
const PASSWORD_VARIABLE: &str = "THV_SESSION_REDIS_PASSWORD";

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

/// Where buckets are.
#[derive(Debug)]
pub(super) enum StoreSettings {
    Memory,
    Redis { redis: Box<redis::Settings>, guard: GuardSettings, required: bool },
}

/// Limits that cannot work: the one fault with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub(super) struct Unworkable {
    path: String,
    error: SourceError,
}

/// Resolves what was typed, and reads the files that it names.
pub(super) fn resolve(args: ProxyArgs) -> anyhow::Result<ProxySettings> {
    // Naming every field makes a flag that nobody reads a compile error.
    let ProxyArgs {
        file,
        name,
        namespace,
        upstream,
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
    let text = read(&file)?;
    let source = source(&file, &text, name.as_deref(), &namespace)?;
    let followed = (file.as_os_str() != "-").then_some(Followed { path: file, name, namespace, text });
    let on_store_error = on_store_error(store.on_store_error);
    let store = store_settings(store, source.storage.as_ref(), on_store_error)?;
    let callers = callers::resolve(callers, &source)?;
    let needs_store = matches!(store, StoreSettings::Redis { .. }) && on_store_error == OnStoreError::Closed;
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

fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn source(file: &Path, text: &str, name: Option<&str>, namespace: &str) -> anyhow::Result<Source> {
    Source::read(text, name, namespace).map_err(|error| match error {
        SourceError::Violations(_) => Unworkable { path: file.display().to_string(), error }.into(),
        error => anyhow::anyhow!("{}: {error}", file.display()),
    })
}

fn reject_status_of(status: RejectStatusArg) -> RejectStatus {
    match status {
        RejectStatusArg::Auto => RejectStatus::Auto,
        RejectStatusArg::Always429 => RejectStatus::Always429,
        RejectStatusArg::Always200 => RejectStatus::Always200,
        RejectStatusArg::ToolResult => RejectStatus::ToolResult,
    }
}

fn on_store_error(policy: OnStoreErrorArg) -> OnStoreError {
    match policy {
        OnStoreErrorArg::Open => OnStoreError::Open,
        OnStoreErrorArg::Closed => OnStoreError::Closed,
        OnStoreErrorArg::Local => OnStoreError::Local,
    }
}

fn store_settings(args: StoreArgs, named: Option<&Storage>, on_store_error: OnStoreError) -> anyhow::Result<StoreSettings> {
    let wanted = args.store.unwrap_or(if args.redis_url.is_some() || named.is_some() { StoreArg::Redis } else { StoreArg::Memory });
    if wanted == StoreArg::Memory {
        if args.redis_url.is_some() {
            bail!("--store memory and --redis-url exclude each other");
        }
        return Ok(StoreSettings::Memory);
    }
    let url = match (&args.redis_url, named) {
        (Some(url), _) => url.clone(),
        (None, Some(Storage { address, db })) => format!("{}://{address}/{db}", if args.redis_ca.is_some() { "rediss" } else { "redis" }),
        (None, None) => bail!("--store redis needs --redis-url, since the resource names no Redis"),
    };
    let mut redis =
        redis::Settings::parse(&url).context(if args.redis_url.is_some() { "--redis-url" } else { "the Redis of the resource" })?;
    if let Some(username) = args.redis_username {
        redis = redis.username(username);
    }
    if let Some(password) = password(args.redis_password_file.as_deref())? {
        redis = redis.password(password);
    }
    if let Some(ca) = args.redis_ca {
        redis = redis.ca_pem(bytes(&ca)?);
    }
    if let Some((cert, key)) = args.redis_cert.zip(args.redis_key) {
        redis = redis.identity_pem(bytes(&cert)?, bytes(&key)?);
    }
    let guard = GuardSettings::default().on_store_error(on_store_error).deadline(args.store_deadline.as_duration());
    Ok(StoreSettings::Redis { redis: Box::new(redis), guard, required: args.require_store })
}

fn bytes(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// From the file, else from the environment. The line's end that editors add is not part of it.
fn password(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty())) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
