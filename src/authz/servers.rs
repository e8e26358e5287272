//! The servers whose calls are decided, by the names that Envoy's routes give them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus_client::metrics::counter::Counter;

use crate::{gate::Gate, limiter::ServerId};

/// How many unknown names are remembered, in order to log each once.
const MOST_UNKNOWN: usize = 100;
/// The maximum length of a logged name; whoever configures Envoy chooses it freely.
const LONGEST_NAME: usize = 200;

/// What happens to requests for a server that is not known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OnUnknownServer {
    /// They get HTTP 503.
    #[default]
    Deny,
    /// They pass without limits.
    Allow,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub id: Arc<ServerId>,
    /// Its limits.
    pub gate: Arc<Gate>,
}

/// All servers; replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Servers {
    by_name: ArcSwap<HashMap<Box<str>, Server, RandomState>>,
    pub(super) unknown: Counter,
    logged: Mutex<HashSet<Box<str>>>,
}

impl Servers {
    /// The server of a route; the only one, where the route names none.
    pub(super) fn find(&self, name: Option<&[u8]>) -> Option<Server> {
        let servers = self.by_name.load();
        let found = match name {
            Some(name) => str::from_utf8(name).ok().and_then(|name| servers.get(name)),
            None => servers.values().next().filter(|_| servers.len() == 1),
        };
        if found.is_none() {
            self.miss(name);
        }
        found.cloned()
    }

    /// Counts a request for an unknown server, and logs the first for each name.
    fn miss(&self, name: Option<&[u8]>) {
        self.unknown.inc();
        let name = name
            .map_or("none".into(), |name| format!("{:?}", String::from_utf8_lossy(name).chars().take(LONGEST_NAME).collect::<String>()));
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MOST_UNKNOWN && logged.insert(name.as_str().into()) {
            let known = self.by_name.load().len();
            tracing::warn!(
                name,
                known,
                "a route of Envoy's names a server that is not known here, in context_extensions[\"tollgate.dev/server\"]"
            );
        }
    }

    pub(super) fn all(&self) -> Vec<Server> {
        self.by_name.load().values().cloned().collect()
    }

    /// Replaces them.
    pub(super) fn set(&self, servers: impl IntoIterator<Item = Server>) {
        let named = servers.into_iter().map(|server| (server.id.to_string().into(), server));
        self.by_name.store(Arc::new(named.collect()));
    }
}
