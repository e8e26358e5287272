//! Keys made for the test, and tokens signed with them by a library that is not ours.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use ring::rand::{SecureRandom, SystemRandom};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.test/realm";
pub const AUDIENCE: &str = "https://mcp.test/mcp";

/// One is enough: making it takes long.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = RsaPrivateKey::new(&mut OsRng, 2048).expect("an RSA key");
    key.to_pkcs1_der().expect("DER").as_bytes().to_vec()
});

/// A key of the issuer.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    pub algorithm: Algorithm,
    pub kid: String,
}

impl Signer {
    /// A new key, for RSA always the same.
    pub fn new(algorithm: Algorithm, kid: &str) -> Self {
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&ec(&PKCS_ECDSA_P256_SHA256)),
            Algorithm::ES384 => EncodingKey::from_ec_der(&ec(&PKCS_ECDSA_P384_SHA384)),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&ed25519()),
            _ => EncodingKey::from_rsa_der(&RSA),
        };
        Self { key, algorithm, kid: kid.to_owned() }
    }

    pub fn es256(kid: &str) -> Self {
        Self::new(Algorithm::ES256, kid)
    }

    /// The public half, as that library writes it.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) }
    }

    pub fn token(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).expect("signed")
    }

    /// A good token of somebody.
    pub fn token_of(&self, subject: &str) -> String {
        self.token(&with(json!({"sub": subject})))
    }

    /// Signs any text, which a library would not have signed.
    pub fn sign_raw(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(signed.as_bytes(), &self.key, self.algorithm).expect("signed");
        format!("{signed}.{signature}")
    }

    /// Claims as raw text, under this key's own header.
    pub fn sign_claims(&self, claims: &str) -> String {
        self.sign_raw(&serde_json::to_string(&self.header()).expect("JSON"), claims)
    }
}

pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch").as_secs()
}

/// Good claims of alice, changed; `null` takes one away.
pub fn with(changes: Value) -> Value {
    let now = seconds();
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300, "iat": now, "scope": "tools"});
    for (name, value) in changes.as_object().expect("a map") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("a map").retain(|_, value| !value.is_null());
    claims
}

/// `{"keys": [..]}`
pub fn key_set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

fn ec(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    KeyPair::generate_for(algorithm).expect("a key").serialize_der()
}

/// PKCS#8 without the public half, which is how the library wants it.
fn ed25519() -> Vec<u8> {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).expect("randomness");
    der.extend(seed);
    der
}
