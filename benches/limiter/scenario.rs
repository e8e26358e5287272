//! What is measured: every combination, and which of them run by default.

use std::fmt;

use tollgate::{
    limiter::{Policy, ServerId},
    model::{
        bucket::Bucket,
        limits::{Limits, ToolLimits},
    },
};

/// The tool that all calls are of.
pub(super) const TOOL: &str = "web_search";

/// Whose buckets are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Those in Redis, for every call.
    Redis,
    /// Those in Redis, unless the denial is certain.
    Remembered,
    /// Those in this process.
    Memory,
}

/// What every call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) place: Place,
    pub(super) outcome: Outcome,
    /// Buckets that a call draws on.
    pub(super) buckets: usize,
    pub(super) callers: usize,
    pub(super) users: usize,
}

const KINDS: [(Place, Outcome); 5] = [
    (Place::Redis, Outcome::Allow),
    (Place::Redis, Outcome::Deny),
    (Place::Remembered, Outcome::Deny),
    (Place::Memory, Outcome::Allow),
    (Place::Memory, Outcome::Deny),
];
const BUCKETS: [usize; 3] = [1, 2, 4];
const CALLERS: [usize; 3] = [1, 64, 1024];
const USERS: [usize; 3] = [1, 100, 10_000];

/// One limit of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Tokens, when full.
    pub(super) max_tokens: u32,
    /// Time to refill all of them, in hours.
    pub(super) refill_hours: u32,
}

/// Never empty within a run, and never full either: its levels are fractions, as in real life.
const AMPLE: Rate = Rate { max_tokens: i32::MAX.unsigned_abs(), refill_hours: 10_000 };
/// Empty after one call, for as long as a run lasts.
const SCARCE: Rate = Rate { max_tokens: 1, refill_hours: 1_000 };

impl Scenario {
    /// Every combination.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let combined = KINDS.into_iter().flat_map(|kind| BUCKETS.map(|buckets| (kind, buckets)));
        let combined = combined.flat_map(|(kind, buckets)| CALLERS.map(|callers| (kind, buckets, callers)));
        let combined = combined.flat_map(|(kind, buckets, callers)| USERS.map(|users| (kind, buckets, callers, users)));
        combined.map(|((place, outcome), buckets, callers, users)| Self { place, outcome, buckets, callers, users })
    }

    /// Whether it runs without being asked for.
    pub(super) fn is_ordinary(&self) -> bool {
        let is_usual = self.users == 100 || self.callers == 64;
        let is_extreme = self.buckets != 2 || (self.users == 100 && self.callers == 64);
        is_usual && is_extreme
    }

    /// The limits, in the order of a plan.
    pub(super) fn rates(&self) -> Vec<Rate> {
        let mut rates = vec![AMPLE; self.buckets];
        if let (Outcome::Deny, Some(last)) = (self.outcome, rates.last_mut()) {
            *last = SCARCE;
        }
        rates
    }

    /// The keys of the limits for tollgate's rivals, in the order of a plan; `true` where the user's name follows.
    pub(super) fn key_parts(&self) -> Vec<(String, bool)> {
        let server = ServerId::new("bench", "rival");
        let (global, user) = ((server.global_key(), false), (server.user_prefix(), true));
        let (tool, user_tool) = ((server.tool_key(TOOL), false), (server.user_tool_prefix(TOOL), true));
        match self.buckets {
            1 => vec![user],
            2 => vec![global, user],
            _ => vec![global, tool, user, user_tool],
        }
    }

    /// The limits as tollgate knows them.
    pub(super) fn policy(&self) -> Policy {
        let buckets: Vec<Option<Bucket>> = self.rates().into_iter().map(Rate::bucket).collect();
        let mut limits = Limits::default();
        match buckets[..] {
            [per_user] => limits.per_user = per_user,
            [global, per_user] => (limits.global, limits.per_user) = (global, per_user),
            [global, tool_global, per_user, tool_per_user, ..] => {
                (limits.global, limits.per_user) = (global, per_user);
                limits.tools.insert(TOOL.to_owned(), ToolLimits { global: tool_global, per_user: tool_per_user });
            }
            [] | [_, _, _] => {}
        }
        Policy::new(&ServerId::new("bench", "tollgate"), &limits)
    }

    /// The names of the users.
    pub(super) fn user_names(&self) -> Vec<String> {
        (0..self.users).map(|user| format!("auth0|{user:08x}")).collect()
    }
}

impl Rate {
    fn bucket(self) -> Option<Bucket> {
        Some(Bucket { max_tokens: self.max_tokens.try_into().ok()?, refill_period: format!("{}h", self.refill_hours).parse().ok()? })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.place, self.outcome) {
            (Place::Redis, Outcome::Allow) => "allow",
            (Place::Redis, Outcome::Deny) => "deny",
            (Place::Remembered, _) => "certain",
            (Place::Memory, Outcome::Allow) => "memory-allow",
            (Place::Memory, Outcome::Deny) => "memory-deny",
        };
        write!(f, "{kind}/n{}/{}c/{}u", self.buckets, self.callers, self.users)
    }
}
