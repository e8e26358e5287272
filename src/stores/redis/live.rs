//! A connection to one server, the master named by Sentinels, or a cluster.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

use super::settings::{RedisSettings, RedisSettingsError, Topology};

/// How many redirects of a cluster are followed before a call fails.
const MOST_REDIRECTS: usize = 3;
const BETWEEN_REDIRECTS: Duration = Duration::from_millis(5);

/// What to connect to.
pub(super) struct Target {
    end: End,
    config: AsyncConnectionConfig,
}

enum End {
    Single(Box<Client>),
    /// Looked up for each connection: the master may have changed.
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// A connection. Clones share it, and their commands are pipelined.
#[derive(Clone)]
pub(super) enum Live {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The address of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master(String);

impl Master {
    fn of(client: &Client) -> Self {
        Self(client.get_connection_info().addr().to_string())
    }
}

impl Target {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, TargetError> {
        let certificates = certificates(settings)?;
        let nodes: Vec<ConnectionInfo> = settings.nodes.iter().map(|node| with_credentials(node, settings)).collect();
        let end = match &settings.topology {
            Topology::Single => End::Single(Box::new(single(nodes, certificates)?)),
            Topology::Sentinel { master } => End::Sentinel(Box::new(Mutex::new(sentinel(settings, nodes, master, certificates)?))),
            Topology::Cluster => End::Cluster(Box::new(cluster(settings, nodes, certificates)?)),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        Ok(Self { end, config })
    }

    pub(super) async fn connect(&self) -> RedisResult<(Live, Option<Master>)> {
        let live = match &self.end {
            End::Single(client) => client.get_multiplexed_async_connection_with_config(&self.config).await.map(Live::Single),
            End::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                let live = client.get_multiplexed_async_connection_with_config(&self.config).await.map(Live::Single)?;
                return Ok((live, Some(Master::of(&client))));
            }
            End::Cluster(client) => client.get_async_connection().await.map(Live::Cluster),
        }?;
        Ok((live, None))
    }

    /// The master that the Sentinels currently name; `None` without Sentinels, or if none responds.
    pub(super) async fn master(&self) -> Option<Master> {
        let End::Sentinel(sentinels) = &self.end else { return None };
        let client = sentinels.lock().await.async_get_client().await.ok()?;
        Some(Master::of(&client))
    }

    /// Whether keys of different servers may be on different nodes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.end, End::Cluster(_))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Live {
    /// Sends a command once and waits for its response. A cluster's redirects are followed: a node that redirects has not run the command.
    pub(super) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command).await.and_then(Value::extract_error),
            Self::Cluster(connection) => query_cluster(connection, command).await,
        }
    }

    /// Sends a command that names no key; in a cluster, to the node that is believed to have this key.
    pub(super) async fn query_where(&mut self, key: &str, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command).await.and_then(Value::extract_error),
            Self::Cluster(connection) => {
                let node = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_command(command.clone(), RoutingInfo::SingleNode(node)).await.and_then(Value::extract_error)
            }
        }
    }
}

async fn query_cluster(connection: &mut ClusterConnection, command: &Cmd) -> RedisResult<Value> {
    let mut answer = connection.req_packed_command(command).await.and_then(Value::extract_error);
    for redirect in 0..MOST_REDIRECTS {
        let Err(error) = &answer else { break };
        if redirect > 0 {
            // Two nodes that redirect to each other have yet to agree.
            tokio::time::sleep(BETWEEN_REDIRECTS).await;
        }
        answer = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Ask) => ask(connection, command, error).await,
            // The library refreshes the slots before it sends anything else.
            ErrorKind::Server(ServerErrorKind::Moved) => connection.req_packed_command(command).await,
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => connection.req_packed_command(command).await,
            _ => break,
        }
        .and_then(Value::extract_error);
    }
    answer
}

/// Follows an `ASK`: the slot is being migrated to another node, which has these keys already.
async fn ask(connection: &mut ClusterConnection, command: &Cmd, error: &RedisError) -> RedisResult<Value> {
    let node = error.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
    let Some((host, port)) = node.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))) else {
        return Err(error.clone());
    };
    let mut asking = redis::pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let mut answers = connection.route_pipeline(asking, 0, 2, SingleNodeRoutingInfo::ByAddress { host, port }).await?;
    answers.pop().ok_or_else(|| error.clone())
}

/// Why the settings are invalid.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error(transparent)]
    Settings(#[from] RedisSettingsError),
    #[error(transparent)]
    Library(#[from] RedisError),
}

fn with_credentials(node: &ConnectionInfo, settings: &RedisSettings) -> ConnectionInfo {
    let mut redis = node.redis_settings().clone();
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password);
    }
    node.clone().set_redis_settings(redis)
}

fn certificates(settings: &RedisSettings) -> Result<Option<TlsCertificates>, RedisSettingsError> {
    if settings.ca_pem.is_none() && settings.identity_pem.is_none() {
        return Ok(None);
    }
    if !settings.tls() {
        return Err(match settings.topology {
            Topology::Single => RedisSettingsError::NotTls("rediss", "redis"),
            Topology::Sentinel { .. } => RedisSettingsError::NotTls("rediss-sentinel", "redis-sentinel"),
            Topology::Cluster => RedisSettingsError::NotTls("rediss-cluster", "redis-cluster"),
        });
    }
    let identity = settings.identity_pem.clone();
    let client_tls = identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    Ok(Some(TlsCertificates { client_tls, root_cert: settings.ca_pem.clone() }))
}

fn single(nodes: Vec<ConnectionInfo>, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let node = nodes.into_iter().next().ok_or((ErrorKind::InvalidClientConfig, "no address"))?;
    match certificates {
        Some(certificates) => Client::build_with_tls(node, certificates),
        None => Client::open(node),
    }
}

fn cluster(settings: &RedisSettings, nodes: Vec<ConnectionInfo>, certificates: Option<TlsCertificates>) -> RedisResult<ClusterClient> {
    let builder = ClusterClient::builder(nodes)
        // No retries: a script that may have run is never sent again. Redirects are followed above.
        .retries(0)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    match certificates {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    }
    .build()
}

fn sentinel(
    settings: &RedisSettings,
    nodes: Vec<ConnectionInfo>,
    master: &str,
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let redis = nodes.first().map(|node| node.redis_settings().clone()).unwrap_or_default();
    let addresses: Vec<ConnectionAddr> = nodes.into_iter().map(|node| node.addr().clone()).collect();
    let tcp = || redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(redis.db())
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    if let Some(username) = redis.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = redis.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if settings.tls() {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder.set_client_to_redis_certificates(certificates.clone()).set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}
