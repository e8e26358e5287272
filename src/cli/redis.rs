//! How to connect to Redis, for all commands.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};
use tracing::warn;

use crate::{
    manifest::server::{Storage, StorageCa, StorageTls},
    stores::redis::RedisSettings,
};

/// The environment variable in which ToolHive's operator gives its proxies the password.
const PASSWORD_VARIABLE: &str = "THV_SESSION_REDIS_PASSWORD";

/// The address of Redis and our credentials for it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Redis")]
pub(super) struct RedisArgs {
    /// URL of Redis: redis://, rediss://, redis-sentinel://.../MASTER, redis-cluster://
    #[arg(long, env = "TOLLGATE_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(super) redis_url: Option<String>,

    /// ACL user for Redis
    #[arg(long, env = "TOLLGATE_REDIS_USERNAME", value_name = "USER")]
    redis_username: Option<String>,

    /// File with the Redis password [default: the environment variable THV_SESSION_REDIS_PASSWORD, as in ToolHive]
    #[arg(long, env = "TOLLGATE_REDIS_PASSWORD_FILE", value_name = "FILE")]
    redis_password_file: Option<PathBuf>,

    /// CA of Redis' certificate, PEM; also needed if the resource's sessionStorage.tls names a Secret
    #[arg(long, env = "TOLLGATE_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// Client certificate for Redis, PEM
    #[arg(long, env = "TOLLGATE_REDIS_CERT", value_name = "FILE", requires = "redis_key")]
    redis_cert: Option<PathBuf>,

    /// Key of the client certificate, PEM
    #[arg(long, env = "TOLLGATE_REDIS_KEY", value_name = "FILE", requires = "redis_cert")]
    redis_key: Option<PathBuf>,
}

/// The address of a Redis, `HOST:PORT`.
#[derive(Clone, Debug)]
pub(super) struct Address(String);

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', '@', ' ']));
        let is_address = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        ensure!(is_address, "write HOST:PORT, as in sessionStorage.address");
        Ok(Self(text.to_owned()))
    }
}

impl RedisArgs {
    /// Refuses to send the password to an address that the resource chose, unless it is in `allowed` and its certificate is verified.
    pub(super) fn check_password(&self, named: &Storage, allowed: &[Address]) -> anyhow::Result<()> {
        let Storage { address, tls, .. } = named;
        if self.redis_url.is_some() || password(self.redis_password_file.as_deref())?.is_none() {
            return Ok(());
        }
        let unverified = self.redis_ca.is_none() && tls.as_ref().is_some_and(|tls| tls.insecure);
        ensure!(
            !unverified,
            "the watched object disables verification of Redis' certificate (insecureSkipVerify), but a password would be sent: add --redis-ca FILE"
        );
        ensure!(
            allowed.iter().any(|Address(allowed)| allowed.eq_ignore_ascii_case(address)),
            "the watched object names Redis at {address:?}, which may not receive the password: to allow it, add --redis-password-for {address}"
        );
        Ok(())
    }

    /// Redis as the flags say, else as the resource does.
    pub(super) fn resolve(&self, named: Option<&Storage>) -> anyhow::Result<RedisSettings> {
        let url = match (&self.redis_url, named) {
            (Some(url), _) => url.clone(),
            (None, Some(Storage { address, db, tls: None })) => {
                format!("{}://{address}/{db}", if self.redis_ca.is_some() { "rediss" } else { "redis" })
            }
            (None, Some(Storage { address, db, tls: Some(tls) })) => return self.over_tls(address, *db, tls),
            (None, None) => bail!("the resource does not name a Redis: add --redis-url"),
        };
        self.settings(&url)
    }

    /// The Redis that a resource names, over TLS as it says. A CA that is given here is verified against, whatever the resource says.
    fn over_tls(&self, address: &str, db: u32, tls: &StorageTls) -> anyhow::Result<RedisSettings> {
        let url = format!("rediss://{address}/{db}");
        match (&self.redis_ca, tls) {
            (Some(_), _) => self.settings(&url),
            (None, StorageTls { insecure: true, .. }) => {
                warn!(address, "the certificate of Redis is not verified (insecureSkipVerify): --redis-ca verifies it");
                self.settings(&format!("{url}#insecure"))
            }
            (None, StorageTls { ca: Some(StorageCa::File(file)), .. }) => Ok(self.settings(&url)?.ca_pem(bytes(file)?)),
            (None, StorageTls { ca: Some(StorageCa::Secret(at, name)), .. }) => {
                bail!("{at} names the Secret {name:?}, which is not read here: write its CA certificate to a file and add --redis-ca FILE")
            }
            (None, StorageTls { ca: None, .. }) => self.settings(&url),
        }
    }

    /// The Redis at a URL, by the credentials and certificates that were named.
    pub(super) fn settings(&self, url: &str) -> anyhow::Result<RedisSettings> {
        let mut redis =
            RedisSettings::parse(url).context(if self.redis_url.is_some() { "--redis-url" } else { "the Redis of the resource" })?;
        if let Some(username) = &self.redis_username {
            redis = redis.username(username);
        }
        if let Some(password) = password(self.redis_password_file.as_deref())? {
            redis = redis.password(password);
        }
        if let Some(ca) = &self.redis_ca {
            redis = redis.ca_pem(bytes(ca)?);
        }
        if let Some((cert, key)) = self.redis_cert.as_ref().zip(self.redis_key.as_ref()) {
            redis = redis.identity_pem(bytes(cert)?, bytes(key)?);
        }
        Ok(redis)
    }
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// From the file, else from the environment. The line's end that editors add is not part of it.
fn password(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty())) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
