//! Where the store in Redis is tried: each a set of servers of either brand, started once and shared by tests that have MCP servers of their
//! own.

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
    stores::{Redis, redis::RedisSettings},
};

use crate::{
    limiter::conformance::{Bench, conformance},
    support::redis::{Brand, Cluster, Server, Tls, Watched},
};

/// A set of servers, and how to reach it.
pub trait Place: 'static {
    async fn settings(brand: Brand) -> RedisSettings;
}

/// A brand as a type.
pub trait Branded: 'static {
    const BRAND: Brand;
}

pub struct OfRedis;
pub struct OfValkey;

/// A store of a test's own at a place.
pub struct At<P, B> {
    store: Arc<Redis>,
    server_id: ServerId,
    place: PhantomData<(P, B)>,
}

/// One server.
pub struct Alone;
/// The same, and every denial is Redis' own.
pub struct AlwaysAsked;
/// TLS on both sides where the brand has it, and an ACL user who may do what the manual says, no more.
pub struct Secured;
/// The former replica of a master that has died, found through Sentinel.
pub struct Promoted;
/// Three masters.
pub struct Clustered;

/// One for each brand, made when it is first needed.
struct Each<T>([OnceCell<T>; 2]);

impl Branded for OfRedis {
    const BRAND: Brand = Brand::Redis;
}

impl Branded for OfValkey {
    const BRAND: Brand = Brand::Valkey;
}

impl<T> Each<T> {
    const fn new() -> Self {
        Self([OnceCell::const_new(), OnceCell::const_new()])
    }

    async fn of(&self, brand: Brand, make: impl AsyncFnOnce() -> T) -> &T {
        self.0[brand as usize].get_or_init(|| make()).await
    }
}

impl Alone {
    pub async fn server(brand: Brand) -> &'static Server {
        static SERVERS: Each<Server> = Each::new();
        SERVERS.of(brand, async || brand.start().await).await
    }
}

impl Place for Alone {
    async fn settings(brand: Brand) -> RedisSettings {
        at(&Self::server(brand).await.url())
    }
}

impl Place for AlwaysAsked {
    async fn settings(brand: Brand) -> RedisSettings {
        Alone::settings(brand).await.remember_denials(false)
    }
}

impl Place for Secured {
    async fn settings(brand: Brand) -> RedisSettings {
        static SERVERS: Each<(Server, Option<Arc<Tls>>)> = Each::new();
        let start = async || {
            let user = "user tollgate on >p%40ss~word ~thv:rl:* +evalsha +eval +time +hmget +hset +expire +ping";
            let setup = brand.setup().password("administrator").line(user);
            let tls = brand.has_tls().then(Tls::new);
            let setup = tls.iter().fold(setup, |setup, tls| setup.tls(tls.clone()));
            (setup.start().await, tls)
        };
        let (server, tls) = SERVERS.of(brand, start).await;
        let settings = at(&server.url()).username("tollgate").password("p%40ss~word");
        match tls {
            Some(tls) => settings.ca_pem(tls.ca_pem.clone()).identity_pem(tls.client.0.clone(), tls.client.1.clone()),
            None => settings,
        }
    }
}

impl Place for Promoted {
    async fn settings(brand: Brand) -> RedisSettings {
        static WATCHED: Each<Watched> = Each::new();
        let fail_over = async || {
            let watched = Watched::start_of(brand, 1).await;
            watched.master.kill();
            watched.wait_for_promotion().await;
            watched
        };
        at(&WATCHED.of(brand, fail_over).await.url())
    }
}

impl Place for Clustered {
    async fn settings(brand: Brand) -> RedisSettings {
        static CLUSTERS: Each<Cluster> = Each::new();
        at(&CLUSTERS.of(brand, async || Cluster::start_of(brand).await).await.url())
    }
}

pub fn at(url: &str) -> RedisSettings {
    RedisSettings::parse(url).expect("a good URL")
}

/// A server that no other test of this process asks about.
pub fn server_id() -> ServerId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    ServerId::new("ns", format!("mcp-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

impl<P: Place, B: Branded> Bench for At<P, B> {
    type Store = Redis;

    /// A machine that tests may be as busy as this.
    const LAG: Duration = Duration::from_secs(10);

    async fn start() -> Self {
        let store = Redis::new(&P::settings(B::BRAND).await).expect("good settings");
        Self { store: Arc::new(store), server_id: server_id(), place: PhantomData }
    }

    fn store(&self) -> Arc<Redis> {
        Arc::clone(&self.store)
    }

    fn server_id(&self) -> ServerId {
        self.server_id.clone()
    }

    async fn pass(&self, time: Duration) {
        // Redis has a clock of its own, which no test moves.
        tokio::time::sleep(time).await;
    }
}

/// Stamps the suite over every place of a brand.
macro_rules! places {
    ($($brand:ident: $of:ident,)+) => {
        $(mod $brand {
            places!(@each $of: alone Alone, always_asked AlwaysAsked, secured Secured, promoted Promoted, clustered Clustered,);
        })+
    };
    (@each $of:ident: $($name:ident $place:ident,)+) => {
        $(mod $name {
            use super::super::{At, $of, $place};

            super::super::conformance!(At<$place, $of>);
        })+
    };
}

places! {
    on_redis: OfRedis,
    on_valkey: OfValkey,
}
