//! Who is calling, from the fields of a request and from who sent it.
//!
//! | `--auth` | no token | a good one | a bad one |
//! |---|---|---|---|
//! | `required` | rejected | known | rejected |
//! | `optional` | anonymous | known | rejected |
//! | `none` | anonymous | anonymous: tokens are not looked at | anonymous |
//!
//! A user header says who is calling without a token, where somebody in front has found that out. It counts only from peers that were named
//! ([`TrustedPeers`](super::TrustedPeers)); then it comes before any token, in every mode. From anybody else it is as if it were not there, so
//! take it away before the request goes on ([`Auth::trusts`]).

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    Caller,
    peer::{PeerIdentity, UserHeader},
    rejection::Rejection,
    settings::VerifierSettingsError,
    verifier::Verifier,
};

/// Whether callers have to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum AuthMode {
    /// No token, or a bad one: 401.
    #[default]
    Required,
    /// A bad token: 401. Without one, only limits per user do not apply.
    Optional,
    /// Tokens are not looked at.
    None,
}

impl AuthMode {
    /// As users type it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::None => "none",
        }
    }
}

/// Finds out who is calling.
#[derive(Clone, Debug)]
pub struct Auth {
    mode: AuthMode,
    verifier: Option<Verifier>,
    user_header: Option<UserHeader>,
}

impl Auth {
    /// By tokens, by a header, or both.
    ///
    /// # Errors
    /// When the mode needs a way to know callers and there is none. `optional` needs a verifier: it could not tell bad tokens otherwise.
    pub fn new(mode: AuthMode, verifier: Option<Verifier>, user_header: Option<UserHeader>) -> Result<Self, VerifierSettingsError> {
        let is_possible = match mode {
            AuthMode::Required => verifier.is_some() || user_header.is_some(),
            AuthMode::Optional => verifier.is_some(),
            AuthMode::None => true,
        };
        if is_possible { Ok(Self { mode, verifier, user_header }) } else { Err(VerifierSettingsError::NobodyKnown) }
    }

    /// Whether callers have to be known.
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// The header that only trusted peers may set.
    pub fn user_header(&self) -> Option<&HeaderName> {
        self.user_header.as_ref().map(|header| &header.name)
    }

    /// Whether a peer is one of those.
    pub fn trusts(&self, peer: PeerIdentity<'_>) -> bool {
        self.user_header.as_ref().is_some_and(|header| header.from.include(peer))
    }

    /// Verifies tokens, if anything does.
    pub fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_ref()
    }

    /// Who is calling; `None` for nobody in particular.
    ///
    /// # Errors
    /// With the reason why the request must not go on.
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

/// The token of `Authorization: Bearer`; other schemes are no token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejection> {
    let Some(value) = only(headers, &AUTHORIZATION)? else { return Ok(None) };
    let Some((scheme, token)) = value.as_bytes().split_at_checked(6) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.first().is_some_and(|byte| *byte != b' ') {
        return Ok(None);
    }
    let token = str::from_utf8(token.trim_ascii()).map_err(|_| Rejection::Malformed("it is not ASCII"))?;
    Ok(Some(token))
}

/// A field that may be there once. A gateway that adds its own after the client's leaves two.
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
    fn a_mode_that_could_know_nobody_is_refused() {
        let header = || Some(UserHeader { name: HeaderName::from_static("x-user"), from: ["loopback"].into_iter().collect() });
        for (mode, header) in [(AuthMode::Required, None), (AuthMode::Optional, None), (AuthMode::Optional, header())] {
            assert_eq!(Auth::new(mode, None, header).err(), Some(VerifierSettingsError::NobodyKnown), "{}", mode.name());
        }
        for (mode, header) in [(AuthMode::Required, header()), (AuthMode::None, header()), (AuthMode::None, None)] {
            assert!(Auth::new(mode, None, header).is_ok(), "{}", mode.name());
        }
    }
}
