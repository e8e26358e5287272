//! What the Secret holds.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{Ca, Lives, Root, Step, bundle};

/// The annotation that asks for a rotation: when it was asked for, in seconds since the epoch.
pub const ROTATE: &str = "tollgate.dev/rotate";
/// The annotation that holds since when the CA in `tls.crt` signs, in seconds since the epoch.
pub const SIGNING_SINCE: &str = "tollgate.dev/signing-since";

const CURRENT: [&str; 2] = ["tls.crt", "tls.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const BUNDLE: &str = "ca.crt";

type Data = BTreeMap<String, Vec<u8>>;
type Annotations = BTreeMap<String, String>;

/// What of the Secret can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The CA that signs.
    pub current: Option<Ca>,
    /// The CA that will sign.
    pub next: Option<Ca>,
    /// The CAs that callers should trust.
    pub bundle: Vec<Root>,
    /// Since when `current` signs; unknown in a Secret that someone else wrote.
    pub signing_since: Option<OffsetDateTime>,
    /// When a rotation was asked for.
    pub asked: Option<OffsetDateTime>,
}

impl Kept {
    /// Reads the data and annotations of a Secret. What cannot be used is as good as missing.
    pub fn read(data: &Data, annotations: &Annotations) -> Self {
        let value = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
        let ca = |[certificate, key]: [&str; 2]| Ca::read(value(certificate), value(key));
        let time = |key: &str| OffsetDateTime::from_unix_timestamp(annotations.get(key)?.parse().ok()?).ok();
        Self {
            current: ca(CURRENT),
            next: ca(NEXT),
            bundle: bundle::read(value(BUNDLE)),
            signing_since: time(SIGNING_SINCE),
            asked: time(ROTATE),
        }
    }

    /// Puts this into the data and annotations of a Secret, and leaves what others keep there.
    pub fn write(&self, data: &mut Data, annotations: &mut Annotations) {
        for ([certificate, key], ca) in [(CURRENT, &self.current), (NEXT, &self.next)] {
            data.insert(certificate.to_owned(), ca.as_ref().map(|ca| ca.root().pem().into_bytes()).unwrap_or_default());
            data.insert(key.to_owned(), ca.as_ref().map(|ca| ca.key().as_bytes().to_vec()).unwrap_or_default());
        }
        data.insert(BUNDLE.to_owned(), bundle::pem(&self.bundle).into_bytes());
        for (key, time) in [(SIGNING_SINCE, self.signing_since), (ROTATE, self.asked)] {
            match time {
                Some(time) => annotations.insert(key.to_owned(), time.unix_timestamp().to_string()),
                None => annotations.remove(key),
            };
        }
    }

    /// Whether a rotation was asked for that has not begun.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some_and(|asked| self.current.as_ref().is_none_or(|current| current.root().created() <= asked))
    }

    /// The CA that signs, if it is valid.
    pub fn signer(&self, now: OffsetDateTime) -> Option<&Ca> {
        self.current.as_ref().filter(|ca| ca.root().is_valid(now))
    }

    /// The CA that will sign, if it is valid.
    pub fn successor(&self, now: OffsetDateTime) -> Option<&Ca> {
        self.next.as_ref().filter(|ca| ca.root().is_valid(now))
    }

    /// Whether a CA has stopped signing for so long that none of its leaves is valid.
    pub fn is_retired(&self, root: &Root, lives: &Lives, now: OffsetDateTime) -> bool {
        let signs = [&self.current, &self.next].into_iter().flatten().any(|ca| ca.root() == root);
        let is_over = self.signing_since.is_some_and(|since| since + lives.leaf <= now);
        !signs && is_over && self.bundle.contains(root)
    }

    /// What a `caBundle` should hold that was found with these CAs. Added are those of the Secret that sign or will sign, and the one that
    /// signed the leaf in use. Removed are those that have expired, and those of which no leaf is left; never one that is not known.
    pub fn target(&self, found: &[Root], in_use: Option<&Root>, lives: &Lives, now: OffsetDateTime) -> Vec<Root> {
        let is_kept = |root: &&Root| Some(*root) == in_use || !self.is_retired(root, lives, now);
        let found: Vec<_> = found.iter().filter(is_kept).cloned().collect();
        let needed: Vec<_> = [&self.current, &self.next].into_iter().flatten().map(|ca| ca.root()).chain(in_use).cloned().collect();
        let mut all = bundle::union([&found[..], &needed]);
        all.retain(|root| !root.is_expired(now));
        all
    }

    /// What the Secret holds after a step; `found` is what callers trust at the moment.
    ///
    /// # Errors
    /// When no CA can be made.
    pub fn after(&self, step: Step, found: &[Root], lives: &Lives, now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let mut kept = self.clone();
        match step {
            Step::Create => {
                (kept.current, kept.next) = (Some(Ca::create(lives.ca, now)?), None);
                (kept.signing_since, kept.asked) = (Some(now), None);
            }
            Step::Publish => (kept.next, kept.asked) = (Some(Ca::create(lives.ca, now)?), None),
            Step::Promote => {
                kept.current = kept.next.take();
                kept.signing_since = Some(now);
            }
            Step::Tidy => {}
        }
        let mut trusted = match step {
            // Whoever still serves under a lost CA is trusted until its leaves have expired.
            Step::Create => bundle::union([&self.bundle[..], found]),
            _ => self.bundle.clone(),
        };
        let is_gone = |root: &Root| step == Step::Tidy && self.is_retired(root, lives, now) && !found.contains(root);
        trusted.retain(|root| !root.is_expired(now) && !is_gone(root));
        let signers = [&kept.current, &kept.next].into_iter().flatten().map(|ca| ca.root().clone());
        kept.bundle = bundle::union([&trusted[..], &signers.collect::<Vec<_>>()]);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const LIVES: Lives = Lives { ca: Duration::hours(10), leaf: Duration::hours(1), soak: Duration::minutes(1) };

    fn ca(life: Duration) -> Ca {
        Ca::create(life, NOW).expect("a CA")
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
        let at = |time| kept.target(&found, Some(in_use.root()), &LIVES, time);
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
        assert_eq!(lost.target(&found, Some(in_use.root()), &LIVES, NOW + LIVES.leaf), found);
        assert_eq!(lost.target(&[], None, &LIVES, NOW), []);
    }
}
