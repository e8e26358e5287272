//! An issuer's public keys: a JWK Set (RFC 7517), and signature verification with it.
//!
//! | `kty` | accepted | for |
//! |---|---|---|
//! | `RSA` | 2048 to 8192 bits | RS256, RS384, RS512, PS256, PS384, PS512 |
//! | `EC` | P-256, P-384 | ES256, ES384 |
//! | `OKP` | Ed25519 | EdDSA |
//!
//! A key's `alg` restricts it to one of these; a key with a `use` other than `sig`, or `key_ops` without `verify`, is ignored. Unusable
//! keys are skipped, as the RFC requires, including symmetric ones.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    algorithm::Algorithm,
    rejection::Rejection,
    token::{Token, object},
};

/// The usable keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm that it may be used with, if the key names one.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Parses a document; `None` if it is not a JWK Set. An empty set is valid: the issuer has withdrawn all its keys.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        let JwkSet { keys } = object(document)?;
        Some(Self(keys.into_iter().filter_map(Key::of).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies that one of the keys signed the token.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Rejection> {
        let mut keys = self.named_by(token).peekable();
        keys.peek().ok_or(Rejection::UnknownKey)?;
        let signed = keys.any(|key| key.material.has_signed(token));
        if signed { Ok(()) } else { Err(Rejection::BadSignature) }
    }

    /// The keys that match the token's `kid` and algorithm. A token without a `kid` matches the only key of its algorithm, if there is
    /// exactly one.
    fn named_by(&self, token: &Token<'_>) -> impl Iterator<Item = &Key> {
        let algorithm = token.algorithm;
        let is_only = self.0.iter().filter(|key| key.is_for(algorithm)).take(2).count() == 1;
        self.0.iter().filter(move |key| {
            let named = token.kid.as_ref().map_or(is_only, |kid| key.kid.as_ref() == Some(kid));
            named && key.is_for(algorithm)
        })
    }
}

impl Key {
    fn of(value: Value) -> Option<Self> {
        let jwk: Jwk = value.is_object().then(|| serde_json::from_value(value).ok()).flatten()?;
        let for_signatures = jwk.r#use.as_ref().is_none_or(|purpose| purpose == "sig");
        let for_verifying = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let material = Material::of(&jwk)?;
        let algorithm = match &jwk.alg {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        (for_signatures && for_verifying).then_some(Self { kid: jwk.kid, algorithm, material })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.is_for(algorithm)
    }
}

impl Material {
    fn of(jwk: &Jwk) -> Option<Self> {
        let number = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (without_zeros(number(&jwk.n)?), without_zeros(number(&jwk.e)?));
                let fits = (2048 / 8..=8192 / 8).contains(&modulus.len()) && !exponent.is_empty();
                fits.then_some(Self::Rsa { modulus, exponent })
            }
            ("EC", Some("P-256")) => Some(Self::P256(point(number(&jwk.x)?, &number(&jwk.y)?, 32)?)),
            ("EC", Some("P-384")) => Some(Self::P384(point(number(&jwk.x)?, &number(&jwk.y)?, 48)?)),
            ("OKP", Some("Ed25519")) => number(&jwk.x).filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => rsa_parameters(algorithm).is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn has_signed(&self, token: &Token<'_>) -> bool {
        let (signed, signature) = (token.signed, token.signature.as_slice());
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
        };
        match self {
            Self::Rsa { modulus, exponent } => rsa_parameters(token.algorithm)
                .is_some_and(|parameters| RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, signed, signature).is_ok()),
            Self::P256(point) => by(&ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => by(&ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(key) => by(&ED25519, key),
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

/// Some issuers include the sign byte of ASN.1, which RFC 7518 forbids and ring rejects.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// An uncompressed point, from coordinates of exactly the curve's length.
fn point(x: Vec<u8>, y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), y].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(keys: Value) -> KeySet {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).expect("a JWK Set")
    }

    fn p256(changes: Value) -> Value {
        let coordinate = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate});
        for (name, value) in changes.as_object().expect("a map") {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn token(algorithm: Algorithm, kid: Option<&str>) -> Token<'static> {
        Token { algorithm, kid: kid.map(str::to_owned), claims: Vec::new(), signed: b"", signature: vec![0; 64] }
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let short = BASE64_URL_SAFE_NO_PAD.encode([7; 31]);
        let rsa = |bytes: usize| json!({"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode(vec![200; bytes]), "e": "AQAB"});
        let unusable = json!([
            1, null, "key", {}, ["OKP", null, null, null, null, "Ed25519"], {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "oct", "k": "c2VjcmV0", "alg": "ES256"},
            p256(json!({"use": "enc"})), p256(json!({"key_ops": ["sign"]})), p256(json!({"alg": "HS256"})), p256(json!({"alg": "ES512"})),
            p256(json!({"crv": "P-521"})), p256(json!({"x": short})), p256(json!({"y": null})), p256(json!({"x": "+"})), p256(json!({"kid": 1})),
            rsa(128), rsa(1025), {"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([200; 256])}, {"kty": "OKP", "crv": "Ed448", "x": short},
            {"kty": "OKP", "crv": "Ed25519", "x": short},
        ]);
        assert_eq!(set(unusable), KeySet::default());
        let usable = json!([
            p256(json!({})),
            p256(json!({"use": "sig", "key_ops": ["verify"], "alg": "ES256", "d": "private"})),
            rsa(256),
            rsa(1024)
        ]);
        assert_eq!(set(usable).len(), 4);
    }

    #[test]
    fn documents_that_are_not_key_sets_differ_from_empty_ones() {
        for document in ["", "null", "[]", "[[]]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>", r#"{"keys":[]} x"#] {
            assert_eq!(KeySet::parse(document.as_bytes()), None, "{document}");
        }
        assert_eq!(KeySet::parse(br#"{"keys":[], "more": 1}"#), Some(KeySet::default()));
    }

    #[test]
    fn a_kid_names_keys_of_its_algorithm_only() {
        let keys = set(json!([p256(json!({"kid": "a"})), p256(json!({"kid": "b", "alg": "ES256"})), p256(json!({}))]));
        for (algorithm, kid) in [(Algorithm::Rs256, "a"), (Algorithm::Es384, "a"), (Algorithm::Es256, "c"), (Algorithm::Es256, "")] {
            assert_eq!(keys.verify(&token(algorithm, Some(kid))), Err(Rejection::UnknownKey), "{algorithm:?} {kid}");
        }
        // A point that is not on the curve is not a valid key for any token.
        for kid in ["a", "b"] {
            assert_eq!(keys.verify(&token(Algorithm::Es256, Some(kid))), Err(Rejection::BadSignature), "{kid}");
        }
    }

    #[test]
    fn without_a_kid_there_has_to_be_no_choice() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode([7; 32]), "kid": "e"});
        let keys = set(json!([p256(json!({"kid": "a"})), p256(json!({"kid": "b"})), ed]));
        assert_eq!(keys.verify(&token(Algorithm::Es256, None)), Err(Rejection::UnknownKey));
        assert_eq!(keys.verify(&token(Algorithm::EdDsa, None)), Err(Rejection::BadSignature));
    }
}
