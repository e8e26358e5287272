//! Certificate authorities: with their key, and as callers know them.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use x509_parser::parse_x509_certificate;

use super::BACKDATED;

/// A certificate that callers trust: what a `caBundle` consists of.
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    der: CertificateDer<'static>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Root {
    /// Reads a certificate; `None` if it is not one.
    pub fn read(der: CertificateDer<'static>) -> Option<Self> {
        let validity = parse_x509_certificate(&der).ok()?.1.validity().clone();
        let at = |time: &x509_parser::time::ASN1Time| OffsetDateTime::from_unix_timestamp(time.timestamp()).ok();
        let (not_before, not_after) = (at(&validity.not_before)?, at(&validity.not_after)?);
        Some(Self { der, not_before, not_after })
    }

    /// Its bytes.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// When its CA was made.
    pub fn created(&self) -> OffsetDateTime {
        self.not_before + BACKDATED
    }

    /// Its last second.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether nothing that it signed is valid any longer. Its last second counts as over: callers look at fractions.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now >= self.not_after
    }

    /// Whether what it signs is valid now.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && !self.is_expired(now)
    }

    /// When it should be replaced: after two thirds of its life.
    pub fn due(&self) -> OffsetDateTime {
        self.created() + (self.not_after - self.created()) * 2 / 3
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        let encoded = STANDARD.encode(&self.der);
        let lines = encoded.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("created", &self.created()).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A CA with its key.
#[derive(Clone)]
pub struct Ca {
    root: Root,
    /// PEM.
    key: String,
}

impl Ca {
    /// Makes a CA.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn create(life: Duration, now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, "tollgate webhook CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - BACKDATED, now + life);
        let pair = KeyPair::generate()?;
        let root = Root::read(params.self_signed(&pair)?.der().clone()).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self { root, key: pair.serialize_pem() })
    }

    /// Reads a CA; `None` unless the certificate is that of a CA and the key is its key.
    pub fn read(certificate: &[u8], key: &[u8]) -> Option<Self> {
        let root = Root::read(CertificateDer::from_pem_slice(certificate).ok()?)?;
        let key = std::str::from_utf8(key).ok()?;
        let pair = KeyPair::from_pem(key).ok()?;
        let (_, parsed) = parse_x509_certificate(root.der()).ok()?;
        let is_ca = parsed.basic_constraints().ok()?.is_some_and(|constraints| constraints.value.ca);
        let fits = parsed.public_key().raw == pair.subject_public_key_info();
        (is_ca && fits).then(|| Self { key: key.to_owned(), root: root.clone() })
    }

    /// As callers know it.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The key, PEM.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for Ca {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for Ca {}

/// Without the key.
impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let [one, other] = [(); 2].map(|()| Ca::create(Duration::minutes(1), NOW).expect("a CA"));
        let (pem, key) = (one.root().pem(), one.key());
        assert_eq!(Ca::read(pem.as_bytes(), key.as_bytes()), Some(one.clone()));
        assert_eq!((one.root().created(), one.root().due()), (NOW, NOW + Duration::seconds(40)));
        for (certificate, key) in [(pem.as_str(), other.key()), (pem.as_str(), ""), ("", key), ("garbage", "garbage")] {
            assert_eq!(Ca::read(certificate.as_bytes(), key.as_bytes()), None);
        }
    }
}
