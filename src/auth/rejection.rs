//! Why nobody is let in: one value for each reason, with the status and the words that go with it.

use thiserror::Error;

/// Why a request has no caller. Its text is for the client and says nothing of what the token holds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// Callers have to sign in, and this one brought nothing.
    #[error("a bearer token is required")]
    Missing,
    /// Several `Authorization` fields, or several of the user header: whoever reads the other one sees another caller.
    #[error("who is calling is said more than once")]
    Ambiguous,
    /// The user header of a trusted peer is not UTF-8.
    #[error("the header that names the user is no text")]
    UserHeader,
    /// More than [`LONGEST_TOKEN`](super::LONGEST_TOKEN) bytes.
    #[error("the token is longer than 16384 bytes")]
    TooLong,
    /// Not a signed JWT in compact form, or its parts are not what they should be.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `none`, an HMAC, or something unknown.
    #[error("the token's algorithm is not allowed: RS, PS and ES of 256 and 384, RS and PS of 512, and EdDSA are")]
    AlgorithmNotAllowed,
    /// `iss` is not, exactly, the issuer that is trusted.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` has none of our names.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `sub` is missing, empty or no string.
    #[error("the token has no sub claim, which names the caller")]
    NoSubject,
    /// The issuer has no key of that name for that algorithm.
    #[error("the token is signed with a key that the issuer does not have")]
    UnknownKey,
    /// The key is there and did not sign this.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// No key is at hand to judge the token by, and the issuer does not give any.
    #[error("the issuer's keys are not to be had at the moment")]
    IssuerAway,
    /// The issuer's introspection endpoint returned `active: false` (RFC 7662).
    #[error("the token is not active")]
    Inactive,
    /// The issuer's introspection endpoint is unreachable.
    #[error("the issuer's introspection service does not respond at the moment")]
    IntrospectionAway,
}

impl Rejection {
    /// The HTTP status of the answer. 401, but for 400 where the request itself is no good (RFC 6750, 3.1), and 503 where nothing is
    /// known to be wrong with the token, since a client that is told 401 throws it away and asks the issuer, which is away, for another.
    pub fn status(self) -> u16 {
        match self {
            Self::Ambiguous | Self::UserHeader => 400,
            Self::IssuerAway | Self::IntrospectionAway => 503,
            _ => 401,
        }
    }

    /// RFC 6750's code. A request without a token has none: it did nothing wrong yet.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::IssuerAway | Self::IntrospectionAway => None,
            Self::Ambiguous | Self::UserHeader => Some("invalid_request"),
            _ => Some("invalid_token"),
        }
    }

    /// One word, for logs and metrics.
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
