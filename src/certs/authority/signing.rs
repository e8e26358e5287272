//! When a replica signs a new leaf.

use time::{Duration, OffsetDateTime};

use super::{Kept, Leaf, Lives, Published, Root, plan::earliest};

/// How long a replica without a certificate waits for API servers to learn of a new CA, while others may serve under an older one.
const SETTLED: Duration = Duration::seconds(2);

/// Whether to sign a new leaf now, and when to look again if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Sign one with the CA that signs.
    pub now: bool,
    /// When time alone may make one due.
    pub again: Option<OffsetDateTime>,
}

/// Plans the next leaf for callers by these names. It comes from a CA that every caller trusts, or it waits.
pub fn plan_leaf(leaf: Option<&Leaf>, names: &[String], kept: &Kept, published: &Published, lives: &Lives, now: OffsetDateTime) -> Signing {
    let never = Signing { now: false, again: None };
    let Some(current) = kept.signer(now).filter(|_| !names.is_empty()) else { return never };
    let Some(since) = published.everywhere_since(current.root()) else { return never };
    let usable = leaf.filter(|leaf| leaf.not_after > now && leaf.names == names && published.everywhere_since(&leaf.issuer).is_some());
    let due = match usable {
        // No call to this replica can succeed at the moment.
        None => Some(if is_news(current.root(), published, lives, now) { since + lives.soak.min(SETTLED) } else { now }),
        // API servers learn of a CA one after another.
        Some(leaf) if leaf.issuer != *current.root() => earliest([Some(since + lives.soak), Some(leaf.last_call())]),
        Some(leaf) => leaf.due(),
    };
    Signing { now: due.is_some_and(|due| due <= now), again: due.filter(|due| *due > now) }
}

/// Whether some API server may still know older CAs only.
fn is_news(root: &Root, published: &Published, lives: &Lives, now: OffsetDateTime) -> bool {
    let is_older = |other: &Root| other != root && !other.is_expired(now);
    root.created() + lives.soak > now && published.anywhere().iter().any(is_older)
}
