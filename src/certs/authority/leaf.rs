//! The certificate that a replica serves. Its key never leaves the process.

use std::{fmt, sync::Arc};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SerialNumber};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use time::{Duration, OffsetDateTime};

use super::{BACKDATED, Ca, Root};

/// A leaf certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    der: CertificateDer<'static>,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// The CA that signed it.
    pub issuer: Root,
    /// DNS names and IP addresses that it is good for.
    pub names: Vec<String>,
    issued: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
}

impl Leaf {
    /// Has a CA sign a leaf certificate with a key of its own. It does not outlive the CA.
    ///
    /// # Errors
    /// When a name is neither a DNS name nor an IP address.
    pub fn sign(ca: &Ca, names: &[String], life: Duration, now: OffsetDateTime) -> Result<Leaf, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_der(ca.root().der(), KeyPair::from_pem(ca.key())?)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "tollgate");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = (now + life).min(ca.root().not_after());
        (params.not_before, params.not_after) = (now - BACKDATED, not_after);
        let pair = KeyPair::generate()?;
        // Unique, as the key is.
        params.serial_number = Some(SerialNumber::from(params.key_identifier(&pair).into_iter().take(16).collect::<Vec<_>>()));
        let certificate = params.signed_by(&pair, &issuer)?;
        Ok(Self {
            der: certificate.der().clone(),
            certificate: certificate.pem(),
            key: pair.serialize_pem(),
            issuer: ca.root().clone(),
            names: names.to_vec(),
            issued: now,
            not_after,
        })
    }

    /// Whether a caller that trusts these CAs, and calls by any of the leaf's names, accepts it.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, roots: &[Root], now: OffsetDateTime) -> Result<(), rustls::Error> {
        verify(&self.der, roots, &self.names, now)
    }

    /// When it should be replaced by one of the same CA: after half of its life, unless a new one would live no longer. The other half is for
    /// the time in which there may be no CA.
    pub(super) fn due(&self) -> Option<OffsetDateTime> {
        (self.not_after < self.issuer.not_after()).then(|| self.issued + (self.not_after - self.issued) / 2)
    }

    /// When it cannot wait any longer to be replaced, by one of whatever CA.
    pub(super) fn last_call(&self) -> OffsetDateTime {
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
fn verify(leaf: &CertificateDer<'_>, roots: &[Root], names: &[String], now: OffsetDateTime) -> Result<(), rustls::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_signs_nothing_and_shows_no_key() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let ca = Ca::create(Duration::minutes(1), now).expect("a CA");
        let leaf = Leaf::sign(&ca, &["localhost".to_owned()], Duration::minutes(2), now).expect("a leaf");
        assert_eq!(leaf.not_after, ca.root().not_after(), "it does not outlive its CA");
        assert_eq!(Ca::read(leaf.certificate.as_bytes(), leaf.key.as_bytes()), None);
        assert!(!format!("{ca:?} {leaf:?}").contains("PRIVATE"), "{ca:?} {leaf:?}");
    }
}
