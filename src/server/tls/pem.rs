//! Certificates in PEM files.

use std::{fmt, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::TlsError;

/// The certificates of a file; it holds at least one.
pub(super) fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| broken(path, error))?;
    if chain.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), what: "certificate (BEGIN CERTIFICATE)" });
    }
    Ok(chain)
}

/// A file that cannot be used.
pub(super) fn broken(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError::Broken { path: path.to_owned(), why: why.to_string() }
}
