//! A master, its replica, and the Sentinels that watch them.

use std::collections::HashMap;

use super::server::{Brand, Server, Setup};
use crate::support::time::eventually;

/// By which Sentinels know the master.
const MASTER_NAME: &str = "buckets";

/// The Sentinels agree on a master's end after a second of silence, so that a busy machine has none.
pub struct Watched {
    brand: Brand,
    pub master: Server,
    pub replica: Server,
    pub sentinels: Vec<Server>,
}

impl Watched {
    /// Starts them, and waits until all know all others.
    pub async fn start_of(brand: Brand, sentinels: usize) -> Self {
        let master = brand.start().await;
        let replica = brand.setup().line(&format!("replicaof 127.0.0.1 {}", master.port())).start().await;
        replica.wait_for_info("replication", "master_link_status", "up").await;
        let mut watched = Self { brand, master, replica, sentinels: Vec::new() };
        for _ in 0..sentinels {
            let sentinel = watched.sentinel_of(sentinels).start().await;
            watched.sentinels.push(sentinel);
        }
        for sentinel in &watched.sentinels {
            eventually("Sentinels that know each other", async || {
                let state = state(sentinel).await;
                state["num-slaves"] == "1" && state["num-other-sentinels"] == (sentinels - 1).to_string()
            })
            .await;
        }
        watched
    }

    /// Where the Sentinels are, as an URL says it.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        format!("redis-sentinel://{}/{MASTER_NAME}", addresses.join(","))
    }

    fn sentinel_of(&self, all: usize) -> Setup {
        let quorum = all / 2 + 1;
        self.brand
            .sentinel()
            .line(&format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {} {quorum}", self.master.port()))
            .line(&format!("sentinel down-after-milliseconds {MASTER_NAME} 1000"))
            .line(&format!("sentinel failover-timeout {MASTER_NAME} 3000"))
    }

    /// Has the Sentinels exchange master and replica, both of which live on.
    pub async fn fail_over(&self) {
        // Refused until the Sentinel has heard from the replica lately.
        let failover = format!("SENTINEL FAILOVER {MASTER_NAME}");
        eventually("a failover", async || self.sentinels[0].try_ask::<()>(&failover).await.is_ok()).await;
    }

    /// Waits until the replica is the master, by its own word and by every Sentinel's.
    pub async fn wait_for_promotion(&self) {
        self.replica.wait_for_info("replication", "role", "master").await;
        for sentinel in &self.sentinels {
            eventually("Sentinels that know the new master", async || state(sentinel).await["port"] == self.replica.port().to_string())
                .await;
        }
    }
}

/// What a Sentinel knows of the master. It names a new one here a little later than to who asks for its address alone, and clients ask
/// for either.
async fn state(sentinel: &Server) -> HashMap<String, String> {
    sentinel.ask(&format!("SENTINEL MASTER {MASTER_NAME}")).await
}
