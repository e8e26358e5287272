//! The next step of a rotation.

use time::OffsetDateTime;

use super::{Ca, Kept, Lives, Published, Root, Step};

/// What to do now, and when to look again if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// To be done now.
    pub step: Option<Step>,
    /// When time alone may make another step due.
    pub again: Option<OffsetDateTime>,
}

/// Plans the next step from what the Secret holds and what callers trust.
pub fn plan(kept: &Kept, published: &Published, lives: &Lives, now: OffsetDateTime) -> Plan {
    let (step, again) = match (kept.signer(now), kept.successor(now)) {
        (None, None) => (Some(Step::Create), None),
        // It is all there is. Who has a leaf keeps it until callers trust the new CA.
        (None, Some(_)) => (Some(Step::Promote), None),
        (Some(current), Some(next)) => match published.everywhere_since(next.root()).map(|since| since + lives.soak) {
            Some(ripe) if ripe <= now => (Some(Step::Promote), None),
            ripe => (None, earliest([ripe, Some(current.root().not_after())])),
        },
        (Some(current), None) if kept.is_asked() || current.root().due() <= now => (Some(Step::Publish), None),
        (Some(current), None) => (None, Some(current.root().due())),
    };
    match step {
        None if is_untidy(kept, published, lives, now) => Plan { step: Some(Step::Tidy), again: None },
        None => Plan { step, again: earliest([again, tidying(kept, lives, now)]) },
        step => Plan { step, again },
    }
}

/// Whether the bundle lacks a CA that signs, or holds one that callers need no longer and do not have.
fn is_untidy(kept: &Kept, published: &Published, lives: &Lives, now: OffsetDateTime) -> bool {
    let mut signers = [&kept.current, &kept.next].into_iter().flatten().map(Ca::root);
    let trusted = published.anywhere();
    let is_over = |root: &Root| root.is_expired(now) || (kept.is_retired(root, lives, now) && !trusted.contains(root));
    signers.any(|signer| !kept.bundle.contains(signer)) || kept.bundle.iter().any(is_over)
}

/// When a CA of the bundle will be needed no longer.
fn tidying(kept: &Kept, lives: &Lives, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let retired = kept.signing_since.map(|since| since + lives.leaf);
    earliest([retired].into_iter().chain(kept.bundle.iter().map(|root| Some(root.not_after()))).map(|time| time.filter(|time| *time > now)))
}

pub(super) fn earliest(times: impl IntoIterator<Item = Option<OffsetDateTime>>) -> Option<OffsetDateTime> {
    times.into_iter().flatten().min()
}
