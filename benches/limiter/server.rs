//! A private redis-server, and its statistics.

use std::{
    ffi::OsString,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use redis::{Client, IntoConnectionInfo, aio::MultiplexedConnection};

#[allow(unreachable_pub, clippy::expect_used, reason = "shared with the tests, where a panic is a failure")]
#[path = "../../tests/it/support/leash.rs"]
mod leash;

use self::leash::Leashed;

/// Names the program; otherwise it is looked for in PATH.
const PROGRAM: &str = "TOLLGATE_TEST_REDIS_SERVER";
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A running server, which ends with this process.
pub(super) struct Server {
    url: String,
    port: u16,
    control: MultiplexedConnection,
    _process: Leashed,
}

/// What a server has done since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    /// Commands other than the scripts themselves.
    pub(super) commands: u64,
    pub(super) replicated_bytes: u64,
}

impl Server {
    /// Starts one on a free port, without persistence.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = start(port, &[])?;
        let url = format!("redis://127.0.0.1:{port}");
        let control = connect(&url).await.with_context(|| format!("redis-server said {:?}", process.log_tail()))?;
        Ok(Self { url, port, control, _process: process })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// As tollgate connects.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        client(&self.url)
    }

    /// Forgets all buckets. Scripts stay.
    pub(super) async fn flush(&self) -> anyhow::Result<()> {
        Ok(redis::cmd("FLUSHALL").arg("SYNC").query_async(&mut self.control.clone()).await?)
    }

    /// Has a replica for a moment: from then on all that it would get is written to the backlog, and counted.
    pub(super) async fn fill_backlog(&self) -> anyhow::Result<()> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let replica = start(port, &["--replicaof", "127.0.0.1", &self.port.to_string()])?;
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut self.control.clone()).await?;
            if field(&info, "slave0").is_some_and(|replica| replica.contains("state=online")) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the replica does not come up; it said {:?}", replica.log_tail())
    }

    pub(super) async fn usage(&self) -> anyhow::Result<Usage> {
        let info: String = redis::cmd("INFO").arg("everything").query_async(&mut self.control.clone()).await?;
        let seconds = |name| field(&info, name).and_then(|text| text.parse::<f64>().ok()).context(name);
        Ok(Usage {
            cpu: Duration::from_secs_f64(seconds("used_cpu_user")? + seconds("used_cpu_sys")?),
            commands: info.lines().filter_map(commands).sum(),
            replicated_bytes: field(&info, "master_repl_offset").context("master_repl_offset")?.parse()?,
        })
    }
}

impl Usage {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            commands: self.commands - earlier.commands,
            replicated_bytes: self.replicated_bytes - earlier.replicated_bytes,
        }
    }
}

/// On a leash, in a folder of its own.
fn start(port: u16, more: &[&str]) -> anyhow::Result<Leashed> {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("redis-server"));
    // The leash removes it.
    let folder = tempfile::tempdir()?.keep();
    let (port, folder_text) = (port.to_string(), folder.to_string_lossy());
    let own = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &folder_text];
    // A backlog once made is kept, and is large enough for what is written between two looks.
    let backlog = ["--repl-backlog-ttl", "0", "--repl-diskless-sync-delay", "0"];
    let args: Vec<String> = own.iter().chain(&backlog).chain(more).map(|arg| (*arg).to_owned()).collect();
    Ok(Leashed::start(&folder, &PathBuf::from(program), &args))
}

fn client(url: &str) -> anyhow::Result<Client> {
    let info = url.into_connection_info()?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(Client::open(info.set_tcp_settings(tcp))?)
}

/// As soon as it is up.
async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let client = client(url)?;
    let began = Instant::now();
    loop {
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => return Ok(connection),
            Err(error) if began.elapsed() > STARTS_WITHIN => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A field of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `cmdstat_hset:calls=7,...`, unless it is of a script as a whole, or of this question.
fn commands(line: &str) -> Option<u64> {
    let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    let count = stats.split(',').next()?.parse().ok()?;
    (!["eval", "evalsha", "info"].contains(&name)).then_some(count)
}
