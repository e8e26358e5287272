//! Certificates from files: read, checked, and replaced while connections run.
//!
//! Files are compared by content, every few seconds: kubelet replaces mounted secrets by swapping a symlink, which a watch on the file
//! never sees. A new pair is taken only when it is whole and fits together; until then the old one stays. Chains are accepted, and keys in
//! PKCS#8, PKCS#1 and SEC1.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

/// Where certificates come from.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM, leaf first, then the chain.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// PEM: the CAs that clients' certificates have to come from. Without, clients need none.
    pub client_ca: Option<PathBuf>,
    /// The names of which a client's certificate has to have one, as common name or DNS name. Empty: any.
    pub client_names: Vec<String>,
}

/// Why certificates cannot be used. Never repeats what is in the files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// As the system says it.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no {what}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// The file is not what it should be.
    #[error("{} is not usable: {why}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Two good files that do not fit together.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// What a server presents, and asks of its clients; replaced as a whole.
pub struct Identity {
    files: Files,
    current: ArcSwap<Loaded>,
    /// Of the contents last looked at, good or bad, so that a change is told once.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    not_after: i64,
}

/// What became of a look at the files.
#[derive(Debug)]
pub enum Refreshed {
    /// They are as they were.
    Unchanged,
    /// A new pair is in use.
    Replaced,
    /// They changed and cannot be used; the old pair stays in use.
    Kept(TlsError),
}

/// How often mounted certificates are compared with the ones in use.
const POLL: Duration = Duration::from_secs(2);

/// Reads an identity's files again and again, for ever.
pub async fn keep_fresh(identity: Arc<Identity>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match identity.refresh() {
            Refreshed::Unchanged => {}
            Refreshed::Replaced => info!(not_after = identity.not_after(), "certificates replaced"),
            Refreshed::Kept(error) => warn!(%error, "the certificates changed and cannot be used; the old ones stay in use"),
        }
    }
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: Files) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let loaded = contents.load(&files)?;
        Ok(Self { current: ArcSwap::from_pointee(loaded), seen: AtomicU64::new(contents.fingerprint()), files })
    }

    /// Reads the files again, and takes what is in them when it is new and good.
    pub fn refresh(&self) -> Refreshed {
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            // A file that is away for a moment is told once too.
            Err(error) => return if self.seen.swap(0, Ordering::AcqRel) == 0 { Refreshed::Unchanged } else { Refreshed::Kept(error) },
        };
        let fingerprint = contents.fingerprint();
        if self.seen.swap(fingerprint, Ordering::AcqRel) == fingerprint {
            return Refreshed::Unchanged;
        }
        match contents.load(&self.files) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                Refreshed::Replaced
            }
            Err(error) => Refreshed::Kept(error),
        }
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// The certificate in use.
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.current.load().leaf.clone()
    }

    /// When the certificate in use ends, in seconds since the epoch.
    pub fn not_after(&self) -> i64 {
        self.current.load().not_after
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The files' bytes.
#[derive(Hash)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &Files) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error });
        Ok(Self { cert: read(&files.cert)?, key: read(&files.key)?, client_ca: files.client_ca.as_deref().map(read).transpose()? })
    }

    /// Never 0, which stands for files that cannot be read.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish().max(1)
    }

    fn load(&self, files: &Files) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.cert, &files.cert)?;
        let leaf = chain.first().cloned().ok_or_else(|| TlsError::Missing { path: files.cert.clone(), what: "certificate" })?;
        let not_after = parse(&leaf).map(|leaf| leaf.validity().not_after.timestamp());
        let not_after = not_after.ok_or_else(|| broken(&files.cert, "the certificate cannot be decoded"))?;
        // After the certificate has been looked at, so that a broken one is not blamed on the key.
        let key = certified_key(chain, &self.key, files, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| broken(&files.cert, error))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => builder.with_client_cert_verifier(client_verifier(pem, path, &files.client_names, provider)?),
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), leaf, not_after })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| broken(path, error))?;
    if chain.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), what: "certificate (BEGIN CERTIFICATE)" });
    }
    Ok(chain)
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    pem: &[u8],
    files: &Files,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::Missing { path: files.key.clone(), what: "unencrypted private key (BEGIN PRIVATE KEY)" },
        other => broken(&files.key, other),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() },
        other => broken(&files.key, other),
    })
}

fn client_verifier(
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

fn broken(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError::Broken { path: path.to_owned(), why: why.to_string() }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

/// Clients from a trusted CA that also have one of a few names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl NamedClients {
    fn admits(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(certificate) = parse(certificate) else { return false };
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
