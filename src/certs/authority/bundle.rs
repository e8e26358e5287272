//! Bundles of CAs: `ca.crt` of the Secret, and `caBundle` of a webhook.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;

use super::{Kept, Lives, Root};

/// The certificates in a PEM text, each once. What is not one is left out.
pub fn read(pem: &[u8]) -> Vec<Root> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).filter_map(Root::read).collect();
    union([&found[..]])
}

/// As PEM.
pub fn pem(roots: &[Root]) -> String {
    roots.iter().map(Root::pem).collect()
}

/// Every CA of these bundles once, in the order in which they come.
pub fn union<'a>(bundles: impl IntoIterator<Item = &'a [Root]>) -> Vec<Root> {
    let mut all: Vec<Root> = Vec::new();
    for root in bundles.into_iter().flatten() {
        if !all.contains(root) {
            all.push(root.clone());
        }
    }
    all
}

/// What a `caBundle` should hold that was found with these CAs. Added are those of the Secret that sign or will sign, and the one that
/// signed the leaf in use. Removed are those that have expired, and those of which no leaf is left; never one that is not known.
pub fn target(found: &[Root], kept: &Kept, in_use: Option<&Root>, lives: &Lives, now: OffsetDateTime) -> Vec<Root> {
    let is_kept = |root: &&Root| Some(*root) == in_use || !kept.is_retired(root, lives, now);
    let found: Vec<_> = found.iter().filter(is_kept).cloned().collect();
    let needed: Vec<_> = [&kept.current, &kept.next].into_iter().flatten().map(|ca| ca.root()).chain(in_use).cloned().collect();
    let mut all = union([&found[..], &needed]);
    all.retain(|root| !root.is_expired(now));
    all
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::{super::Ca, *};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const LIVES: Lives = Lives { ca: Duration::hours(10), leaf: Duration::hours(1), soak: Duration::minutes(1) };

    fn ca(life: Duration) -> Ca {
        Ca::create(life, NOW).expect("a CA")
    }

    #[test]
    fn texts_are_read_leniently() {
        let [one, other] = [ca(LIVES.ca).root().clone(), ca(LIVES.ca).root().clone()];
        let text = format!("# a comment\n{}{}\n{}garbage", one.pem(), other.pem(), one.pem());
        assert_eq!(read(text.as_bytes()), [one.clone(), other.clone()]);
        assert_eq!(read(pem(&[one.clone(), other.clone()]).as_bytes()), [one, other]);
        assert_eq!(read(b"garbage"), []);
    }

    #[test]
    fn only_what_is_expired_or_retired_leaves() {
        let [current, next, old, foreign, in_use, short] = [10, 10, 10, 10, 10, 2].map(|hours| ca(Duration::hours(hours)));
        let roots = |cas: &[&Ca]| cas.iter().map(|ca| ca.root().clone()).collect::<Vec<_>>();
        let kept = Kept {
            bundle: roots(&[&old, &current, &next, &in_use]),
            signing_since: Some(NOW),
            current: Some(current.clone()),
            next: Some(next.clone()),
            asked: None,
        };
        let found = roots(&[&old, &foreign, &short, &in_use, &current]);
        let at = |time| target(&found, &kept, Some(in_use.root()), &LIVES, time);
        let soon = NOW + LIVES.leaf - Duration::SECOND;
        assert_eq!(at(soon), roots(&[&old, &foreign, &short, &in_use, &current, &next]));
        assert_eq!(
            at(NOW + LIVES.leaf),
            roots(&[&foreign, &short, &in_use, &current, &next]),
            "old has signed nothing that is still valid"
        );
        assert_eq!(at(NOW + Duration::hours(3)), roots(&[&foreign, &in_use, &current, &next]), "short has expired");
        // Without a Secret, nothing is known to be retired.
        let lost = Kept::default();
        assert_eq!(target(&found, &lost, Some(in_use.root()), &LIVES, NOW + LIVES.leaf), found);
        assert_eq!(target(&[], &lost, None, &LIVES, NOW), []);
    }
}
