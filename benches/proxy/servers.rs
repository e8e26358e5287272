//! The parties as processes: nginx, a proxy in Go and tollgate, in front of the same servers.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    load::Target,
    requests::{Kind, TOOL},
    shared::server::Server,
    signer::{AUDIENCE, ISSUER},
};

/// Names nginx; otherwise it is looked for in PATH, as is redis-server.
const NGINX: &str = "TOLLGATE_TEST_NGINX";
const REDIS: &str = "TOLLGATE_TEST_REDIS_SERVER";
/// Names the proxy in Go (`rival/main.go`).
const GO_PROXY: &str = "TOLLGATE_BENCH_GO_PROXY";
const STARTS_WITHIN: Duration = Duration::from_secs(10);
pub(super) const KEYS: &str = "keys.json";

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Direct,
    Nginx,
    Go,
    Tollgate,
}

impl Party {
    pub(super) const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Go, Self::Tollgate];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Go => "go",
            Self::Tollgate => "tollgate",
        }
    }
}

/// All that serve calls.
#[derive(Debug)]
pub(super) struct Servers {
    upstream: Server,
    /// At its address it allows.
    nginx: Server,
    nginx_denies: SocketAddr,
    tollgate: Server,
    tollgate_anonymous: Server,
    tollgate_denies: Server,
    in_redis: Option<InRedis>,
}

/// Those who count calls in the same Redis.
#[derive(Debug)]
struct InRedis {
    go: Server,
    tollgate: Server,
    _redis: Server,
}

/// All that serve streams, each as fresh as can be.
#[derive(Debug)]
pub(super) struct Streaming {
    upstream: Server,
    nginx: Server,
    tollgate: Server,
}

impl Servers {
    pub(super) async fn start(folder: &Path, keys: &Value, with_redis: bool) -> anyhow::Result<Self> {
        let upstream = upstream(folder, keys).await?;
        let [allows, denies] = [free_address()?, free_address()?];
        let keys = format!("http://{}/{KEYS}", upstream.address());
        let proxy = |name, limits, args| tollgate(folder, name, &upstream, &resource(&keys, limits), args);
        Ok(Self {
            nginx: nginx_proxy(folder, "nginx", &upstream, [allows, denies], "on").await?,
            nginx_denies: denies,
            tollgate: proxy("tollgate", &generous(), &[])?,
            tollgate_anonymous: proxy("anonymous", &generous(), &["--auth", "none"])?,
            tollgate_denies: proxy("denies", &strict(), &["--reject-status", "429", "--access-log", "none"])?,
            in_redis: if with_redis { Some(InRedis::start(folder, &upstream).await?) } else { None },
            upstream,
        })
    }

    /// Without any, the kind needs Redis and none was started.
    pub(super) fn targets(&self, kind: Kind) -> Vec<(Party, Target<'_>)> {
        let nginx = |address| (Party::Nginx, Target { address, server: &self.nginx });
        let tollgate = |server| target(Party::Tollgate, server);
        let direct = target(Party::Direct, &self.upstream);
        match kind {
            Kind::Denied => vec![nginx(self.nginx_denies), tollgate(&self.tollgate_denies)],
            Kind::Anonymous => vec![direct, nginx(self.nginx.address()), tollgate(&self.tollgate_anonymous)],
            Kind::Redis => match &self.in_redis {
                Some(run) => vec![direct, target(Party::Go, &run.go), target(Party::Tollgate, &run.tollgate)],
                None => Vec::new(),
            },
            Kind::Call | Kind::Large(..) | Kind::NewToken(..) => vec![direct, nginx(self.nginx.address()), tollgate(&self.tollgate)],
        }
    }
}

impl InRedis {
    async fn start(folder: &Path, upstream: &Server) -> anyhow::Result<Self> {
        let redis = redis(folder).await?;
        let url = format!("redis://{}", redis.address());
        let resource = resource("", &generous());
        let args = ["--auth", "none", "--redis-url", &url];
        Ok(Self {
            go: go_proxy(folder, upstream, &redis)?,
            tollgate: tollgate(folder, "tollgate-redis", upstream, &resource, &args)?,
            _redis: redis,
        })
    }
}

impl Streaming {
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(super::EVENT_SERVER);
        let upstream = Server::start(command, folder, "events")?;
        let nginx = nginx_proxy(folder, "nginx-streams", &upstream, [free_address()?, free_address()?], "off").await?;
        let tollgate = tollgate(folder, "tollgate-streams", &upstream, &resource("", &generous()), &["--auth", "none"])?;
        Ok(Self { upstream, nginx, tollgate })
    }

    pub(super) fn targets(&self) -> Vec<(Party, Target<'_>)> {
        vec![target(Party::Direct, &self.upstream), target(Party::Nginx, &self.nginx), target(Party::Tollgate, &self.tollgate)]
    }
}

fn target(party: Party, server: &Server) -> (Party, Target<'_>) {
    (party, Target { address: server.address(), server })
}

/// The real binary with its defaults, in front of a server.
fn tollgate(folder: &Path, name: &str, upstream: &Server, resource: &Value, args: &[&str]) -> anyhow::Result<Server> {
    let file = folder.join(name).with_extension("json");
    std::fs::write(&file, resource.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("proxy").arg("-f").arg(file).arg("--upstream").arg(format!("http://{}/mcp", upstream.address()));
    let store: &[&str] = if args.contains(&"--redis-url") { &[] } else { &["--store", "memory"] };
    command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]).args(store).args(args);
    Server::start(command, folder, name)
}

async fn nginx_proxy(
    folder: &Path,
    name: &str,
    upstream: &Server,
    [allows, denies]: [SocketAddr; 2],
    buffering: &str,
) -> anyhow::Result<Server> {
    let settings = [
        ("UPSTREAM", upstream.address().to_string()),
        ("ALLOWS", allows.port().to_string()),
        ("DENIES", denies.port().to_string()),
        ("BUFFERING", buffering.to_owned()),
    ];
    nginx(folder, name, include_str!("nginx.conf"), allows, &settings).await
}

/// The MCP server behind the parties, which is the issuer's as well: its keys are at [`KEYS`].
pub(super) async fn upstream(folder: &Path, keys: &Value) -> anyhow::Result<Server> {
    std::fs::write(folder.join(KEYS), keys.to_string())?;
    let at = free_address()?;
    let settings = [("PORT", at.port().to_string()), ("FOLDER", folder.display().to_string())];
    nginx(folder, "upstream", include_str!("upstream.conf"), at, &settings).await
}

/// One process, which serves at this address.
async fn nginx(folder: &Path, name: &str, template: &str, address: SocketAddr, settings: &[(&str, String)]) -> anyhow::Result<Server> {
    let fill = |text: String, (place, value): (&str, &str)| text.replace(&format!("@{place}@"), value);
    let settings = settings.iter().map(|(place, value)| (*place, value.as_str())).chain([("NAME", name)]);
    let file = folder.join(name).with_extension("conf");
    std::fs::write(&file, settings.fold(template.to_owned(), fill))?;
    let mut command = program(NGINX, "nginx");
    command.arg("-p").arg(folder).arg("-c").arg(&file).args(["-e", "stderr"]);
    started(command, folder, name, address).await.with_context(|| needed(NGINX, "nginx"))
}

/// A server without persistence.
async fn redis(folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = program(REDIS, "redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    started(command, folder, "redis", address).await.with_context(|| needed(REDIS, "redis-server"))
}

/// It has the limits that a caller without a token meets.
fn go_proxy(folder: &Path, upstream: &Server, redis: &Server) -> anyhow::Result<Server> {
    let script = folder.join("rival.lua");
    std::fs::write(&script, include_str!("../limiter/rival.lua"))?;
    let mut command = program(GO_PROXY, "rival");
    command.arg("-upstream").arg(format!("http://{}", upstream.address())).arg("-redis").arg(redis.address().to_string());
    command.arg("-script").arg(&script).args(["-server", "default:bench", "-tool", TOOL]);
    Server::start(command, folder, "go").with_context(|| needed(GO_PROXY, "the proxy in Go"))
}

/// The program that a variable names, or one in PATH.
fn program(variable: &str, otherwise: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| OsString::from(otherwise)))
}

fn needed(variable: &str, what: &str) -> String {
    format!("{what} is needed: `make bench-proxy` finds, installs or builds it, or set {variable}")
}

/// A process that listens on this address.
pub(super) async fn started(command: Command, folder: &Path, name: &str, address: SocketAddr) -> anyhow::Result<Server> {
    let server = Server::start_at(address, command, folder, name)?;
    let began = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        if began.elapsed() > STARTS_WITHIN {
            bail!("{name} does not start: {}", std::fs::read_to_string(folder.join(name).with_extension("log")).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(server)
}

/// Free a moment ago.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub(super) fn resource(keys: &str, limits: &Value) -> Value {
    let issuer = json!({"issuer": ISSUER, "audience": AUDIENCE, "jwksUrl": keys, "insecureAllowHTTP": true});
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": "bench", "namespace": "default"},
        "spec": {
            "oidcConfig": {"type": "inline", "inline": issuer},
            "sessionStorage": {"provider": "redis", "address": "not-used:6379"},
            "rateLimiting": limits,
        },
    })
}

/// Four buckets, none of which a benchmark empties.
pub(super) fn generous() -> Value {
    let bucket = json!({"maxTokens": i32::MAX, "refillPeriod": "24h0m0s"});
    json!({"global": bucket, "perUser": bucket, "tools": [{"name": TOOL, "global": bucket, "perUser": bucket}]})
}

/// The last of the four is empty after a call.
fn strict() -> Value {
    let mut limits = generous();
    limits["tools"][0]["perUser"]["maxTokens"] = json!(1);
    limits
}
