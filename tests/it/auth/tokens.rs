//! Valid and invalid tokens, each with the reason.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tollgate::auth::{LONGEST_TOKEN, Rejection, Verifier};

use super::{
    issuer::from_file,
    signer::{ISSUER, Signer, seconds, with},
};

async fn rejection(verifier: &Verifier, token: &str) -> Rejection {
    match verifier.verify(token).await {
        Ok(caller) => panic!("let in: {caller:?} by {token}"),
        Err(rejection) => rejection,
    }
}

#[tokio::test]
async fn every_allowed_algorithm_of_another_library_is_understood() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let signers =
        [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA].map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let (verifier, _folder) = from_file(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let caller = verifier.verify(&signer.token_of("alice")).await.unwrap_or_else(|why| panic!("{}: {why}", signer.kid));
        assert_eq!((caller.subject(), caller.issuer()), ("alice", Some(ISSUER)));
        // One bit of the signature, another subject, and the same signature under another key's name.
        let token = signer.token_of("bob");
        let (signed, signature) = token.rsplit_once('.').expect("it has dots");
        let mut bits = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64");
        bits[7] ^= 1;
        let flipped = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(bits));
        assert_eq!(rejection(&verifier, &flipped).await, Rejection::BadSignature, "{}", signer.kid);
        let another = signer.token_of("mallory");
        let grafted = format!("{}.{signature}", another.rsplit_once('.').expect("it has dots").0);
        assert_eq!(rejection(&verifier, &grafted).await, Rejection::BadSignature, "{}", signer.kid);
        assert_eq!(rejection(&verifier, &format!("{signed}.")).await, Rejection::BadSignature, "{}", signer.kid);
    }
}

#[tokio::test]
async fn a_key_is_used_for_its_own_algorithm_only() {
    let (rs256, es256) = (Signer::new(Algorithm::RS256, "r"), Signer::es256("e"));
    let (verifier, _folder) = from_file(&[&rs256, &es256]);
    for (algorithm, kid) in [(Algorithm::RS384, "r"), (Algorithm::PS256, "r"), (Algorithm::ES256, "r"), (Algorithm::RS256, "e")] {
        let token = Signer::new(algorithm, kid).token_of("alice");
        assert_eq!(rejection(&verifier, &token).await, Rejection::UnknownKey, "{algorithm:?} {kid}");
    }
}

/// The classic: the public key, which everybody has, as the secret of an HMAC.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let signer = Signer::new(Algorithm::RS256, "r");
    let (verifier, _folder) = from_file(&[&signer]);
    let jwk = signer.jwk();
    let modulus = jwk["n"].as_str().expect("RSA has one");
    let secrets =
        [jwk.to_string().into_bytes(), modulus.as_bytes().to_vec(), BASE64_URL_SAFE_NO_PAD.decode(modulus).expect("base64"), Vec::new()];
    for secret in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = Header { kid: Some("r".to_owned()), ..Header::new(algorithm) };
            let token = encode(&header, &with(json!({})), &EncodingKey::from_secret(&secret)).expect("signed");
            assert_eq!(rejection(&verifier, &token).await, Rejection::AlgorithmNotAllowed);
        }
    }
}

#[tokio::test]
async fn tokens_without_a_signature_are_not_let_in() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let claims = BASE64_URL_SAFE_NO_PAD.encode(with(json!({})).to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "e"}).to_string());
        for signature in ["", "e30"] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(rejection(&verifier, &token).await, Rejection::AlgorithmNotAllowed, "{alg:?}");
        }
    }
    let header = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "e"}).to_string());
    for signature in [vec![], vec![0; 64], vec![255; 64], vec![0; 63], vec![0; 4096]] {
        let token = format!("{header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(&signature));
        assert_eq!(rejection(&verifier, &token).await, Rejection::BadSignature, "{} bytes", signature.len());
    }
}

/// Signed well, by the right key, and no good.
#[tokio::test]
async fn each_claim_is_judged() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let now = seconds();
    let cases: Vec<(Value, Rejection)> = vec![
        (json!({"exp": now - 61}), Rejection::Expired),
        (json!({"exp": 0}), Rejection::Expired),
        (json!({"exp": null}), Rejection::Malformed("exp is missing")),
        (json!({"nbf": now + 90}), Rejection::NotYetValid),
        (json!({"iat": now + 90}), Rejection::NotYetValid),
        (json!({"aud": "https://other.test"}), Rejection::WrongAudience),
        (json!({"aud": [], "azp": "mcp"}), Rejection::WrongAudience),
        (json!({"aud": null}), Rejection::Malformed("aud is missing")),
        (json!({"iss": "https://issuer.test/realm/"}), Rejection::WrongIssuer),
        (json!({"iss": "https://issuer.test/realm2"}), Rejection::WrongIssuer),
        (json!({"iss": null}), Rejection::Malformed("iss is missing")),
        (json!({"sub": null}), Rejection::NoSubject),
        (json!({"sub": ""}), Rejection::NoSubject),
        (json!({"sub": 42}), Rejection::NoSubject),
        (json!({"sub": ["alice"]}), Rejection::NoSubject),
    ];
    for (changes, reason) in cases {
        assert_eq!(rejection(&verifier, &signer.token(&with(changes.clone()))).await, reason, "{changes}");
    }
    for changes in [json!({"exp": now - 50}), json!({"nbf": now + 50}), json!({"aud": ["x", "mcp"]}), json!({"exp": now as f64 + 60.5})] {
        assert!(verifier.verify(&signer.token(&with(changes.clone()))).await.is_ok(), "{changes}");
    }
}

#[tokio::test]
async fn claims_and_headers_that_parsers_read_differently_are_refused_even_when_signed() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let good = with(json!({})).to_string();
    assert!(verifier.verify(&signer.sign_claims(&good)).await.is_ok(), "the helper signs well");
    let twice = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    for claims in [twice(r#""sub":"bob""#), twice(r#""\u0073ub":"bob""#), twice(r#""exp":1"#), format!("[{good}]"), "[".repeat(9_000)] {
        let malformed = Rejection::Malformed("its claims are not a JSON object with the right types");
        assert_eq!(rejection(&verifier, &signer.sign_claims(&claims)).await, malformed, "{claims:.80}");
    }
    for header in [r#"{"alg":"none","alg":"ES256","kid":"e"}"#, r#"{"alg":"ES256","kid":"x","kid":"e"}"#] {
        let malformed = Rejection::Malformed("its header is not a JSON object with an alg");
        assert_eq!(rejection(&verifier, &signer.sign_raw(header, &good)).await, malformed, "{header}");
    }
    // A key that the token brings along is not looked at.
    let own = Signer::es256("own");
    let header = json!({"alg": "ES256", "jwk": own.jwk(), "kid": "own", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"});
    assert_eq!(rejection(&verifier, &own.sign_raw(&header.to_string(), &good)).await, Rejection::UnknownKey);
}

#[tokio::test]
async fn what_is_no_token_is_told_so() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let token = signer.token_of("alice");
    for text in ["", "garbage", "..", "...", "a.b", "\u{0}.\u{0}.\u{0}", "é.é.é"].map(str::to_owned).into_iter().chain([
        format!("{token}.x"),
        format!("{token}="),
        format!("{token}\n"),
        format!("Bearer {token}"),
        token.replacen('.', "..", 1),
    ]) {
        assert!(matches!(rejection(&verifier, &text).await, Rejection::Malformed(_)), "{text:?}");
    }
}

#[tokio::test]
async fn long_tokens_are_not_read() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let of = |padding: usize| signer.token(&with(json!({"x": "x".repeat(padding)})));
    let room = (LONGEST_TOKEN - of(0).len()) / 4 * 3 - 3;
    let long = of(room);
    assert!((LONGEST_TOKEN - 8..=LONGEST_TOKEN).contains(&long.len()), "{}", long.len());
    assert!(verifier.verify(&long).await.is_ok());
    assert_eq!(rejection(&verifier, &of(room + 12)).await, Rejection::TooLong);
    let began = Instant::now();
    assert_eq!(rejection(&verifier, &of(48_000)).await, Rejection::TooLong);
    assert_eq!(rejection(&verifier, &".".repeat(10_000_000)).await, Rejection::TooLong);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_only_key_needs_no_name() {
    let (one, another) = (Signer::es256("a"), Signer::es256("b"));
    let nameless = |signer: &Signer| signer.sign_raw(r#"{"alg":"ES256"}"#, &with(json!({})).to_string());
    let (verifier, _folder) = from_file(&[&one, &Signer::new(Algorithm::EdDSA, "c")]);
    assert!(verifier.verify(&nameless(&one)).await.is_ok());
    assert_eq!(rejection(&verifier, &nameless(&another)).await, Rejection::BadSignature);
    let (verifier, _folder) = from_file(&[&one, &another]);
    assert_eq!(rejection(&verifier, &nameless(&one)).await, Rejection::UnknownKey);
}
