//! A cluster of three masters.

use super::server::{Brand, Server};
use crate::support::port::free_port_for_cluster;
use crate::support::time::eventually;

/// Hash slots of any cluster.
const SLOTS: u16 = 16_384;

/// Three masters with a third of the slots each.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts it, and waits until every node knows the whole of it.
    pub async fn start_of(brand: Brand) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let setup = brand.setup().port(free_port_for_cluster());
            nodes.push(setup.line("cluster-enabled yes").line("cluster-node-timeout 2000").start().await);
        }
        let cluster = Self { nodes };
        cluster.join().await;
        cluster
    }

    /// Its nodes, as an URL says it.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    async fn join(&self) {
        let share = SLOTS.div_ceil(u16::try_from(self.nodes.len()).expect("a few"));
        for (index, (node, first)) in std::iter::zip(&self.nodes, (0..SLOTS).step_by(share.into())).enumerate() {
            // Ranges have a command only since 7.0.
            let slots: Vec<_> = (first..SLOTS.min(first + share)).map(|slot| slot.to_string()).collect();
            node.ask::<()>(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
        }
        for node in &self.nodes[1..] {
            node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port())).await;
        }
        let count = self.nodes.len().to_string();
        for node in &self.nodes {
            eventually("a whole cluster", async || {
                let info: String = node.ask("CLUSTER INFO").await;
                let has = |line: String| info.lines().any(|other| other == line);
                has("cluster_state:ok".to_owned()) && has(format!("cluster_known_nodes:{count}")) && has(format!("cluster_size:{count}"))
            })
            .await;
        }
    }

    /// Hands the slot of a key over to the next node, as when a cluster is balanced anew. Clients learn it by redirections. Tells which
    /// node has it now.
    pub async fn move_slot_of(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        let owner = self.owner_of(slot).await;
        let next = (owner + 1) % self.nodes.len();
        let (from, to) = (&self.nodes[owner], &self.nodes[next]);
        let (from_id, to_id): (String, String) = (from.ask("CLUSTER MYID").await, to.ask("CLUSTER MYID").await);
        to.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
        from.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
        let keys: Vec<String> = from.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1000")).await;
        for key in keys {
            from.ask::<()>(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port())).await;
        }
        for node in [to, from] {
            node.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}")).await;
        }
        next
    }

    /// The same as Valkey 9 does it by itself: keys are copied while they change, then the slot changes hands at once.
    pub async fn migrate_slot_of(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        let owner = self.owner_of(slot).await;
        let next = (owner + 1) % self.nodes.len();
        let to_id: String = self.nodes[next].ask("CLUSTER MYID").await;
        self.nodes[owner].ask::<()>(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {to_id}")).await;
        eventually("a migrated slot", async || self.nodes[next].try_ask::<u32>(&format!("EXISTS {key}")).await.is_ok()).await;
        next
    }

    async fn owner_of(&self, slot: u16) -> usize {
        for (index, node) in self.nodes.iter().enumerate() {
            let nodes: String = node.ask("CLUSTER NODES").await;
            let ranges = nodes.lines().find(|line| line.contains("myself")).expect("it knows itself").split(' ').skip(8);
            let mut ranges = ranges.filter(|range| !range.starts_with('[')).map(|range| range.split_once('-').unwrap_or((range, range)));
            let number = |text: &str| text.parse::<u16>().expect("a slot");
            if ranges.any(|(first, last)| (number(first)..=number(last)).contains(&slot)) {
                return index;
            }
        }
        panic!("nobody has slot {slot}")
    }
}
