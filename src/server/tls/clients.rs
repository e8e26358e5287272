//! What is asked of clients: a certificate from a CA, and one of a few names.

use std::{path::Path, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    TlsError,
    pem::{broken, certificates},
};

/// Takes clients' certificates from the CAs in `pem`; with `names`, only those that have one of them.
pub(super) fn verifier(
    pem: &[u8],
    path: &Path,
    names: &[String],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|error| broken(path, error))?;
    }
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| broken(path, error))?;
    Ok(if names.is_empty() { inner } else { Arc::new(NamedClients { inner, names: names.to_vec() }) })
}

/// Clients from a trusted CA that also have one of a few names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl NamedClients {
    fn admits(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return false };
        let wanted = |name: &str| self.names.iter().any(|known| known == name);
        let by_common_name = certificate.subject().iter_common_name().any(|name| name.as_str().is_ok_and(wanted));
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let by_dns_name = alternative
            .is_some_and(|names| names.value.general_names.iter().any(|name| matches!(name, GeneralName::DNSName(name) if wanted(name))));
        by_common_name || by_dns_name
    }
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure);
        if self.admits(end_entity) { Ok(verified) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
