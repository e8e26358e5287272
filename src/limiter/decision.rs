//! The result of deciding a call.

use std::{error::Error, fmt, time::Duration};

use super::{
    plan::Plan,
    policy::Limit,
    settle::{Shortfall, Verdict},
    shape::Wait,
    store::{DecidedBy, StoreAnswer},
};

/// Whether a call is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call is allowed, and its tokens are taken.
    Allowed {
        /// Calls left at once under the enforced limit that has the fewest; `None` when no limit was enforced.
        remaining: Option<u32>,
        /// The shadow limit that would have denied the call.
        shadow: Option<Denial>,
        /// Who decided.
        source: DecidedBy,
    },
    /// The call is denied, and nothing is taken.
    Denied(Denial),
}

/// Which limit denies the call, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The limit with the longest wait.
    pub limit: Limit,
    /// Time until every limit allows the call: waiting exactly that long suffices, unless other calls come first.
    pub wait: Wait,
    /// Who decided. [`DecidedBy::Cache`] knows only limits that deny for certain; a limit that was not asked may have a longer wait.
    pub source: DecidedBy,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.retry_after_secs() {
            Some(seconds) => write!(f, "rate limit exceeded: {}, retry after {seconds} s", self.limit),
            None => write!(f, "rate limit exceeded: {}, which never allows that many calls at once", self.limit),
        }
    }
}

impl Error for Denial {}

impl Denial {
    /// The value of a `Retry-After` header: whole seconds, rounded up. `None` when waiting does not help.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self.wait {
            Wait::After(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            Wait::Never => None,
        }
    }

    /// The wait. `None` when waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.wait {
            Wait::After(wait) => Some(wait),
            Wait::Never => None,
        }
    }
}

impl Decision {
    /// Converts a store's answer into limits of the plan that it was made for; `None` if it names a bucket that is not in the plan.
    pub fn new(plan: &Plan<'_>, answer: StoreAnswer) -> Option<Self> {
        let source = answer.source;
        match answer.verdict {
            Verdict::Allowed { remaining, shadow: None } => Some(Self::Allowed { remaining, shadow: None, source }),
            Verdict::Allowed { remaining, shadow: Some(by) } => {
                Some(Self::Allowed { remaining, shadow: Some(denial(plan, by, source)?), source })
            }
            Verdict::Denied(by) => denial(plan, by, source).map(Self::Denied),
        }
    }

    /// The decision for a call that no limit counts.
    pub(super) fn unlimited() -> Self {
        Self::Allowed { remaining: None, shadow: None, source: DecidedBy::Store }
    }

    /// Whether the call is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// Who decided.
    pub fn source(&self) -> DecidedBy {
        match self {
            Self::Allowed { source, .. } | Self::Denied(Denial { source, .. }) => *source,
        }
    }
}

fn denial(plan: &Plan<'_>, refusal: Shortfall, source: DecidedBy) -> Option<Denial> {
    let draw = plan.draws().nth(refusal.by)?;
    Some(Denial { limit: draw.limit().clone(), wait: refusal.wait, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Call, plan::tests::policy};

    #[test]
    fn retry_after_is_rounded_up() {
        let policy = policy();
        let plan = policy.plan(&Call::of("search").by("alice"));
        for (wait, secs) in [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)] {
            let refusal = Shortfall { by: 3, wait: Wait::After(Duration::from_micros(wait)) };
            let Some(Decision::Denied(denial)) = Decision::new(&plan, Verdict::Denied(refusal).into()) else { panic!("a denial") };
            assert_eq!((denial.retry_after_secs(), denial.limit.to_string()), (Some(secs), "tools[search].perUser".to_owned()));
        }
    }

    #[test]
    fn a_bucket_that_the_plan_has_not_is_no_decision() {
        let policy = policy();
        let verdict = Verdict::Denied(Shortfall { by: 2, wait: Wait::Never });
        assert_eq!(Decision::new(&policy.plan(&Call::of("search")), verdict.into()), None);
    }
}
