//! The server that a command is about: its resource in a file, and the store where its calls are counted.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::{
    config::period::Period,
    gateway::{
        follow::Followed,
        source::{Source, SourceError, Storage},
    },
    stores::{GuardSettings, OnStoreError, redis},
};

/// Which server.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// The resource whose limits are meant, or - for stdin
    #[arg(long, short, env = "TOLLGATE_FILE", value_name = "FILE")]
    file: PathBuf,

    /// Which server, when the file holds several
    #[arg(long, env = "TOLLGATE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// Namespace of a manifest that has none
    #[arg(long, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

/// Where Redis is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Redis")]
pub(super) struct RedisArgs {
    /// Redis, instead of the one that the resource names: redis://, rediss://, redis-sentinel://.../MASTER, redis-cluster://
    #[arg(long, env = "TOLLGATE_REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: Option<String>,

    /// Its ACL user
    #[arg(long, env = "TOLLGATE_REDIS_USERNAME", value_name = "USER")]
    redis_username: Option<String>,

    /// File that holds its password; else the environment variable THV_SESSION_REDIS_PASSWORD, as in ToolHive
    #[arg(long, env = "TOLLGATE_REDIS_PASSWORD_FILE", value_name = "FILE")]
    redis_password_file: Option<PathBuf>,

    /// CA of its certificate, PEM
    #[arg(long, env = "TOLLGATE_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// Client certificate for it, PEM
    #[arg(long, env = "TOLLGATE_REDIS_CERT", value_name = "FILE", requires = "redis_key")]
    redis_cert: Option<PathBuf>,

    /// The client certificate's key, PEM
    #[arg(long, env = "TOLLGATE_REDIS_KEY", value_name = "FILE", requires = "redis_cert")]
    redis_key: Option<PathBuf>,
}

/// Where buckets are, and what happens without them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreArgs {
    /// Where calls are counted [default: redis where the resource or --redis-url says so, else memory]
    #[arg(long, env = "TOLLGATE_STORE", value_name = "STORE")]
    store: Option<StoreArg>,

    #[command(flatten)]
    redis: RedisArgs,

    /// What becomes of calls when Redis does not answer
    #[arg(long, env = "TOLLGATE_ON_STORE_ERROR", value_name = "POLICY", default_value = "open")]
    on_store_error: OnStoreErrorArg,

    /// Longest that a call waits for Redis
    #[arg(long, env = "TOLLGATE_STORE_DEADLINE", value_name = "DURATION", default_value = "100ms")]
    store_deadline: Period,

    /// Do not start without Redis
    #[arg(long, env = "TOLLGATE_REQUIRE_STORE")]
    require_store: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StoreArg {
    /// In this process.
    Memory,
    /// In Redis.
    Redis,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnStoreErrorArg {
    /// They are allowed.
    Open,
    /// They are refused.
    Closed,
    /// Buckets in this process decide.
    Local,
}

/// A resource that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) source: Source,
    /// The file, unless it was stdin.
    pub(super) followed: Option<Followed>,
}

/// Where buckets are.
#[derive(Debug)]
pub(super) enum StoreSettings {
    Memory,
    Redis {
        redis: Box<redis::Settings>,
        guard: GuardSettings,
        /// Whether calls are refused without it.
        is_needed: bool,
        /// Whether not to start without it.
        required: bool,
    },
}

/// Limits that cannot work: the one fault with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub(super) struct Unworkable {
    path: String,
    error: SourceError,
}

/// The environment variable in which ToolHive's operator gives its proxies the password.
const PASSWORD_VARIABLE: &str = "THV_SESSION_REDIS_PASSWORD";

impl SourceArgs {
    /// Reads the resource.
    pub(super) fn read(self) -> anyhow::Result<Read> {
        let Self { file, name, namespace } = self;
        let text = read(&file)?;
        let source = source(&file, &text, name.as_deref(), &namespace)?;
        let followed = (file.as_os_str() != "-").then_some(Followed { path: file, name, namespace, text });
        Ok(Read { source, followed })
    }
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

impl StoreArgs {
    /// Where calls are counted: as told, else where the resource says.
    pub(super) fn resolve(self, named: Option<&Storage>) -> anyhow::Result<StoreSettings> {
        let Self { store, redis, on_store_error, store_deadline, require_store } = self;
        let wanted = store.unwrap_or(if redis.redis_url.is_some() || named.is_some() { StoreArg::Redis } else { StoreArg::Memory });
        if wanted == StoreArg::Memory {
            return Ok(StoreSettings::Memory);
        }
        let on_store_error = match on_store_error {
            OnStoreErrorArg::Open => OnStoreError::Open,
            OnStoreErrorArg::Closed => OnStoreError::Closed,
            OnStoreErrorArg::Local => OnStoreError::Local,
        };
        let guard = GuardSettings::default().on_store_error(on_store_error).deadline(store_deadline.as_duration());
        let is_needed = on_store_error == OnStoreError::Closed;
        Ok(StoreSettings::Redis { redis: Box::new(redis.resolve(named)?), guard, is_needed, required: require_store })
    }
}

impl RedisArgs {
    /// Redis as told, else as the resource says.
    pub(super) fn resolve(self, named: Option<&Storage>) -> anyhow::Result<redis::Settings> {
        let Self { redis_url, redis_username, redis_password_file, redis_ca, redis_cert, redis_key } = self;
        let url = match (&redis_url, named) {
            (Some(url), _) => url.clone(),
            (None, Some(Storage { address, db })) => format!("{}://{address}/{db}", if redis_ca.is_some() { "rediss" } else { "redis" }),
            (None, None) => bail!("the resource names no Redis: add --redis-url"),
        };
        let whose = if redis_url.is_some() { "--redis-url" } else { "the Redis of the resource" };
        let mut settings = redis::Settings::parse(&url).context(whose)?;
        if let Some(username) = redis_username {
            settings = settings.username(username);
        }
        if let Some(password) = password(redis_password_file.as_deref())? {
            settings = settings.password(password);
        }
        if let Some(ca) = redis_ca {
            settings = settings.ca_pem(bytes(&ca)?);
        }
        if let Some((cert, key)) = redis_cert.zip(redis_key) {
            settings = settings.identity_pem(bytes(&cert)?, bytes(&key)?);
        }
        Ok(settings)
    }
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
