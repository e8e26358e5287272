//! Certificates for development: a CA and a leaf in a folder, reused between runs.
//!
//! | file | what |
//! |---|---|
//! | `ca.crt` | the CA, for `caBundle` and `curl --cacert` |
//! | `ca.key` | its key, readable by its owner only |
//! | `tls.crt`, `tls.key` | the leaf that is served, and its key |
//!
//! Not for production: the CA's key is next to it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
};

/// The files of a folder of development certificates.
#[derive(Clone, Debug)]
pub struct DevCerts {
    /// The CA, PEM.
    pub ca: PathBuf,
    /// The leaf, PEM.
    pub cert: PathBuf,
    /// The leaf's key, PEM.
    pub key: PathBuf,
    /// The contents of [`DevCerts::ca`].
    pub ca_pem: String,
}

/// Why development certificates could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertsError {
    /// The folder or a file in it.
    #[error("cannot use {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The existing CA.
    #[error("the CA in {} is not usable ({why}): remove the folder to generate a new one", path.display())]
    Ca {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Generating a certificate failed.
    #[error("cannot generate a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

const CA_LIFE: Duration = Duration::days(3650);
const LEAF_LIFE: Duration = Duration::days(365);
/// A leaf with less than this left is replaced.
const RENEW_BEFORE: Duration = Duration::days(30);

/// The certificates in `folder`, generated or renewed as needed so that the leaf is valid for `names` (DNS names and IP addresses) at
/// `now` and some time after. Concurrent processes wait for each other.
///
/// # Errors
/// When the folder cannot be used, or contains an unusable CA.
pub fn ensure_dev(folder: &Path, names: &[String], now: OffsetDateTime) -> Result<DevCerts, CertsError> {
    let in_folder = |error| CertsError::Io { path: folder.to_owned(), error };
    fs::create_dir_all(folder).map_err(in_folder)?;
    let lock = File::create(folder.join(".lock")).map_err(in_folder)?;
    lock.lock().map_err(in_folder)?;
    let certs = DevCerts { ca: folder.join("ca.crt"), cert: folder.join("tls.crt"), key: folder.join("tls.key"), ca_pem: String::new() };
    let ca_key = folder.join("ca.key");
    if !certs.ca.exists() || !ca_key.exists() {
        make_ca(&certs.ca, &ca_key, now)?;
    }
    let ca_pem = read(&certs.ca)?;
    let leaf_is_good = match (fs::read(&certs.cert), fs::read_to_string(&certs.key)) {
        (Ok(leaf), Ok(key)) => covers(&leaf, names, now + RENEW_BEFORE) && belongs(&leaf, &key, &ca_pem).unwrap_or_default(),
        _ => false,
    };
    if !leaf_is_good {
        let unusable = |why: rcgen::Error| CertsError::Ca { path: folder.to_owned(), why: why.to_string() };
        let key = KeyPair::from_pem(&read(&ca_key)?).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(unusable)?;
        make_leaf(&issuer, names, now, &certs)?;
    }
    Ok(DevCerts { ca_pem, ..certs })
}

fn make_ca(cert: &Path, key: &Path, now: OffsetDateTime) -> Result<(), CertsError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "tollgate development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - Duration::days(1);
    params.not_after = now + CA_LIFE;
    let pair = KeyPair::generate()?;
    let ca = params.self_signed(&pair)?;
    write_private(key, pair.serialize_pem().as_bytes())?;
    write_private(cert, ca.pem().as_bytes())
}

fn make_leaf(issuer: &Issuer<'_, KeyPair>, names: &[String], now: OffsetDateTime, certs: &DevCerts) -> Result<(), CertsError> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "tollgate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - Duration::days(1);
    params.not_after = now + LEAF_LIFE;
    params.serial_number = Some(SerialNumber::from_slice(&now.unix_timestamp_nanos().to_be_bytes()[8..]));
    debug_assert!(params.subject_alt_names.iter().all(|name| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_))));
    let pair = KeyPair::generate()?;
    let leaf = params.signed_by(&pair, issuer)?;
    write_private(&certs.key, pair.serialize_pem().as_bytes())?;
    write_private(&certs.cert, leaf.pem().as_bytes())
}

/// Whether a certificate is still valid at `until`, for all of `names`.
fn covers(pem: &[u8], names: &[String], until: OffsetDateTime) -> bool {
    let Ok((_, pem)) = parse_x509_pem(pem) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return false };
    let has = |name: &String| {
        alternative.value.general_names.iter().any(|known| match known {
            GeneralName::DNSName(dns) => dns == name,
            GeneralName::IPAddress(bytes) => match name.parse() {
                Ok(IpAddr::V4(ip)) => ip.octets() == **bytes,
                Ok(IpAddr::V6(ip)) => ip.octets() == **bytes,
                Err(_) => false,
            },
            _ => false,
        })
    };
    certificate.validity().not_after.timestamp() > until.unix_timestamp() && names.iter().all(has)
}

/// Whether a certificate has this key and comes from this CA. Not the case after one of the files was removed, or a crash between two writes.
fn belongs(leaf: &[u8], key: &str, ca: &str) -> Option<bool> {
    let (leaf, ca) = (parse_x509_pem(leaf).ok()?.1, parse_x509_pem(ca.as_bytes()).ok()?.1);
    let (leaf, ca) = (leaf.parse_x509().ok()?, ca.parse_x509().ok()?);
    let issuer = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
        _ => None,
    });
    let authority = ca.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id),
        _ => None,
    });
    let key = KeyPair::from_pem(key).ok()?;
    Some(issuer? == authority? && leaf.public_key().raw == key.subject_public_key_info())
}

fn read(path: &Path) -> Result<String, CertsError> {
    fs::read_to_string(path).map_err(|error| CertsError::Io { path: path.to_owned(), error })
}

/// Writes a file that only its owner can read, atomically.
fn write_private(path: &Path, contents: &[u8]) -> Result<(), CertsError> {
    let failed = |error| CertsError::Io { path: path.to_owned(), error };
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(failed)?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn kept_between_runs_and_renewed_when_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let leaf = |names: &[String], now| {
            let certs = ensure_dev(folder.path(), names, now).expect("certificates");
            (certs.ca_pem, fs::read_to_string(certs.cert).expect("a leaf"))
        };
        let here = names(&["localhost", "127.0.0.1", "::1"]);
        let first = leaf(&here, now);
        assert_eq!(leaf(&here, now + Duration::days(300)), first);
        let renewed = leaf(&here, now + Duration::days(340));
        assert_eq!(renewed.0, first.0);
        assert_ne!(renewed.1, first.1);
        let wider = leaf(&names(&["localhost", "10.1.2.3"]), now + Duration::days(340));
        assert_ne!(wider.1, renewed.1);
    }

    #[test]
    fn a_broken_ca_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.crt"), "garbage").expect("written");
        fs::write(folder.path().join("ca.key"), "garbage").expect("written");
        let error = ensure_dev(folder.path(), &names(&["localhost"]), OffsetDateTime::now_utc()).expect_err("garbage signs nothing");
        assert!(error.to_string().contains("remove the folder"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("ca.crt")).expect("still there"), "garbage");
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        ensure_dev(folder.path(), &names(&["localhost"]), OffsetDateTime::now_utc()).expect("certificates");
        for key in ["ca.key", "tls.key"] {
            let mode = fs::metadata(folder.path().join(key)).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{key}");
        }
    }
}
