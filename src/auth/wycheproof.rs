//! Project Wycheproof's test vectors (`tests/cases/wycheproof`): tokens and signatures that verifiers have wrongly accepted.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{algorithm::Algorithm, keys::KeySet, rejection::Rejection, token::Token};

/// Tokens, and the keys to verify them with.
#[derive(Deserialize)]
struct Tokens {
    comment: String,
    jwks: Value,
    tests: Vec<OfToken>,
}

#[derive(Deserialize)]
struct OfToken {
    id: u32,
    jws: String,
    result: Outcome,
}

/// Signatures by one key.
#[derive(Deserialize)]
struct Signatures {
    jwk: Value,
    tests: Vec<OfSignature>,
}

#[derive(Deserialize)]
struct OfSignature {
    id: u32,
    comment: String,
    msg: String,
    sig: String,
    result: Outcome,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Valid,
    Acceptable,
    Invalid,
}

fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/wycheproof/{name}.json"));
    serde_json::from_slice(&fs::read(path).expect("the vectors are there")).expect("vectors")
}

fn keys(jwks: &Value) -> KeySet {
    KeySet::parse(jwks.to_string().as_bytes()).expect("a JWK Set")
}

/// The reason for rejecting a token; empty if it is accepted.
fn judged(jwks: &Value, jws: &str) -> &'static str {
    Token::parse(jws).and_then(|token| keys(jwks).verify(&token)).map_or_else(Rejection::reason, |()| "")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    hex.as_bytes().chunks(2).map(|pair| digits(pair).expect("hexadecimal")).collect()
}

/// `differs` lists where tollgate's result differs from the vectors'; `reasons` counts the rejections by group.
fn assert_tokens(name: &str, differs: &[(u32, &str)], reasons: &[(&str, &[(&str, usize)])]) {
    let (mut found, mut counts) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, usize>>::new());
    let groups: Vec<Tokens> = vectors(name);
    for Tokens { comment, jwks, tests } in &groups {
        for OfToken { id, jws, result } in tests {
            let reason = judged(jwks, jws);
            if reason.is_empty() != (*result == Outcome::Valid) {
                found.insert(*id, reason);
            }
            *counts.entry(comment.as_str()).or_default().entry(reason).or_default() += 1;
        }
    }
    assert_eq!(found, differs.iter().copied().collect(), "{name}");
    assert_eq!(counts, reasons.iter().map(|(group, reasons)| (*group, reasons.iter().copied().collect())).collect(), "{name}");
}

#[test]
fn tokens() {
    let differs: [&[(u32, &str)]; 5] = [
        &[1, 348, 352, 357, 358, 359, 373, 376, 377].map(|id| (id, "algorithm")), // HMAC: no public key may be taken for a secret.
        &[347, 351].map(|id| (id, "algorithm")),                                  // P-521, which no issuer of such tokens uses.
        &[346, 350].map(|id| (id, "unknown_key")),                                // Signed as PS384, with a key that says PS256.
        &[259, 264, 268, 272, 320, 325].map(|id| (id, "malformed")),              // Empty payloads, which are not claims.
        &[(372, "malformed")],                                                    // A character that base64url does not have.
    ];
    let reasons: [(&str, &[(&str, usize)]); 14] = [
        ("SpecialCaseEs256", &[("", 1), ("signature", 23)]),
        ("base64", &[("algorithm", 18), ("malformed", 3)]),
        ("ec_key_for_encryption", &[("unknown_key", 2)]),
        ("es256", &[("", 1), ("algorithm", 1), ("malformed", 8), ("signature", 4), ("unknown_key", 1)]),
        ("hs256", &[("algorithm", 6), ("malformed", 11)]),
        ("ps256", &[("", 5), ("malformed", 1), ("signature", 42)]),
        ("ps384", &[("", 3), ("malformed", 1), ("signature", 1)]),
        ("ps512", &[("", 3), ("algorithm", 4), ("malformed", 1), ("signature", 7), ("unknown_key", 5)]),
        ("rfc7520", &[("", 1), ("algorithm", 3), ("unknown_key", 1)]),
        ("rfc7520WithKeyOps", &[("", 1), ("algorithm", 1), ("unknown_key", 1)]),
        ("rs256", &[("", 5), ("malformed", 9), ("signature", 216), ("unknown_key", 1)]),
        ("rs384", &[("", 3), ("malformed", 1)]),
        ("rs512", &[("", 3), ("malformed", 1)]),
        ("rsa_encryption", &[("unknown_key", 2)]),
    ];
    assert_tokens("jws", &differs.concat(), &reasons);
}

#[test]
fn key_sets() {
    let differs: [&[(u32, &str)]; 2] = [
        &[2, 13, 14, 15].map(|id| (id, "algorithm")), // HMAC.
        // A key that can be factored (ROCA), which is accepted. A key set comes from the issuer over TLS, so no one else can put such a key
        // there, and an issuer that made one in 2012-2017 hardware has lost it as if it had leaked: it must replace it. A fingerprint test
        // would find this one flaw of one library, and refuse keys that are sound by chance.
        &[(7, "")],
    ];
    let reasons: [(&str, &[(&str, usize)]); 18] = [
        ("HS256", &[("algorithm", 3)]),
        ("HS384", &[("algorithm", 3)]),
        ("HS512", &[("algorithm", 3)]),
        ("exponentOne", &[("malformed", 1)]),
        ("invalid_aes_gcm_key", &[("algorithm", 1)]),
        ("invalid_aes_kw_key", &[("algorithm", 1)]),
        ("invalid_algorithm", &[("unknown_key", 1)]),
        ("invalid_point", &[("signature", 1)]),
        ("invalid_use", &[("unknown_key", 1)]),
        ("jws_duplicate_kid", &[("algorithm", 1)]),
        ("jws_keyset", &[("algorithm", 2)]),
        ("jws_mixedSymmetryKeyset", &[("algorithm", 1)]),
        ("jws_rsa_roca_key", &[("", 1)]),
        ("keysize_too_small", &[("malformed", 1)]),
        ("rs256", &[("", 1), ("unknown_key", 1)]),
        ("wrong_algorithm", &[("unknown_key", 1)]),
        ("wrong_curve", &[("unknown_key", 1)]),
        ("wrong_kty", &[("unknown_key", 1)]),
    ];
    assert_tokens("jwk", &differs.concat(), &reasons);
}

/// Their tokens have no claims and would be rejected for that alone.
#[test]
fn weak_keys() {
    let groups: Vec<Tokens> = vectors("jwk");
    for (comment, want) in [("keysize_too_small", Rejection::UnknownKey), ("exponentOne", Rejection::BadSignature)] {
        let Tokens { jwks, tests, .. } = groups.iter().find(|group| group.comment == comment).expect("a group");
        let (signed, signature) = tests[0].jws.rsplit_once('.').expect("a token");
        let (algorithm, signature) = (Algorithm::Rs256, BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url"));
        let token = Token { algorithm, kid: None, claims: Vec::new(), signed: signed.as_bytes(), signature };
        assert_eq!(keys(jwks).verify(&token), Err(want), "{comment}");
    }
}

#[test]
fn signatures() {
    for (name, algorithm) in [
        ("rs256", Algorithm::Rs256),
        ("rs384", Algorithm::Rs384),
        ("rs512", Algorithm::Rs512),
        ("ps256", Algorithm::Ps256),
        ("ps384", Algorithm::Ps384),
        ("es256", Algorithm::Es256),
        ("es384", Algorithm::Es384),
        ("eddsa", Algorithm::EdDsa),
    ] {
        for Signatures { jwk, tests } in vectors::<Vec<Signatures>>(name) {
            let keys = keys(&json!({"keys": [jwk]}));
            for test in tests {
                let signed = bytes(&test.msg);
                let token = Token { algorithm, kid: None, claims: Vec::new(), signed: &signed, signature: bytes(&test.sig) };
                // "Acceptable" vectors may be rejected: RFC 8017 requires the NULL that some algorithm identifiers lack.
                let want = if test.result == Outcome::Valid { Ok(()) } else { Err(Rejection::BadSignature) };
                assert_eq!(keys.verify(&token), want, "{name} {}: {}", test.id, test.comment);
            }
        }
    }
}
