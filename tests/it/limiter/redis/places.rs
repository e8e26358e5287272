//! Where the store in Redis is tried: each a set of servers, started once and shared by tests that have MCP servers of their own.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::OnceCell;
use tollgate::{
    limiter::ServerId,
    stores::{Redis, redis::Settings},
};

use crate::{
    limiter::conformance::{Bench, conformance},
    support::{
        find::rare_neighbour,
        redis::{Cluster, Server, Setup, Tls, Watched},
    },
};

/// A set of servers, and how to reach it.
pub trait Place: 'static {
    async fn settings() -> Settings;
}

/// A store of a test's own at a place.
pub struct At<P> {
    store: Arc<Redis>,
    server_id: ServerId,
    place: PhantomData<P>,
}

/// One server.
pub struct Alone;
/// The same, and every denial is Redis' own.
pub struct AlwaysAsked;
/// TLS on both sides, and an ACL user who may do what the manual says, no more.
pub struct Secured;
/// The former replica of a master that has died, found through Sentinel.
pub struct Promoted;
/// Three masters.
pub struct Clustered;
/// A Valkey, where there is one.
pub struct OnValkey;

impl Alone {
    pub async fn server() -> &'static Server {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        SERVER.get_or_init(Server::start).await
    }
}

impl Place for Alone {
    async fn settings() -> Settings {
        at(&Self::server().await.url())
    }
}

impl Place for AlwaysAsked {
    async fn settings() -> Settings {
        Alone::settings().await.remember_denials(false)
    }
}

impl Place for Secured {
    async fn settings() -> Settings {
        static SERVER: OnceCell<(Server, Arc<Tls>)> = OnceCell::const_new();
        let start = async || {
            let tls = Tls::new();
            let user = "user tollgate on >p%40ss~word ~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping";
            (Setup::default().password("administrator").line(user).tls(tls.clone()).start().await, tls)
        };
        let (server, tls) = SERVER.get_or_init(start).await;
        let settings = at(&server.url());
        settings
            .username("tollgate")
            .password("p%40ss~word")
            .ca_pem(tls.ca_pem.clone())
            .identity_pem(tls.client.0.clone(), tls.client.1.clone())
    }
}

impl Place for Promoted {
    async fn settings() -> Settings {
        static WATCHED: OnceCell<Watched> = OnceCell::const_new();
        let fail_over = async || {
            let watched = Watched::start(1).await;
            watched.master.kill();
            watched.wait_for_promotion().await;
            watched
        };
        at(&WATCHED.get_or_init(fail_over).await.url())
    }
}

impl Place for Clustered {
    async fn settings() -> Settings {
        static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
        at(&CLUSTER.get_or_init(Cluster::start).await.url())
    }
}

impl Place for OnValkey {
    async fn settings() -> Settings {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let program = rare_neighbour("valkey-server").expect("the caller has looked");
        at(&SERVER.get_or_init(|| Setup::default().program(program).start()).await.url())
    }
}

pub fn at(url: &str) -> Settings {
    Settings::parse(url).expect("a good URL")
}

/// A server that no other test of this process asks about.
pub fn server_id() -> ServerId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    ServerId::new("ns", format!("mcp-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

impl<P: Place> Bench for At<P> {
    type Store = Redis;

    /// A machine that tests may be as busy as this.
    const LAG: Duration = Duration::from_secs(10);

    async fn start() -> Self {
        let store = Redis::new(&P::settings().await).expect("good settings");
        Self { store: Arc::new(store), server_id: server_id(), place: PhantomData }
    }

    fn store(&self) -> Arc<Redis> {
        Arc::clone(&self.store)
    }

    fn server_id(&self) -> ServerId {
        self.server_id.clone()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

mod alone {
    super::conformance!(super::At<super::Alone>);
}

mod always_asked {
    super::conformance!(super::At<super::AlwaysAsked>);
}

mod secured {
    super::conformance!(super::At<super::Secured>);
}

mod promoted {
    super::conformance!(super::At<super::Promoted>);
}

mod clustered {
    super::conformance!(super::At<super::Clustered>);
}

#[tokio::test]
async fn valkey_passes_as_well() {
    if rare_neighbour("valkey-server").is_some() {
        conformance!(in one future, At<OnValkey>).await;
    }
}
