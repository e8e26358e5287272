//! Identifies the caller from the request's headers and the peer that sent it.
//!
//! | `--auth` | no token | a good one | a bad one |
//! |---|---|---|---|
//! | `required` | rejected | identified | rejected |
//! | `optional` | anonymous | identified | rejected |
//! | `none` | anonymous | anonymous: tokens are ignored | anonymous |
//!
//! A user header identifies the caller without a token, for deployments where a gateway in front has already authenticated the request. It
//! is honored only from configured peers ([`TrustedPeers`](super::TrustedPeers)), where it takes precedence over any token, in every mode.
//! From any other peer it is ignored, so remove it before forwarding the request ([`Auth::trusts`]).

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    Caller,
    peer::{PeerIdentity, UserHeader},
    rejection::Rejection,
    settings_error::VerifierSettingsError,
    verifier::Verifier,
};

/// Whether callers must be authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum AuthMode {
    /// No token or an invalid one: 401.
    #[default]
    Required,
    /// An invalid token: 401. Without a token, per-user limits do not apply.
    Optional,
    /// Tokens are ignored.
    None,
}

impl AuthMode {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::None => "none",
        }
    }
}

/// Identifies callers.
#[derive(Clone, Debug)]
pub struct Auth {
    mode: AuthMode,
    verifier: Option<Verifier>,
    user_header: Option<UserHeader>,
}

impl Auth {
    /// Identifies callers by token, by header, or both.
    ///
    /// # Errors
    /// When the mode requires a way to identify callers and none is configured. `optional` needs a verifier, since it rejects invalid
    /// tokens.
    pub fn new(mode: AuthMode, verifier: Option<Verifier>, user_header: Option<UserHeader>) -> Result<Self, VerifierSettingsError> {
        let is_possible = match mode {
            AuthMode::Required => verifier.is_some() || user_header.is_some(),
            AuthMode::Optional => verifier.is_some(),
            AuthMode::None => true,
        };
        if is_possible { Ok(Self { mode, verifier, user_header }) } else { Err(VerifierSettingsError::NoAuthentication) }
    }

    /// Whether callers must be authenticated.
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// The header that only trusted peers may set.
    pub fn user_header(&self) -> Option<&HeaderName> {
        self.user_header.as_ref().map(|header| &header.name)
    }

    /// Whether a peer may set that header.
    pub fn trusts(&self, peer: PeerIdentity<'_>) -> bool {
        self.user_header.as_ref().is_some_and(|header| header.from.include(peer))
    }

    /// The token verifier, if there is one.
    pub fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_ref()
    }

    /// Identifies the caller; `None` if the caller is anonymous.
    ///
    /// # Errors
    /// The reason to reject the request.
    pub async fn caller(&self, headers: &HeaderMap, peer: PeerIdentity<'_>) -> Result<Option<Arc<Caller>>, Rejection> {
        if let Some(user) = self.user_by_header(headers, peer)? {
            return Ok(Some(Arc::new(Caller::new(user, None::<String>))));
        }
        if self.mode == AuthMode::None {
            return Ok(None);
        }
        match (bearer(headers)?, &self.verifier) {
            (Some(token), Some(verifier)) => verifier.verify(token).await.map(Some),
            (_, _) if self.mode == AuthMode::Required => Err(Rejection::Missing),
            (_, _) => Ok(None),
        }
    }

    fn user_by_header<'a>(&self, headers: &'a HeaderMap, peer: PeerIdentity<'_>) -> Result<Option<&'a str>, Rejection> {
        let Some(name) = self.user_header().filter(|_| self.trusts(peer)) else { return Ok(None) };
        let Some(value) = only(headers, name)? else { return Ok(None) };
        let user = str::from_utf8(value.as_bytes()).map_err(|_| Rejection::UserHeader)?;
        Ok(Some(user).filter(|user| !user.is_empty()))
    }
}

/// The token of `Authorization: Bearer`. Other schemes do not carry a token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejection> {
    let Some(value) = only(headers, &AUTHORIZATION)? else { return Ok(None) };
    let Some((scheme, token)) = value.as_bytes().split_at_checked(6) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.first().is_some_and(|byte| *byte != b' ') {
        return Ok(None);
    }
    let token = str::from_utf8(token.trim_ascii()).map_err(|_| Rejection::Malformed("it is not ASCII"))?;
    Ok(Some(token))
}

/// A header that may appear at most once. It appears twice if a gateway adds its own without removing the client's.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Rejection::Ambiguous) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn a_bearer_token_is_found() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bEARER   a.b.c ", Some("a.b.c")),
            ("Bearer", Some("")),
            ("Bearer a b", Some("a b")),
            ("Bearerabc", None),
            ("Basic dXNlcjpwdw==", None),
            ("Token", None),
            ("", None),
        ] {
            assert_eq!(bearer(&headers(&[("authorization", value)])), Ok(token), "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
        assert_eq!(bearer(&headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")])), Err(Rejection::Ambiguous));
    }

    #[test]
    fn a_mode_without_any_authentication_is_refused() {
        let header = || Some(UserHeader { name: HeaderName::from_static("x-user"), from: ["loopback"].into_iter().collect() });
        for (mode, header) in [(AuthMode::Required, None), (AuthMode::Optional, None), (AuthMode::Optional, header())] {
            assert_eq!(Auth::new(mode, None, header).err(), Some(VerifierSettingsError::NoAuthentication), "{}", mode.name());
        }
        for (mode, header) in [(AuthMode::Required, header()), (AuthMode::None, header()), (AuthMode::None, None)] {
            assert!(Auth::new(mode, None, header).is_ok(), "{}", mode.name());
        }
    }
}
