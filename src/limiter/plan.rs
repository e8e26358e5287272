//! Which buckets a call draws on, and how many tokens it takes: global, tool, user, user and tool, in this order, as far as those limits
//! exist.
//!
//! A call without a user draws only on the buckets that all callers share, and the plan reports that it skipped the others. A batch is one
//! plan: each bucket appears once, with the number of its calls as the cost.

use std::{borrow::Cow, collections::BTreeMap, num::NonZeroU32};

use smallvec::SmallVec;

use super::{
    key::{KeyParts, ServerId, user_part},
    policy::{Counter, Counters, Limit, Policy, Scope},
    shape::Shape,
};

/// One `tools/call` by one caller, or several that are decided together: all are allowed, or none.
///
/// ```
/// use tollgate::limiter::Call;
///
/// let one = Call::of("search").by("alice");
/// let several = Call::batch(&["search", "fetch", "search"]).by("alice");
/// assert_eq!((one.tools(), several.tools()), (["search"].as_slice(), ["search", "fetch", "search"].as_slice()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    tools: Tools<'a>,
    pub(crate) user: Option<&'a str>,
    cost: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tools<'a> {
    One(&'a str),
    Batch(&'a [&'a str]),
}

/// The buckets of one decision, each once.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    server: &'a ServerId,
    /// The user's part of keys; empty for an anonymous caller.
    user: Cow<'a, str>,
    draws: SmallVec<[(&'a Counter, NonZeroU32); 4]>,
    skips_users: bool,
}

/// A bucket of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    counter: &'a Counter,
    user: &'a str,
    cost: NonZeroU32,
}

impl<'a> Call<'a> {
    /// A call of a tool by an anonymous caller, at a cost of one token.
    pub fn of(tool: &'a str) -> Self {
        Self { tools: Tools::One(tool), user: None, cost: NonZeroU32::MIN }
    }

    /// Several calls by one anonymous caller, at a cost of one token each. A tool may be called more than once. An empty batch is allowed.
    pub fn batch(tools: &'a [&'a str]) -> Self {
        Self { tools: Tools::Batch(tools), user: None, cost: NonZeroU32::MIN }
    }

    /// The same by a verified user. An empty name is an anonymous caller, as in ToolHive.
    #[must_use]
    pub fn by(self, user: &'a str) -> Self {
        self.by_known(Some(user))
    }

    /// The same by a user who may be anonymous.
    #[must_use]
    pub fn by_known(self, user: Option<&'a str>) -> Self {
        Self { user: user.filter(|user| !user.is_empty()), ..self }
    }

    /// The same at another cost, in tokens per call.
    #[must_use]
    pub fn costing(self, cost: NonZeroU32) -> Self {
        Self { cost, ..self }
    }

    /// The tools that are called.
    pub fn tools(&self) -> &[&'a str] {
        match &self.tools {
            Tools::One(tool) => std::slice::from_ref(tool),
            Tools::Batch(tools) => tools,
        }
    }
}

impl<'a> Draw<'a> {
    /// The bucket's key, as in Redis.
    pub fn key(&self) -> Cow<'a, str> {
        self.parts().joined()
    }

    /// The bucket's key without joining it, which would cost an allocation.
    pub(crate) fn parts(&self) -> KeyParts<'a> {
        KeyParts { front: &self.counter.key, user: if self.limit().scope == Scope::PerUser { self.user } else { "" } }
    }

    /// What the bucket counts.
    pub fn limit(&self) -> &'a Limit {
        &self.counter.limit
    }

    /// The bucket's capacity and rate.
    pub fn shape(&self) -> Shape {
        self.counter.shape
    }

    /// Tokens to take.
    pub fn cost(&self) -> NonZeroU32 {
        self.cost
    }

    /// Whether the bucket may deny; in shadow it only reports.
    pub fn enforced(&self) -> bool {
        self.counter.enforced
    }
}

impl<'a> Plan<'a> {
    /// The server that is called.
    pub fn server(&self) -> &'a ServerId {
        self.server
    }

    /// The buckets, in the order in which a verdict indexes them.
    pub fn draws(&self) -> impl ExactSizeIterator<Item = Draw<'_>> {
        self.draws.iter().map(|&(counter, cost)| Draw { counter, user: &self.user, cost })
    }

    /// Whether per-user limits were skipped, because the caller is not authenticated.
    pub fn skips_users(&self) -> bool {
        self.skips_users
    }
}

impl Policy {
    /// The buckets that a call draws on; none without a call.
    pub fn plan<'a>(&'a self, call: &Call<'a>) -> Plan<'a> {
        match call.tools {
            Tools::One(tool) => match self.tools.get(tool) {
                Some(tool) => self.plan_levels(&[(&self.server, call.cost), (tool, call.cost)], call.user),
                None => self.plan_levels(&[(&self.server, call.cost)], call.user),
            },
            Tools::Batch(tools) => self.plan_batch(tools, call),
        }
    }

    fn plan_batch<'a>(&'a self, tools: &[&str], call: &Call<'a>) -> Plan<'a> {
        let count = NonZeroU32::new(u32::try_from(tools.len()).unwrap_or(u32::MAX));
        let mut calls: BTreeMap<&str, (&Counters, NonZeroU32)> = BTreeMap::new();
        for tool in tools {
            if let Some((name, level)) = self.tools.get_key_value(*tool) {
                let one_more = |(_, cost): &mut (&Counters, NonZeroU32)| *cost = cost.saturating_add(call.cost.get());
                calls.entry(name).and_modify(one_more).or_insert((level, call.cost));
            }
        }
        let server = count.map(|count| (&self.server, count.saturating_mul(call.cost)));
        let levels: Vec<_> = server.into_iter().chain(calls.into_values()).collect();
        self.plan_levels(&levels, call.user)
    }

    fn plan_levels<'a>(&'a self, levels: &[(&'a Counters, NonZeroU32)], user: Option<&'a str>) -> Plan<'a> {
        let mut draws = SmallVec::new();
        for (level, cost) in levels {
            if let Some(counter) = &level.global {
                draws.push((counter, *cost));
            }
        }
        let mut skips_users = false;
        for (level, cost) in levels {
            match (&level.per_user, user) {
                (Some(counter), Some(_)) => draws.push((counter, *cost)),
                (Some(_), None) => skips_users = true,
                (None, _) => {}
            }
        }
        Plan { server: &self.server_id, user: user.map(user_part).unwrap_or_default(), draws, skips_users }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        limiter::{
            key::ServerId,
            shape::tests::{bucket, cost},
        },
        model::limits::{Limits, ToolLimits},
    };

    /// All four buckets for `search`; `list` has one of its own; the server's exist for every tool.
    pub(crate) fn policy() -> Policy {
        policy_of("1m")
    }

    pub(crate) fn policy_of(refill_period: &str) -> Policy {
        let limit = |max_tokens| Some(bucket(max_tokens, refill_period));
        let search = ToolLimits { global: limit(50), per_user: limit(5) };
        let list = ToolLimits { global: limit(20), per_user: None };
        let tools = [("search".to_owned(), search), ("list".to_owned(), list)].into();
        Policy::new(&ServerId::new("ns", "mcp"), &Limits { global: limit(100), per_user: limit(10), tools })
    }

    fn drawn(plan: &Plan<'_>) -> Vec<(String, u32)> {
        plan.draws().map(|draw| (draw.key().trim_start_matches("thv:rl:{ns:mcp}:").to_owned(), draw.cost().get())).collect()
    }

    fn owned(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        expected.iter().map(|(key, cost)| ((*key).to_owned(), *cost)).collect()
    }

    #[test]
    fn all_four_in_order() {
        let policy = policy();
        let plan = policy.plan(&Call::of("search").by("alice").costing(cost(2)));
        let expected = [("shared", 2), ("shared:tool:search", 2), ("user:alice", 2), ("user-tool:search:alice", 2)];
        assert_eq!(drawn(&plan), owned(&expected));
        assert_eq!(
            plan.draws().map(|draw| draw.limit().to_string()).collect::<Vec<_>>(),
            ["global", "tools[search].global", "perUser", "tools[search].perUser"]
        );
        assert!(!plan.skips_users());
    }

    #[test]
    fn an_anonymous_call_skips_per_user_buckets() {
        let policy = policy();
        for call in [Call::of("search"), Call::of("search").by("")] {
            let plan = policy.plan(&call);
            assert_eq!(drawn(&plan), owned(&[("shared", 1), ("shared:tool:search", 1)]));
            assert!(plan.skips_users());
        }
        let shared_only = Policy::new(&ServerId::new("ns", "mcp"), &Limits { global: Some(bucket(1, "1s")), ..Limits::default() });
        assert!(!shared_only.plan(&Call::of("search")).skips_users());
    }

    #[test]
    fn a_tool_without_limits_draws_on_the_server_s() {
        assert_eq!(drawn(&policy().plan(&Call::of("other").by("bob"))), owned(&[("shared", 1), ("user:bob", 1)]));
        assert_eq!(drawn(&Policy::new(&ServerId::new("ns", "mcp"), &Limits::default()).plan(&Call::of("other").by("bob"))), []);
    }

    #[test]
    fn a_batch_names_each_bucket_once() {
        let policy = policy();
        let tools = ["search", "other", "list", "search"];
        let plan = policy.plan(&Call::batch(&tools).by("alice"));
        let shared = [("shared", 4), ("shared:tool:list", 1), ("shared:tool:search", 2)];
        let users = [("user:alice", 4), ("user-tool:search:alice", 2)];
        assert_eq!(drawn(&plan), owned(&[shared.as_slice(), &users].concat()));
        assert_eq!(
            drawn(&policy.plan(&Call::batch(&tools).costing(cost(3)))),
            owned(&[("shared", 12), ("shared:tool:list", 3), ("shared:tool:search", 6)])
        );
        assert_eq!(drawn(&policy.plan(&Call::batch(&[]).by("alice"))), []);
        assert!(policy.plan(&Call::batch(&["search"]).by("")).skips_users());
    }

    #[test]
    fn shadow_is_chosen_by_limit() {
        let policy = policy().shadow(|limit| limit.tool.as_deref() == Some("search"));
        let enforced: Vec<_> = policy.plan(&Call::of("search").by("a")).draws().map(|draw| draw.enforced()).collect();
        assert_eq!(enforced, [true, false, true, false]);
    }
}
