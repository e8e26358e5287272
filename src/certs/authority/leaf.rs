//! The certificate that a replica serves. Its key never leaves the process.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use time::{Duration, OffsetDateTime};

use super::{Kept, Lives, Published, Root, plan::earliest};

/// A leaf certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    pub(super) der: CertificateDer<'static>,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// The CA that signed it.
    pub issuer: Root,
    /// DNS names and IP addresses that it is good for.
    pub names: Vec<String>,
    pub(super) issued: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
}

impl Leaf {
    /// Whether a caller that trusts these CAs, and calls by any of the leaf's names, accepts it.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, roots: &[Root], now: OffsetDateTime) -> Result<(), rustls::Error> {
        verify(&self.der, roots, &self.names, now)
    }

    /// When it should be replaced by one of the same CA: after half of its life, unless a new one would live no longer. The other half is for
    /// the time in which there may be no CA.
    fn due(&self) -> Option<OffsetDateTime> {
        (self.not_after < self.issuer.not_after()).then(|| self.issued + (self.not_after - self.issued) / 2)
    }

    /// When it cannot wait any longer to be replaced, by one of whatever CA.
    fn last_call(&self) -> OffsetDateTime {
        let life: Duration = self.not_after - self.issued;
        self.not_after - life.checked_div(10).unwrap_or_default().max(Duration::SECOND)
    }
}

/// Without the key.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("names", &self.names).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Whether a caller that trusts these CAs accepts a certificate by each of these names.
///
/// # Errors
/// Why not.
pub fn verify(leaf: &CertificateDer<'_>, roots: &[Root], names: &[String], now: OffsetDateTime) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|root| root.der().clone()));
    let unknown = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(ring::default_provider())).build();
    let verifier = verifier.map_err(|_| unknown())?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix_timestamp().try_into().unwrap_or_default()));
    for name in names {
        let name = ServerName::try_from(name.as_str()).map_err(|_| unknown())?;
        verifier.verify_server_cert(leaf, &[], &name, &[], now)?;
    }
    Ok(())
}

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
pub fn plan(leaf: Option<&Leaf>, names: &[String], kept: &Kept, published: &Published, lives: &Lives, now: OffsetDateTime) -> Signing {
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
