//! One server: how it is set up, and what can happen to it.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, FromRedisValue, IntoConnectionInfo, RedisResult, TlsCertificates,
    aio::MultiplexedConnection,
};

use crate::support::{ca::Ca, find::neighbour, leash::Leashed, port::free_port, serve::wait_until, time::eventually};

/// For an answer, where there has to be one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which server. Valkey grew from Redis 7.2, and says some things in other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    Redis,
    Valkey,
}

/// How a server is to be started.
#[derive(Clone)]
pub struct Setup {
    program: PathBuf,
    port: u16,
    /// Of the default user.
    password: Option<String>,
    tls: Option<Arc<Tls>>,
    sentinel: bool,
    lines: String,
}

/// A CA, and what it certified: the server's pair and a client's.
pub struct Tls {
    pub ca_pem: String,
    server: (String, String),
    /// Certificate and key, PEM.
    pub client: (String, String),
}

/// A running server, or one that a test has killed.
pub struct Server {
    setup: Setup,
    folder: PathBuf,
    /// The leashes of all its processes, the first of which removes the folder. Killing a process leaves its leash.
    runs: Mutex<Vec<Leashed>>,
}

impl Brand {
    /// How a server of this brand is to be started.
    pub fn setup(self) -> Setup {
        let program = match self {
            Self::Redis => neighbour("redis-server"),
            Self::Valkey => neighbour("valkey-server"),
        };
        let lines = "save ''\nappendonly no\nrepl-diskless-sync-delay 0\n".to_owned();
        Setup { program, port: free_port(), password: None, tls: None, sentinel: false, lines }
    }

    /// A Sentinel, which knows few options.
    pub fn sentinel(self) -> Setup {
        Setup { sentinel: true, lines: String::new(), ..self.setup() }
    }

    /// A server without passwords, TLS or anything kept on disk.
    pub async fn start(self) -> Server {
        self.setup().start().await
    }

    /// Whether it speaks TLS. The Valkey that `setup.sh` installs does not.
    pub fn has_tls(self) -> bool {
        self == Self::Redis
    }
}

impl Default for Setup {
    fn default() -> Self {
        Brand::Redis.setup()
    }
}

impl Setup {
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// A line of the configuration, as in `redis.conf`.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }

    /// A password for the default user, who is the administrator.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {password}"))
    }

    /// TLS only, and no client without a certificate of this CA.
    pub fn tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(self) -> Server {
        let folder = tempfile::tempdir().expect("a folder").keep();
        self.write_to(&folder);
        let server = Server { setup: self, folder, runs: Mutex::default() };
        server.run().await;
        server
    }

    fn write_to(&self, folder: &std::path::Path) {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the folder is ours");
        let mut conf = format!("dir {0}\npidfile {0}/pid\nbind 127.0.0.1\n", folder.display());
        let port = self.port;
        if let Some(tls) = &self.tls {
            write("ca.crt", &tls.ca_pem);
            write("tls.crt", &tls.server.0);
            write("tls.key", &tls.server.1);
            let files = "tls-ca-cert-file ca.crt\ntls-cert-file tls.crt\ntls-key-file tls.key\ntls-auth-clients yes";
            writeln!(conf, "port 0\ntls-port {port}\n{files}").expect("a string takes everything");
        } else {
            writeln!(conf, "port {port}").expect("a string takes everything");
        }
        write("redis.conf", &(conf + &self.lines));
    }
}

impl Tls {
    pub fn new() -> Arc<Self> {
        let ca = Ca::root("root");
        let (server, client) = (ca.pair(), ca.client_pair("tollgate", &[]));
        Arc::new(Self { ca_pem: ca.pem, server, client })
    }
}

impl Server {
    /// A Redis without passwords, TLS or anything kept on disk.
    pub async fn start() -> Self {
        Brand::Redis.start().await
    }

    pub fn port(&self) -> u16 {
        self.setup.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.setup.port).into()
    }

    /// Where it is, as an URL says it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.setup.tls.is_some() { "rediss" } else { "redis" }, self.address())
    }

    /// A client of the administrator.
    pub fn client(&self) -> Client {
        let mut info = self.url().into_connection_info().expect("a good URL");
        if let Some(password) = &self.setup.password {
            let login = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(login);
        }
        match &self.setup.tls {
            None => Client::open(info),
            Some(tls) => {
                let (client_cert, client_key) = (tls.client.0.clone().into(), tls.client.1.clone().into());
                let client_tls = Some(ClientTlsConfig { client_cert, client_key });
                Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: Some(tls.ca_pem.clone().into()) })
            }
        }
        .expect("a good client")
    }

    /// A connection of the administrator, patient enough for a machine that is busy with other tests.
    pub async fn connect(&self) -> MultiplexedConnection {
        let patient = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        self.client().get_multiplexed_async_connection_with_config(&patient).await.expect("the server is up")
    }

    /// What it says to a command, its words parted by spaces.
    pub async fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        cmd(command).query_async(&mut self.client().get_multiplexed_async_connection().await?).await
    }

    /// The same, where it has to answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        cmd(command).query_async(&mut self.connect().await).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// A field of `INFO`, as a number or a text.
    pub async fn info(&self, section: &str, field: &str) -> Option<String> {
        let info: String = self.try_ask(&format!("INFO {section}")).await.ok()?;
        info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned))
    }

    /// Polls [`Server::info`].
    pub async fn wait_for_info(&self, section: &str, field: &str, value: &str) {
        eventually(&format!("{field}:{value} of the server on port {}", self.port()), async || {
            self.info(section, field).await.as_deref() == Some(value)
        })
        .await;
    }

    /// `kill -9`: nothing is saved, connections break.
    pub fn kill(&self) {
        self.signal("KILL");
        wait_until("the server's end", || TcpStream::connect(self.address()).is_err());
    }

    /// Starts it again after [`Server::kill`], on the same port, in the same folder.
    pub async fn restart(&self) {
        self.run().await;
    }

    /// It hangs: the kernel goes on accepting connections and bytes, nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    async fn run(&self) {
        let conf = self.folder.join("redis.conf").display().to_string();
        let args: Vec<_> = std::iter::once(conf).chain(self.setup.sentinel.then(|| "--sentinel".to_owned())).collect();
        let _ = fs::remove_file(self.folder.join("pid"));
        let leashed = Leashed::start(&self.folder, &self.setup.program, &args);
        // Whoever answers on the port has to be the process that was started, and have loaded what it kept.
        eventually(&format!("{} to answer; its log is in {}", self.setup.program.display(), self.folder.display()), async || {
            self.pid().is_some() && self.info("server", "process_id").await == self.pid() && self.try_ask::<()>("PING").await.is_ok()
        })
        .await;
        self.runs.lock().expect("no panic while held").push(leashed);
    }

    fn pid(&self) -> Option<String> {
        fs::read_to_string(self.folder.join("pid")).ok().map(|pid| pid.trim().to_owned())
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().expect("it was started");
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there");
        assert!(status.success(), "the server is gone");
    }
}

/// A command, its words parted by spaces.
fn cmd(text: &str) -> Cmd {
    let mut words = text.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap_or_default());
    cmd.arg(words.collect::<Vec<_>>());
    cmd
}
