//! Digests of user ids, for readers who may see the state of buckets but not the users' identities.
//!
//! The hash is keyed, since ids can be guessed: an unkeyed hash of `alice` is found by hashing names. Proxies that share buckets share the
//! key, so that a user has the same digest in all of them ([`stores::Redis::digest_key`](crate::stores::Redis)).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a digest: short enough to read, and long enough to distinguish a million users.
const BYTES: usize = 6;

/// A secret key for digests, of 32 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey([u8; Self::BYTES]);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

impl DigestKey {
    /// The length of a key.
    pub const BYTES: usize = 32;

    /// A key of these bytes, which must be random.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes. Store them only where readers may know the users.
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The first 12 hex digits of HMAC-SHA-256, as `hmac:7b1f5be0de2a`.
    pub fn digest(&self, text: &[u8]) -> String {
        // A key shorter than a block is padded with zeros (RFC 2104, 2).
        let mut block = [0; 64];
        block.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(text);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(BYTES).fold("hmac:".to_owned(), |digest, byte| digest + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_an_hmac() {
        // printf alice | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707..07
        assert_eq!(DigestKey::new([7; 32]).digest(b"alice"), "hmac:6a8851c590dd");
        assert_ne!(DigestKey::new([8; 32]).digest(b"alice"), DigestKey::new([7; 32]).digest(b"alice"));
        assert_eq!(format!("{:?}", DigestKey::new([7; 32])), "DigestKey(..)");
    }
}
