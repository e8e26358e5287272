//! The limits of one server, prepared for decisions: what each bucket counts, its key, its shape, and whether it may deny.

use std::{collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;

use super::{key::ServerId, shape::Shape};
use crate::model::{
    bucket::Bucket,
    limits::{Limits, ToolLimits},
};

/// Whether a limit counts all callers together or each one separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All callers together.
    Global,
    /// Each caller separately.
    PerUser,
}

/// A limit as a manifest names it: `global`, `perUser`, or either inside an entry of `tools`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Who shares it.
    pub scope: Scope,
    /// The tool whose calls it counts; all calls of the server when `None`.
    pub tool: Option<Arc<str>>,
}

/// The limits of one server. Cheap to query, rebuilt when the limits change; the state of buckets is in a store.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) server_id: ServerId,
    pub(crate) server: Counters,
    pub(crate) tools: HashMap<Arc<str>, Counters, RandomState>,
}

/// The two limits of one level: the server's, or a tool's.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub(crate) global: Option<Counter>,
    pub(crate) per_user: Option<Counter>,
}

/// One limit: a bucket, or one for each user.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) limit: Limit,
    /// The bucket's key; with [`Scope::PerUser`], everything except the user.
    pub(crate) key: String,
    pub(crate) shape: Shape,
    pub(crate) enforced: bool,
}

impl Scope {
    /// The name used in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::PerUser => "perUser",
        }
    }
}

impl Limit {
    /// The `limitType` of an MCP error: `global` or `perUser`, to which [`Limit::tool`] adds the tool.
    pub fn limit_type(&self) -> &'static str {
        self.scope.name()
    }

    /// The limit in ToolHive's metrics and traces: its `scope`, `shared` or `per_user`, and its `operation_type`, `server` or `tool`.
    pub fn labels(&self) -> (&'static str, &'static str) {
        let scope = match self.scope {
            Scope::Global => "shared",
            Scope::PerUser => "per_user",
        };
        (scope, if self.tool.is_some() { "tool" } else { "server" })
    }
}

/// The path below `rateLimiting`, with tools by name: `perUser`, `tools[search].global`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tool {
            Some(tool) => write!(f, "tools[{tool}].{}", self.scope.name()),
            None => f.write_str(self.scope.name()),
        }
    }
}

impl Policy {
    /// Builds the limits of a server, all enforced.
    pub fn new(server: &ServerId, limits: &Limits) -> Self {
        let level = limits.own();
        let tools = limits.tools.iter().map(|(name, level)| {
            let name: Arc<str> = name.as_str().into();
            (Arc::clone(&name), Counters::of(level, Some(name), server))
        });
        Self { server_id: server.clone(), server: Counters::of(&level, None, server), tools: tools.collect() }
    }

    /// The server that the limits belong to.
    pub fn server_id(&self) -> &ServerId {
        &self.server_id
    }

    /// Its limits: the server's, then those of each tool by name.
    pub fn limits(&self) -> Vec<Limit> {
        let mut tools: Vec<_> = self.tools.iter().collect();
        tools.sort_unstable_by_key(|(name, _)| Arc::clone(name));
        let levels = std::iter::once(&self.server).chain(tools.into_iter().map(|(_, level)| level));
        levels.flat_map(|level| level.global.iter().chain(&level.per_user)).map(|counter| counter.limit.clone()).collect()
    }

    /// The same limits, with the selected ones in shadow: they decide and take tokens, but deny nothing. `|_| true` puts all in shadow.
    #[must_use]
    pub fn shadow(mut self, chosen: impl Fn(&Limit) -> bool) -> Self {
        let levels = std::iter::once(&mut self.server).chain(self.tools.values_mut());
        for counter in levels.flat_map(|level| level.global.iter_mut().chain(&mut level.per_user)) {
            counter.enforced = counter.enforced && !chosen(&counter.limit);
        }
        self
    }
}

impl Counters {
    fn of(level: &ToolLimits, tool: Option<Arc<str>>, server: &ServerId) -> Self {
        let counter = |scope, bucket: Option<Bucket>, key: String| {
            let limit = Limit { scope, tool: tool.clone() };
            bucket.map(|bucket| Counter { limit, key, shape: Shape::from(&bucket), enforced: true })
        };
        let (global_key, user_prefix) = match &tool {
            None => (server.global_key(), server.user_prefix()),
            Some(tool) => (server.tool_key(tool), server.user_tool_prefix(tool)),
        };
        Self { global: counter(Scope::Global, level.global, global_key), per_user: counter(Scope::PerUser, level.per_user, user_prefix) }
    }
}
