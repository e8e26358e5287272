//! What happens when a configuration changes: servers come, change and go, one by one, while the others are decided as before.
//!
//! A server whose limits changed keeps its buckets and callers. One whose storage or authentication changed is made anew. Servers that name the
//! same storage share connections, and those that authenticate callers alike share keys. What cannot be used leaves in force what was.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
};

use super::{Shared, servers::Server};
use crate::{
    gate::{
        Gate,
        callers::Callers,
        follow::{self, runs_as},
    },
    limiter::ServerId,
    manifest::server::{LimitedServer, LimitedServerError},
    stores::Buckets,
};

/// Where the calls of servers are counted, and how their callers are authenticated.
pub trait Outfit: Send + Sync + 'static {
    /// Why counting or authentication cannot be set up.
    type Error: std::fmt::Display;

    /// Where calls are counted.
    fn buckets(&self, source: &LimitedServer) -> impl Future<Output = Result<Buckets, Self::Error>> + Send;

    /// How callers are authenticated.
    ///
    /// # Errors
    /// When the settings cannot work.
    fn callers(&self, source: &LimitedServer) -> Result<Callers, Self::Error>;
}

/// Part of a configuration: a file, or an object in a cluster.
#[derive(Debug)]
pub struct Unit {
    /// As logs name it.
    pub label: String,
    /// The servers in it.
    pub servers: Result<Vec<LimitedServer>, LimitedServerError>,
}

/// The servers of a running service, and the means to replace them.
#[derive(Debug)]
pub struct InForce<O> {
    shared: Arc<Shared>,
    outfit: O,
    units: BTreeMap<String, Known>,
}

/// What is in force of a unit.
#[derive(Debug, Default)]
struct Known {
    servers: Vec<One>,
    /// What was read last, if it could not be used.
    refused: Option<String>,
}

#[derive(Debug)]
struct One {
    source: LimitedServer,
    server: Server,
    in_force: follow::InForce,
}

impl<O: Outfit> InForce<O> {
    pub(super) fn new(shared: Arc<Shared>, outfit: O) -> Self {
        Self { shared, outfit, units: BTreeMap::new() }
    }

    /// Applies a whole configuration. What is wrong with it is logged once, and leaves in force what was.
    pub async fn read_again(&mut self, configuration: Vec<Unit>) {
        let mut before = std::mem::take(&mut self.units);
        let mut taken = HashMap::new();
        for Unit { label, servers } in configuration {
            let mut known = before.remove(&label).unwrap_or_default();
            match servers {
                Ok(servers) => known = self.take(&label, known, servers, &mut taken, &before).await,
                Err(error) => {
                    taken.extend(known.servers.iter().map(|one| (one.source.server.clone(), label.clone())));
                    known.refuse(&label, error.to_string());
                }
            }
            self.units.insert(label, known);
        }
        for (label, known) in before.iter().filter(|(_, known)| !known.servers.is_empty()) {
            let servers: Vec<_> = known.servers.iter().map(|one| one.source.server.to_string()).collect();
            tracing::info!(from = label, servers = servers.join(", "), "no longer in the configuration: its servers are unknown now");
        }
        self.shared.servers.set(self.units.values().flat_map(|known| &known.servers).map(|one| one.server.clone()));
        self.shared.forget_removed();
    }

    /// Why the last configuration could not be used as a whole, if so.
    pub fn refused(&self) -> Option<String> {
        let refused = self.units.iter().find_map(|(label, known)| Some((label, known.refused.as_ref()?)));
        refused.map(|(label, why)| format!("{label}: {why}"))
    }

    /// How many servers are in force.
    pub fn len(&self) -> usize {
        self.units.values().map(|known| known.servers.len()).sum()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The servers of a unit, as they are now.
    async fn take(
        &self,
        label: &str,
        known: Known,
        servers: Vec<LimitedServer>,
        taken: &mut HashMap<ServerId, String>,
        rest: &BTreeMap<String, Known>,
    ) -> Known {
        let mut now = Known { servers: Vec::new(), refused: known.refused.clone() };
        let mut faults = Vec::new();
        let mut olds = known.servers;
        for source in servers {
            let id = source.server.clone();
            if let Some(other) = taken.insert(id.clone(), label.to_owned()) {
                faults.push(format!("{id} is in {other} as well"));
                continue;
            }
            if [&id.namespace, &id.name].into_iter().any(|part| part.contains('/')) {
                faults.push(format!("{id} cannot be named by a route: its name has a slash"));
                continue;
            }
            let old = olds.iter().position(|one| one.source.server == id).map(|at| olds.swap_remove(at));
            match old {
                Some(mut one) if runs_as(&source, &one.source) => {
                    one.in_force.read_again(&label, Ok(source.clone()));
                    one.source = source;
                    now.servers.push(one);
                }
                old => {
                    let units = self.units.values().chain(rest.values()).flat_map(|known| &known.servers);
                    let others: Vec<_> = olds.iter().chain(&now.servers).chain(units).chain(&old).collect();
                    match self.made(&source, &others).await {
                        Ok(one) => now.servers.push(one),
                        Err(error) => {
                            now.servers.extend(old);
                            faults.push(format!("{}: {error:#}", source.server));
                        }
                    }
                }
            }
        }
        match faults.is_empty() {
            true => now.refused = None,
            false => now.refuse(label, faults.join("; ")),
        }
        now
    }

    /// A server made anew, with what it shares with others.
    async fn made(&self, source: &LimitedServer, others: &[&One]) -> Result<One, O::Error> {
        let buckets = match others.iter().find(|one| one.source.storage == source.storage) {
            Some(alike) => Arc::clone(alike.server.gate.buckets()),
            None => Arc::new(self.outfit.buckets(source).await?),
        };
        let callers = match others.iter().find(|one| one.source.sign_in == source.sign_in) {
            Some(alike) => alike.server.gate.callers().clone(),
            None => self.outfit.callers(source)?,
        };
        for warning in &source.warnings {
            tracing::warn!("{warning}");
        }
        let (observer, metrics) = (Arc::clone(&self.shared.observer), Arc::clone(&self.shared.metrics));
        let gate = Arc::new(Gate::new(source, buckets, observer, callers, metrics, self.shared.settings.gate));
        tracing::info!(
            namespace = source.server.namespace,
            server = source.server.name,
            tools = source.limits.tools.len(),
            "limits in force"
        );
        let server = Server { id: Arc::new(source.server.clone()), gate: Arc::clone(&gate) };
        Ok(One { source: source.clone(), server, in_force: follow::InForce::new(gate, source.clone()) })
    }
}

impl Known {
    fn refuse(&mut self, label: &str, why: String) {
        if self.refused.as_ref() != Some(&why) {
            tracing::warn!(from = label, error = why, "configuration cannot be used as a whole; keeping what is in force of it");
        }
        self.refused = Some(why);
    }
}
