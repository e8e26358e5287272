//! Parses a token: `base64url(header) . base64url(claims) . base64url(signature)`, RFC 7515's compact form. Nothing here is verified.
//!
//! Parsing is strict, so that every other implementation reads the same token: unpadded base64url, no duplicate members among those used,
//! no critical extensions (`crit`). Keys and key URLs in the header (`jwk`, `jku`, `x5u`) are ignored.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{algorithm::Algorithm, rejection::Rejection};

/// The parts of a token.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    /// The ID of the issuer's key, as named by the token.
    pub(super) kid: Option<String>,
    /// The claims, as JSON text.
    pub(super) claims: Vec<u8>,
    /// The signing input: header and claims as they were sent.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Allowed values of `typ`, if present. Security events and logout tokens are signed with the same keys, but do not authenticate (RFC 8725,
/// 3.11).
const TYPES: [&str; 4] = ["JWT", "at+jwt", "application/jwt", "application/at+jwt"];

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Rejection> {
        let (signed, signature) = text.rsplit_once('.').ok_or(NOT_COMPACT)?;
        let (header, claims) = signed.split_once('.').ok_or(NOT_COMPACT)?;
        if claims.contains('.') || [header, claims].contains(&"") {
            return Err(NOT_COMPACT);
        }
        let header = decode(header)?;
        let header: Header<'_> = object(&header).ok_or(Rejection::Malformed("its header is not a JSON object with an alg"))?;
        let algorithm = Algorithm::named(&header.alg).ok_or(Rejection::AlgorithmNotAllowed)?;
        if header.crit.is_some() {
            return Err(Rejection::Malformed("its header has crit, and no extension is supported"));
        }
        if header.typ.is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(&typ))) {
            return Err(Rejection::Malformed("its header's typ is neither JWT nor at+jwt"));
        }
        Ok(Self { algorithm, kid: header.kid, claims: decode(claims)?, signed: signed.as_bytes(), signature: decode(signature)? })
    }
}

/// Whether a token is opaque, that is not a JWS, valid or not: three parts of which the first is a JSON object. Only its issuer can
/// interpret it.
pub(super) fn is_opaque(text: &str) -> bool {
    let is_object = |part| decode(part).is_ok_and(|part| object::<serde_json::Map<String, Value>>(&part).is_some());
    text.split('.').count() != 3 || !text.split('.').next().is_some_and(is_object)
}

const NOT_COMPACT: Rejection = Rejection::Malformed("it does not have three parts separated by dots");

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed("a part is not unpadded base64url"))
}

/// Parses a JSON object. Derived decoders would also accept an array of members, by position.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    fn rejection(text: &str) -> Rejection {
        Token::parse(text).expect_err(text)
    }

    #[test]
    fn the_parts_are_those_that_were_sent() {
        let text = token(r#"{"alg":"ES256","kid":"a\u0062","typ":"AT+JWT","jwk":{"kty":"oct"}}"#, "{}");
        let token = Token::parse(&text).expect("a good token");
        assert_eq!((token.algorithm, token.kid.as_deref()), (Algorithm::Es256, Some("ab")));
        assert_eq!((token.claims.as_slice(), token.signature.as_slice()), (&b"{}"[..], &b"sig"[..]));
        assert_eq!(token.signed, text.rsplit_once('.').expect("it has dots").0.as_bytes());
    }

    #[test]
    fn a_token_that_is_not_compact_is_malformed() {
        for text in ["", "garbage", ".", "..", "a.b", "a..c", ".b.c", "a.b.c.d", "e30.e30.c2ln.", "...."] {
            assert_eq!(rejection(text), NOT_COMPACT, "{text}");
        }
    }

    #[test]
    fn a_token_that_is_not_a_jws_is_opaque() {
        for text in ["", "garbage", "ya29.a0Af_x", "a.b.c", "e30.e30.e30.e30.e30", "W10.e30.c2ln"] {
            assert!(is_opaque(text), "{text}");
        }
        for text in ["e30.e30.c2ln", "e30..", "e30.x.!"] {
            assert!(!is_opaque(text), "{text}: it is a bad one");
        }
        assert!(!is_opaque(&token(r#"{"alg":"none"}"#, "{}")));
    }

    #[test]
    fn base64_is_strict() {
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        for text in ["e30=.e30.c2ln", "e3 0.e30.c2ln", "e31.e30.c2ln", "é.e30.c2ln"].map(str::to_owned).into_iter().chain([
            format!("{header}.e30=.c2ln"),
            format!("{header}.e30.c2l+"),
            format!("{header}.e30.c2ln\n"),
        ]) {
            assert_eq!(rejection(&text), Rejection::Malformed("a part is not unpadded base64url"), "{text}");
        }
    }

    #[test]
    fn only_asymmetric_algorithms_are_allowed() {
        for alg in ["none", "None", "", "HS256", "HS512", "es256", "ES256K", "ES512", "RS1", "dir"] {
            assert_eq!(rejection(&token(&format!(r#"{{"alg":"{alg}"}}"#), "{}")), Rejection::AlgorithmNotAllowed, "{alg}");
        }
    }

    #[test]
    fn headers_that_can_be_read_two_ways_are_malformed() {
        let not_an_object = Rejection::Malformed("its header is not a JSON object with an alg");
        for header in [
            "{}",
            "null",
            r#"["ES256","kid",null,null]"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","alg":"none"}"#,
            r#"{"alg":"ES256","al\u0067":"none"}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"alg":"ES256"} {}"#,
            "\u{feff}{\"alg\":\"ES256\"}",
        ] {
            assert_eq!(rejection(&token(header, "{}")), not_an_object, "{header}");
        }
        let deep = format!(r#"{{"alg":"ES256","x":{}"#, "[".repeat(10_000));
        assert_eq!(rejection(&token(&deep, "{}")), not_an_object);
        assert!(
            matches!(rejection(&token(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}")), Rejection::Malformed(why) if why.contains("crit"))
        );
        assert!(
            matches!(rejection(&token(r#"{"alg":"ES256","typ":"logout+jwt"}"#, "{}")), Rejection::Malformed(why) if why.contains("typ"))
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[A-Za-z0-9_.=é-]{0,80}", header in ".{0,40}", claims in ".{0,40}") {
            let _ = Token::parse(&text);
            let _ = Token::parse(&token(&header, &claims));
        }
    }
}
