//! Validates a token's claims. The time is an argument.
//!
//! | claim | requirement |
//! |---|---|
//! | `iss` | equals the issuer, byte for byte |
//! | `aud` | one of our audiences, or a list with one of them |
//! | `exp` | present, and not past by more than the leeway |
//! | `nbf`, `iat` | if present, not in the future by more than the leeway |
//! | `sub` | a non-empty string |
//!
//! A duplicate claim is rejected (RFC 7519, 4, allows that); other claims are ignored.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{rejection::Rejection, token::object};

/// The issuer and the audiences that tokens must have.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    /// The tolerated clock difference between the issuer and this host.
    pub(super) leeway: Duration,
}

/// Seconds since the epoch, as in RFC 7519's NumericDate: fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct UnixTime(pub(super) f64);

/// Validated claims.
#[derive(Debug, PartialEq)]
pub(super) struct Accepted {
    pub(super) subject: String,
    /// When the claims expire: `exp` plus the leeway.
    pub(super) until: UnixTime,
}

/// Claims that are not validated yet.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    #[serde(default)]
    sub: Value,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl Expected {
    /// Validates the claims of a token as of `now`.
    pub(super) fn accepts(&self, json: &[u8], now: UnixTime) -> Result<Accepted, Rejection> {
        let claims: Claims = object(json).ok_or(Rejection::Malformed("its claims are not a JSON object with the right types"))?;
        let issuer = claims.iss.as_ref().ok_or(Rejection::Malformed("iss is missing"))?;
        self.is_issuer(issuer)?;
        self.is_audience(claims.aud.as_ref())?;
        let expires = claims.exp.ok_or(Rejection::Malformed("exp is missing"))?;
        self.accepts_times(&claims, Some(expires), now)?;
        Ok(Accepted { subject: subject(claims.sub)?, until: self.until(expires) })
    }

    /// Validates the issuer's introspection response for an active token (RFC 7662, 2.2). The rules are the same, but `iss` and `exp` may
    /// be missing.
    pub(super) fn accepts_active(&self, claims: Claims, now: UnixTime) -> Result<Accepted, Rejection> {
        if let Some(issuer) = &claims.iss {
            self.is_issuer(issuer)?;
        }
        self.is_audience(claims.aud.as_ref())?;
        self.accepts_times(&claims, claims.exp, now)?;
        let until = claims.exp.map_or(UnixTime(f64::INFINITY), |expires| self.until(expires));
        Ok(Accepted { subject: subject(claims.sub)?, until })
    }

    fn is_issuer(&self, issuer: &str) -> Result<(), Rejection> {
        if issuer == self.issuer { Ok(()) } else { Err(Rejection::WrongIssuer) }
    }

    fn is_audience(&self, audience: Option<&Audience>) -> Result<(), Rejection> {
        let audience = audience.ok_or(Rejection::Malformed("aud is missing"))?;
        let is_ours = audience.names().iter().any(|name| self.audiences.contains(name));
        if is_ours { Ok(()) } else { Err(Rejection::WrongAudience) }
    }

    fn accepts_times(&self, claims: &Claims, expires: Option<f64>, now: UnixTime) -> Result<(), Rejection> {
        if expires.is_some_and(|expires| now >= self.until(expires)) {
            return Err(Rejection::Expired);
        }
        let earliest = now.0 + self.leeway.as_secs_f64();
        let is_early = [claims.nbf, claims.iat].into_iter().flatten().any(|from| from > earliest);
        if is_early { Err(Rejection::NotYetValid) } else { Ok(()) }
    }

    fn until(&self, expires: f64) -> UnixTime {
        UnixTime(expires + self.leeway.as_secs_f64())
    }
}

fn subject(claim: Value) -> Result<String, Rejection> {
    match claim {
        Value::String(subject) if !subject.is_empty() => Ok(subject),
        _ => Err(Rejection::NoSubject),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000.0);

    fn judge(claims: &str) -> Result<Accepted, Rejection> {
        let audiences = vec!["https://mcp.example".to_owned(), "mcp".to_owned()];
        let expected = Expected { issuer: "https://issuer.example".to_owned(), audiences, leeway: Duration::from_secs(60) };
        expected.accepts(claims.as_bytes(), NOW)
    }

    /// Valid claims with changes applied; `null` removes a claim.
    fn with(changes: Value) -> Result<Accepted, Rejection> {
        let mut claims = json!({"iss": "https://issuer.example", "aud": "mcp", "exp": 1_800_000_300, "sub": "alice"});
        for (name, value) in changes.as_object().expect("a map") {
            claims[name] = value.clone();
        }
        judge(&claims.to_string())
    }

    #[test]
    fn good_ones_are_accepted_until_they_expire() {
        for audience in [json!("mcp"), json!(["x", "mcp"]), json!(["https://mcp.example"])] {
            let accepted = Accepted { subject: "alice".to_owned(), until: UnixTime(1_800_000_360.0) };
            assert_eq!(
                with(json!({"aud": audience, "nbf": 1_799_999_999.5, "iat": 1_800_000_000, "scope": {"any": "thing"}})),
                Ok(accepted)
            );
        }
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        for issuer in [json!("https://issuer.example/"), json!("https://ISSUER.example"), json!(" https://issuer.example"), json!("")] {
            assert_eq!(with(json!({"iss": issuer})), Err(Rejection::WrongIssuer), "{issuer}");
        }
        assert_eq!(with(json!({"iss": null})), Err(Rejection::Malformed("iss is missing")));
    }

    #[test]
    fn the_audience_is_compared_byte_for_byte() {
        for audience in [json!("MCP"), json!("mcp "), json!("mc"), json!("mcp2"), json!(""), json!([]), json!(["a", "b"])] {
            assert_eq!(with(json!({"aud": audience})), Err(Rejection::WrongAudience), "{audience}");
        }
        assert_eq!(with(json!({"aud": null})), Err(Rejection::Malformed("aud is missing")));
    }

    #[test]
    fn the_leeway_holds_both_ways_and_no_longer() {
        assert!(with(json!({"exp": 1_799_999_940.5})).is_ok());
        assert_eq!(with(json!({"exp": 1_799_999_940})), Err(Rejection::Expired));
        for expired in [json!(0), json!(-1), json!(-1e300)] {
            assert_eq!(with(json!({"exp": expired})), Err(Rejection::Expired), "{expired}");
        }
        for from in ["nbf", "iat"] {
            assert!(with(json!({from: 1_800_000_060})).is_ok(), "{from}");
            assert_eq!(with(json!({from: 1_800_000_060.5})), Err(Rejection::NotYetValid), "{from}");
        }
        assert!(with(json!({"exp": 1e300})).is_ok());
        assert_eq!(with(json!({"exp": null})), Err(Rejection::Malformed("exp is missing")));
    }

    #[test]
    fn a_subject_is_a_string_that_is_not_empty() {
        for subject in [json!(null), json!(""), json!(7), json!(["alice"]), json!({"sub": "alice"}), json!(true)] {
            assert_eq!(with(json!({"sub": subject})), Err(Rejection::NoSubject), "{subject}");
        }
        assert_eq!(with(json!({"sub": "a\u{0}b"})).map(|accepted| accepted.subject).as_deref(), Ok("a\u{0}b"));
    }

    #[test]
    fn claims_that_can_be_read_two_ways_are_malformed() {
        let malformed = Err(Rejection::Malformed("its claims are not a JSON object with the right types"));
        let good = r#""iss":"https://issuer.example","aud":"mcp","exp":1800000300,"sub":"alice""#;
        for twice in [r#""sub":"bob""#, r#""s\u0075b":"bob""#, r#""iss":"x""#, r#""aud":"x""#, r#""exp":1"#, r#""nbf":1,"nbf":2"#] {
            assert_eq!(judge(&format!("{{{good},{twice}}}")), malformed, "{twice}");
        }
        for wrong in [r#""exp":"1800000300""#, r#""exp":1e999"#, r#""exp":NaN"#, r#""aud":[1]"#, r#""iss":["https://issuer.example"]"#] {
            assert_eq!(judge(&format!("{{{wrong}}}")), malformed, "{wrong}");
        }
        for other in ["", "null", "[]", r#"["https://issuer.example","mcp",1800000300,null,null,"alice"]"#, "{", "\u{1}"] {
            assert_eq!(judge(other), malformed, "{other}");
        }
    }
}
