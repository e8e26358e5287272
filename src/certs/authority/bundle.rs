//! Bundles of CAs: `ca.crt` of the Secret, and `caBundle` of a webhook.

use super::Root;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// The certificates in a PEM text, each once. What is not one is left out.
pub fn read(pem: &[u8]) -> Vec<Root> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).filter_map(Root::read).collect();
    union([&found[..]])
}

/// As PEM.
pub fn pem(roots: &[Root]) -> String {
    roots.iter().map(Root::pem).collect()
}

/// Every CA of these bundles once, in the order in which they come.
pub fn union<'a>(bundles: impl IntoIterator<Item = &'a [Root]>) -> Vec<Root> {
    let mut all: Vec<Root> = Vec::new();
    for root in bundles.into_iter().flatten() {
        if !all.contains(root) {
            all.push(root.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{super::Ca, *};

    #[test]
    fn texts_are_read_leniently() {
        let [one, other] = [(); 2].map(|()| Ca::create(Duration::HOUR, OffsetDateTime::UNIX_EPOCH).expect("a CA").root().clone());
        let text = format!("# a comment\n{}{}\n{}garbage", one.pem(), other.pem(), one.pem());
        assert_eq!(read(text.as_bytes()), [one.clone(), other.clone()]);
        assert_eq!(read(pem(&[one.clone(), other.clone()]).as_bytes()), [one, other]);
        assert_eq!(read(b"garbage"), []);
    }
}
