//! Which keys can be served, and the names of those that cannot.

use x509_parser::{public_key::PublicKey, x509::SubjectPublicKeyInfo};

pub(super) const SUPPORTED: &str = "use P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits";

const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// Curves by object identifier, as text and as DER.
const CURVES: [(&str, &[u8], &str); 6] = [
    ("1.3.132.0.35", &[6, 5, 0x2b, 0x81, 4, 0, 35], "P-521"),
    ("1.3.132.0.33", &[6, 5, 0x2b, 0x81, 4, 0, 33], "P-224"),
    ("1.3.132.0.10", &[6, 5, 0x2b, 0x81, 4, 0, 10], "secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], "brainpoolP512r1"),
];

/// What a key is, if it cannot be served.
pub(super) fn unsupported(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    match key.algorithm.algorithm.to_id_string().as_str() {
        ED25519 => None,
        EC => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok())?.to_id_string();
            let name = CURVES.iter().find(|(id, _, _)| *id == curve).map_or(curve.as_str(), |(_, _, name)| *name);
            (curve != P256 && curve != P384).then(|| format!("on the curve {name}"))
        }
        RSA => match key.parsed().ok()? {
            PublicKey::RSA(key) if !(2041..=4096).contains(&key.key_size()) => Some(format!("RSA of {} bits", key.key_size())),
            _ => None,
        },
        "1.2.840.113549.1.1.10" => Some("RSA for PSS alone".to_owned()),
        "1.2.840.10040.4.1" => Some("DSA".to_owned()),
        "1.3.101.113" => Some("Ed448".to_owned()),
        other => Some(format!("of the algorithm {other}")),
    }
}

/// The curve of a private key, DER, if it is one that cannot be served.
pub(super) fn unsupported_curve(key: &[u8]) -> Option<&'static str> {
    CURVES.iter().find(|(_, der, _)| key.windows(der.len()).any(|window| window == *der)).map(|(_, _, name)| *name)
}
