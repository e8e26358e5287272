//! Certificates and keys as they are in files, and why they cannot be used.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use x509_parser::{parse_x509_certificate, x509::X509Version};

use super::{
    Files, Loaded, Pair, TlsError, clients, key,
    pem::{broken, certificates},
    validity::Validity,
};

/// The files' bytes.
#[derive(Hash)]
pub(super) struct Contents {
    pair: Pair,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    /// Reads the files, but for the pair where it is in memory.
    pub(super) fn read(files: &Files, issued: Option<Pair>) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error });
        let pair = match issued {
            Some(pair) => pair,
            None => Pair { cert: read(&files.cert)?, key: read(&files.key)? },
        };
        Ok(Self { pair, client_ca: files.client_ca.as_deref().map(read).transpose()? })
    }

    /// Never 0, which stands for files that cannot be read.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish().max(1)
    }

    pub(super) fn load(&self, files: &Files) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.pair.cert, &files.cert)?;
        let leaf = chain.first().cloned().ok_or_else(|| TlsError::Missing { path: files.cert.clone(), what: "certificate" })?;
        let validity = inspect(&leaf).map_err(|why| broken(&files.cert, why))?;
        // After the certificate has been looked at, so that a broken one is not blamed on the key.
        let key = certified_key(chain, &self.pair.key, files, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| broken(&files.cert, error))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => builder.with_client_cert_verifier(clients::verifier(pem, path, &files.client_names, provider)?),
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), leaf, validity })
    }
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    pem: &[u8],
    files: &Files,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let missing = |what| TlsError::Missing { path: files.key.clone(), what };
    if is_encrypted(pem) {
        return Err(missing(
            "unencrypted private key (BEGIN PRIVATE KEY): it is encrypted; decrypt it with `openssl pkey -in FILE -out FILE`",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => missing("unencrypted private key (BEGIN PRIVATE KEY)"),
        other => broken(&files.key, other),
    })?;
    let other_curve = key::unsupported_curve(key.secret_der());
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() },
        rustls::Error::InvalidCertificate(error) => broken(&files.cert, format_args!("the certificate is not accepted: {error:?}")),
        other => match other_curve {
            Some(curve) => broken(&files.key, format_args!("it is a key on the curve {curve}; {}", key::SUPPORTED)),
            None => broken(&files.key, other),
        },
    })
}

/// What a certificate says of its own use; or why no client could use it.
fn inspect(leaf: &CertificateDer<'_>) -> Result<Validity, String> {
    let Ok((_, leaf)) = parse_x509_certificate(leaf) else { return Err("the certificate cannot be decoded".to_owned()) };
    if leaf.version() != X509Version::V3 {
        let version = leaf.version().0 + 1;
        return Err(format!(
            "it is an X.509 v{version} certificate, which TLS clients refuse; issue one of version 3, with subjectAltName"
        ));
    }
    if let Some(what) = key::unsupported(leaf.public_key()) {
        return Err(format!("its key is {what}; {}", key::SUPPORTED));
    }
    let validity = leaf.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}

/// As PKCS#8, or as OpenSSL's older form, whose headers are not base64.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.lines().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
}
