//! Why a request is rejected: one variant for each reason, with its status and error code.

use thiserror::Error;

/// Why a request has no valid caller. The text is sent to the client and reveals nothing of the token's contents.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// Authentication is required, and the request carries no credentials.
    #[error("a bearer token is required")]
    Missing,
    /// Several `Authorization` headers, or several user headers: another component that reads a different one would see a different caller.
    #[error("the request carries more than one credential")]
    Ambiguous,
    /// The user header of a trusted peer is not UTF-8.
    #[error("the header that names the user is not valid UTF-8")]
    UserHeader,
    /// More than [`LONGEST_TOKEN`](super::LONGEST_TOKEN) bytes.
    #[error("the token is longer than 16384 bytes")]
    TooLong,
    /// Not a signed JWT in compact form, or one of its parts is invalid.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `none`, an HMAC, or something unknown.
    #[error("the token's algorithm is not allowed: RS, PS and ES of 256 and 384, RS and PS of 512, and EdDSA are")]
    AlgorithmNotAllowed,
    /// `iss` is not exactly the trusted issuer.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` contains none of our audiences.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `sub` is missing, empty or not a string.
    #[error("the token has no sub claim to identify the caller")]
    NoSubject,
    /// The issuer has no key with that `kid` for that algorithm.
    #[error("the token is signed with a key that the issuer does not have")]
    UnknownKey,
    /// The key exists, but did not sign this token.
    #[error("the token's signature is invalid")]
    BadSignature,
    /// No cached key can verify the token, and the issuer does not provide any.
    #[error("the issuer's signing keys are currently unavailable")]
    IssuerAway,
    /// The issuer's introspection endpoint returned `active: false` (RFC 7662).
    #[error("the token is not active")]
    Inactive,
    /// The issuer's introspection endpoint is unreachable.
    #[error("the issuer's introspection service is currently unavailable")]
    IntrospectionAway,
}

impl Rejection {
    /// The HTTP status of the response: 401, except 400 if the request itself is invalid (RFC 6750, 3.1), and 503 if the token could not be
    /// checked: a client that receives 401 discards its token and asks the issuer, which is unreachable, for another one.
    pub fn status(self) -> u16 {
        match self {
            Self::Ambiguous | Self::UserHeader => 400,
            Self::IssuerAway | Self::IntrospectionAway => 503,
            _ => 401,
        }
    }

    /// RFC 6750's error code. A request without a token has none: nothing is wrong with it yet.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::IssuerAway | Self::IntrospectionAway => None,
            Self::Ambiguous | Self::UserHeader => Some("invalid_request"),
            _ => Some("invalid_token"),
        }
    }

    /// A short name, for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::UserHeader => "user_header",
            Self::TooLong => "too_long",
            Self::Malformed(_) => "malformed",
            Self::AlgorithmNotAllowed => "algorithm",
            Self::WrongIssuer => "issuer",
            Self::WrongAudience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoSubject => "no_subject",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "signature",
            Self::IssuerAway => "issuer_away",
            Self::Inactive => "inactive",
            Self::IntrospectionAway => "introspection_away",
        }
    }
}
