//! What callers trust: the `caBundle` of each webhook configuration, as it was last read, and since when.

use time::OffsetDateTime;

use super::{Root, bundle};

/// The `caBundle` of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bundle {
    /// It was never read.
    #[default]
    Unread,
    /// The configuration does not exist, so nothing is called on its behalf.
    Absent,
    /// These CAs, and since when each was seen there.
    Holds(Vec<(Root, OffsetDateTime)>),
}

/// The `caBundle`s of both configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published(pub [Bundle; 2]);

impl Bundle {
    /// The same after another look: `None` where the configuration is not there.
    pub fn observe(&mut self, found: Option<Vec<Root>>, now: OffsetDateTime) {
        let Some(found) = found else { return *self = Self::Absent };
        let known = match self {
            Self::Holds(known) => std::mem::take(known),
            Self::Unread | Self::Absent => Vec::new(),
        };
        let since = |root: &Root| known.iter().find(|(known, _)| known == root).map_or(now, |(_, since)| *since);
        *self = Self::Holds(found.into_iter().map(|root| (root.clone(), since(&root))).collect());
    }

    /// The CAs in it.
    pub fn roots(&self) -> Vec<Root> {
        match self {
            Self::Holds(roots) => roots.iter().map(|(root, _)| root.clone()).collect(),
            Self::Unread | Self::Absent => Vec::new(),
        }
    }
}

impl Published {
    /// Since when every caller trusts a CA; `None` if one does not, or may not. A configuration that is not there calls no one.
    pub fn everywhere_since(&self, root: &Root) -> Option<OffsetDateTime> {
        let mut since = None;
        for bundle in &self.0 {
            match bundle {
                Bundle::Unread => return None,
                Bundle::Absent => {}
                Bundle::Holds(roots) => since = since.max(Some(roots.iter().find(|(known, _)| known == root)?.1)),
            }
        }
        since
    }

    /// Every CA that some caller trusts.
    pub fn anywhere(&self) -> Vec<Root> {
        let roots = self.0.each_ref().map(Bundle::roots);
        bundle::union(roots.iter().map(Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::{super::Ca, *};

    #[test]
    fn a_ca_is_everywhere_once_the_last_configuration_has_it() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let later = |seconds| now + Duration::seconds(seconds);
        let [one, other] = [(); 2].map(|()| Ca::create(Duration::HOUR, now).expect("a CA").root().clone());
        let mut published = Published::default();
        published.0[0].observe(Some(vec![one.clone()]), now);
        assert_eq!(published.everywhere_since(&one), None, "the second was never read");
        published.0[1].observe(None, now);
        assert_eq!(published.everywhere_since(&one), Some(now), "the second is not there");
        published.0[1].observe(Some(vec![other.clone()]), later(1));
        assert_eq!(published.everywhere_since(&one), None);
        published.0[1].observe(Some(vec![other.clone(), one.clone()]), later(2));
        published.0[1].observe(Some(vec![one.clone()]), later(3));
        assert_eq!(published.everywhere_since(&one), Some(later(2)));
        assert_eq!(published.anywhere(), std::slice::from_ref(&one));
        published.0[0].observe(Some(Vec::new()), later(4));
        published.0[0].observe(Some(vec![one.clone()]), later(5));
        assert_eq!(published.everywhere_since(&one), Some(later(5)), "it was gone in between");
    }
}
