//! Certificates from files, or from memory: read, checked, and replaced while connections run.
//!
//! Files are compared by content, every few seconds: kubelet replaces mounted secrets by swapping a symlink, which a watch on the file
//! never sees. A new pair is taken only when it is whole and fits together, and not instead of a better one: an expired certificate, or one
//! that is not valid yet, does not replace one that is. Chains are accepted, and keys in PKCS#8, PKCS#1 and SEC1.

mod clients;
mod key;
mod load;
mod pem;
mod validity;

use std::{
    cmp::Ordering::Less,
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, pki_types::CertificateDer};
use thiserror::Error;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use self::load::Contents;
pub use self::validity::{Invalid, Validity};

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

/// A certificate and its key, PEM, in memory.
#[derive(Clone, Hash)]
pub struct Pair {
    /// Leaf first, then the chain.
    pub cert: Vec<u8>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

/// Without the key.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
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
        /// The system's error.
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
    /// The certificate is not valid now, and the one in use is better.
    #[error("{} is not usable: {error}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Invalid,
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
pub struct ServerCertificate {
    files: Files,
    /// What counts instead of the files of the certificate and its key.
    issued: Option<Mutex<Pair>>,
    current: ArcSwap<Loaded>,
    /// What is in the files, when that is good but not better than the pair in use: it may be later.
    waiting: Mutex<Option<Loaded>>,
    /// Of the contents last looked at, good or bad, so that a change is logged once.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    validity: Validity,
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

/// Reads a certificate's files again and again, forever, and logs when its certificate becomes invalid or valid.
pub async fn keep_fresh(certificate: Arc<ServerCertificate>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_valid = true;
    loop {
        ticks.tick().await;
        // A mounted file may take its time, and connections must not wait for it.
        let look = {
            let certificate = Arc::clone(&certificate);
            spawn_blocking(move || certificate.refresh())
        };
        let Ok(refreshed) = look.await else { continue };
        match refreshed {
            Refreshed::Unchanged => {}
            Refreshed::Replaced => info!(not_after = certificate.not_after(), "certificates replaced"),
            Refreshed::Kept(error) => warn!(%error, "the certificates changed and cannot be used; the old ones stay in use"),
        }
        let validity = certificate.validity();
        match &validity {
            Err(error) if was_valid => warn!(%error, "the certificate in use is not valid; clients will refuse it"),
            Ok(()) if !was_valid => info!("the certificate in use is valid"),
            _ => {}
        }
        was_valid = validity.is_ok();
    }
}

impl ServerCertificate {
    /// Reads the files. A certificate that is not valid now is taken: see [`ServerCertificate::validity`].
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: Files) -> Result<Self, TlsError> {
        Self::load(files, None)
    }

    /// Takes a pair from memory; the paths of the certificate and its key are names for errors.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn issued(files: Files, pair: Pair) -> Result<Self, TlsError> {
        Self::load(files, Some(pair))
    }

    fn load(files: Files, issued: Option<Pair>) -> Result<Self, TlsError> {
        let contents = Contents::read(&files, issued.clone())?;
        let loaded = contents.load(&files)?;
        let (current, seen) = (ArcSwap::from_pointee(loaded), AtomicU64::new(contents.fingerprint()));
        Ok(Self { current, waiting: Mutex::default(), seen, files, issued: issued.map(Mutex::new) })
    }

    /// Replaces the pair of [`ServerCertificate::issued`], on the same terms as a change of files.
    pub fn issue(&self, pair: Pair) -> Refreshed {
        if let Some(issued) = &self.issued {
            *issued.lock().unwrap_or_else(PoisonError::into_inner) = pair;
        }
        self.refresh()
    }

    /// Reads the files again, and takes what is in them when it is new and good.
    pub fn refresh(&self) -> Refreshed {
        self.refresh_at(validity::now())
    }

    fn refresh_at(&self, now: i64) -> Refreshed {
        let issued = self.issued.as_ref().map(|pair| pair.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let contents = match Contents::read(&self.files, issued) {
            Ok(contents) => contents,
            // A file that is missing for a moment is reported once too.
            Err(error) => return if self.seen.swap(0, Ordering::AcqRel) == 0 { Refreshed::Unchanged } else { Refreshed::Kept(error) },
        };
        let fingerprint = contents.fingerprint();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = self.seen.swap(fingerprint, Ordering::AcqRel) != fingerprint;
        if is_new {
            *waiting = match contents.load(&self.files) {
                Ok(loaded) => Some(loaded),
                Err(error) => {
                    *waiting = None;
                    return Refreshed::Kept(error);
                }
            };
        }
        let is_better = |new: &mut Loaded| new.validity.compare(&self.current.load().validity, now) != Less;
        if let Some(loaded) = waiting.take_if(is_better) {
            self.current.store(Arc::new(loaded));
            return Refreshed::Replaced;
        }
        let kept = waiting.as_ref().filter(|_| is_new).and_then(|new| new.validity.at(now).err());
        kept.map_or(Refreshed::Unchanged, |error| Refreshed::Kept(TlsError::Invalid { path: self.files.cert.clone(), error }))
    }

    /// Whether the certificate in use is valid now.
    ///
    /// # Errors
    /// Why it is not.
    pub fn validity(&self) -> Result<(), TlsError> {
        let validity = self.current.load().validity.at(validity::now());
        validity.map_err(|error| TlsError::Invalid { path: self.files.cert.clone(), error })
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
        self.current.load().validity.not_after
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}
