//! The server that a command works on: its resource in a file, and the store where its calls are counted.

use std::{
    fmt::Display,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;
use tracing::warn;

use super::redis::{Address, RedisArgs};
use crate::{
    gate::follow::Followed,
    limiter::{Observer, Store as _},
    manifest::server::{LimitedServer, LimitedServerError, Storage},
    model::{
        DEFAULT_NAMESPACE,
        period::{Period, go_duration},
    },
    stores::{Buckets, Guard, GuardSettings, Memory, OnStoreError, Redis, guard::DEADLINE, redis},
};

/// The default of `--store-deadline`.
static DEADLINE_TEXT: LazyLock<String> = LazyLock::new(|| go_duration(DEADLINE.as_nanos() as u64));

/// Which server.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// Manifest of the server whose limits apply, or - for stdin
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    which: WhichArgs,
}

/// Which server of a file.
#[derive(Debug, clap::Args)]
pub(super) struct WhichArgs {
    /// Name of the server, if the file has several
    #[arg(long, env = "TOLLGATE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// Namespace, if the manifest does not set one
    #[arg(long, env = "TOLLGATE_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

/// Where buckets are stored, and what happens when the store is unavailable.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreArgs {
    /// Where calls are counted [default: redis if the resource or --redis-url names one, else memory]
    #[arg(long, env = "TOLLGATE_STORE", value_name = "STORE")]
    store: Option<StoreArg>,

    #[command(flatten)]
    redis: RedisArgs,

    /// What happens to calls when Redis does not respond
    #[arg(long, env = "TOLLGATE_ON_STORE_ERROR", value_name = "POLICY", default_value = "open")]
    on_store_error: OnStoreErrorArg,

    /// Maximum time that a call waits for Redis
    #[arg(long, env = "TOLLGATE_STORE_DEADLINE", value_name = "DURATION", default_value = DEADLINE_TEXT.as_str())]
    store_deadline: Period,

    /// Fail to start if Redis is unavailable
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
    /// Allow them.
    Open,
    /// Refuse them.
    Closed,
    /// Use buckets in this process.
    Local,
}

/// A resource that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) source: LimitedServer,
    /// The file, unless it was stdin.
    pub(super) followed: Option<Followed>,
}

/// Where buckets are.
#[derive(Debug)]
pub(super) enum StoreSettings {
    Memory,
    Redis {
        redis: Box<redis::RedisSettings>,
        guard: GuardSettings,
        /// Whether calls are refused without it.
        is_needed: bool,
        /// Whether not to start without it.
        required: bool,
    },
}

/// Limits that cannot work: the one error with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {error}")]
pub(super) struct Unworkable {
    from: String,
    error: LimitedServerError,
}

impl SourceArgs {
    /// Reads the resource.
    pub(super) fn read(self) -> anyhow::Result<Read> {
        self.which.read(self.file)
    }
}

impl WhichArgs {
    /// Reads the resource from a file.
    pub(super) fn read(self, file: PathBuf) -> anyhow::Result<Read> {
        let Self { name, namespace } = self;
        let text = text_of(&file)?;
        let source = LimitedServer::read(&text, name.as_deref(), &namespace).map_err(|error| unworkable(&file.display(), error))?;
        let followed = (file.as_os_str() != "-").then_some(Followed { path: file, name, namespace, text });
        Ok(Read { source, followed })
    }
}

fn text_of(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).context("cannot read stdin")?;
        return Ok(text);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The error of limits that could not be read; names the input.
pub(super) fn unworkable(from: &dyn Display, error: LimitedServerError) -> anyhow::Error {
    match error {
        LimitedServerError::Violations(_) => Unworkable { from: from.to_string(), error }.into(),
        error => anyhow::anyhow!("{from}: {error}"),
    }
}

impl StoreArgs {
    /// Maximum time that a call waits for the store.
    pub(super) fn deadline(&self) -> Duration {
        self.store_deadline.as_duration()
    }

    /// Whether calls are refused without the store.
    pub(super) fn refuses_without(&self) -> bool {
        matches!(self.on_store_error, OnStoreErrorArg::Closed)
    }

    /// Where calls are counted: by flags, else where the resource says. With `password_for`, of the addresses that the resource may name only
    /// these receive the password.
    pub(super) fn resolve(self, named: Option<&Storage>, password_for: Option<&[Address]>) -> anyhow::Result<StoreSettings> {
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
        if let Some((named, password_for)) = named.zip(password_for) {
            redis.check_password(named, password_for)?;
        }
        Ok(StoreSettings::Redis { redis: Box::new(redis.resolve(named)?), guard, is_needed, required: require_store })
    }
}

impl StoreSettings {
    /// The buckets; whether Redis answers is checked now. Events are reported to `observer`.
    pub(super) async fn open(self, observer: Arc<dyn Observer>) -> anyhow::Result<Buckets> {
        let required = self.is_required();
        let buckets = self.buckets(observer)?;
        match buckets.probe().await {
            Err(error) if required => return Err(error).context("Redis is required (--require-store)"),
            Err(error) => warn!(%error, "Redis is not reachable yet"),
            Ok(()) => {}
        }
        Ok(buckets)
    }

    /// The same without asking Redis, unless it is required: one of many must not hold up the others.
    pub(super) async fn open_as_one_of_many(self, observer: Arc<dyn Observer>) -> anyhow::Result<Buckets> {
        if self.is_required() { self.open(observer).await } else { self.buckets(observer) }
    }

    fn is_required(&self) -> bool {
        matches!(self, Self::Redis { required: true, .. })
    }

    fn buckets(self, observer: Arc<dyn Observer>) -> anyhow::Result<Buckets> {
        match self {
            Self::Memory => Ok(Buckets::Memory(Memory::default())),
            Self::Redis { redis, guard, .. } => {
                let redis = Redis::new(&redis.observer(Arc::clone(&observer)))?;
                Ok(Buckets::Redis(Guard::new(redis, guard.observer(observer))))
            }
        }
    }
}
