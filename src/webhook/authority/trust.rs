//! Whether callers trust the certificate that is served.

use time::OffsetDateTime;

use crate::certs::authority::{Bundle, Leaf, Published};

/// What a replica serves, and what both configurations were last read with.
#[derive(Clone, Debug, Default)]
pub(in crate::webhook) struct Trust {
    pub(super) leaf: Option<Leaf>,
    pub(super) published: Published,
    /// When the CA that signs ends.
    pub(in crate::webhook) ca_not_after: Option<OffsetDateTime>,
    /// What is not read, or not there.
    pub(super) unread: Option<String>,
    /// What could not be written.
    pub(super) troubles: Option<String>,
}

impl Trust {
    /// Whether every caller accepts the served certificate: it verifies against the `caBundle` of each configuration that is there.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::webhook) fn check(&self, now: OffsetDateTime) -> Result<(), String> {
        let because = |first: Option<String>| {
            first.iter().chain([&self.unread, &self.troubles].into_iter().flatten()).cloned().collect::<Vec<_>>().join("; ")
        };
        let Some(leaf) = &self.leaf else { return Err(because(Some("no certificate issued yet".to_owned()))) };
        let mut called = false;
        for bundle in &self.published.0 {
            match bundle {
                Bundle::Unread => return Err(because(None)),
                // It calls no one.
                Bundle::Absent => {}
                Bundle::Holds(_) => {
                    called = true;
                    leaf.verify(&bundle.roots(), now).map_err(|error| because(Some(error.to_string())))?;
                }
            }
        }
        if called { Ok(()) } else { Err(because(None)) }
    }
}
