//! The URLs that keys are read from, and which of them are allowed.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use http::{Uri, uri::Authority};

use super::settings_error::VerifierSettingsError;

/// An absolute URL for reading keys: `https`, or `http` where allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyUrl(Uri);

/// Which hosts may be contacted over plain HTTP. Whoever can replace keys in transit can forge tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainHttp {
    Loopback,
    AnyHost,
    NoHost,
}

impl KeyUrl {
    pub(super) fn parse(text: &str, plain: PlainHttp) -> Result<Self, VerifierSettingsError> {
        let unusable = || VerifierSettingsError::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| unusable())?;
        let authority = uri.authority().ok_or_else(unusable)?;
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(unusable());
        }
        match (uri.scheme_str(), plain) {
            (Some("https"), _) | (Some("http"), PlainHttp::AnyHost) => Ok(Self(uri)),
            (Some("http"), PlainHttp::Loopback) if is_loopback(authority.host()) => Ok(Self(uri)),
            (Some("http"), _) => Err(VerifierSettingsError::PlainHttp(text.to_owned())),
            _ => Err(unusable()),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether it is `https` at one of these hosts, each `HOST` or `HOST:PORT`.
    pub(super) fn is_at_one_of(&self, hosts: &[String]) -> bool {
        let is_same = |other: &Authority, own: &Authority| {
            other.host().eq_ignore_ascii_case(own.host()) && https_port(other) == https_port(own) && !other.as_str().contains('@')
        };
        self.is_https()
            && self.0.authority().is_some_and(|own| hosts.iter().flat_map(|host| host.parse()).any(|other| is_same(&other, own)))
    }

    /// The same path at another URL's server.
    pub(super) fn at_the_server_of(&self, other: &Self) -> Option<Self> {
        let mut parts = self.0.clone().into_parts();
        (parts.scheme, parts.authority) = (other.0.scheme().cloned(), other.0.authority().cloned());
        Uri::from_parts(parts).ok().map(Self)
    }

    pub(super) fn path(&self) -> &str {
        self.0.path()
    }
}

fn https_port(authority: &Authority) -> u16 {
    authority.port_u16().unwrap_or(443)
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An issuer's two documents: OpenID Connect's, and RFC 8414's, which puts the issuer's path last.
pub(super) fn well_known(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let path_at = issuer.find("://").map_or(0, |at| at + 3);
    let (origin, path) = match issuer.get(path_at..).and_then(|rest| rest.find('/')) {
        Some(at) => issuer.split_at(path_at + at),
        None => (issuer, ""),
    };
    [format!("{issuer}/.well-known/openid-configuration"), format!("{origin}/.well-known/oauth-authorization-server{path}")]
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Encodes text for a form or a client's credentials: all but RFC 3986's unreserved characters are percent-encoded.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback() {
        for url in
            ["http://127.0.0.1:5556", "http://localhost/dex", "http://LOCALHOST", "http://[::1]:80/x", "https://issuer.example/a?b=c"]
        {
            assert!(KeyUrl::parse(url, PlainHttp::Loopback).is_ok(), "{url}");
        }
        for url in ["http://issuer.example", "http://10.0.0.1", "http://localhost.evil.example", "http://127.0.0.1.nip.io"] {
            assert_eq!(KeyUrl::parse(url, PlainHttp::Loopback), Err(VerifierSettingsError::PlainHttp(url.to_owned())));
            assert!(KeyUrl::parse(url, PlainHttp::AnyHost).is_ok(), "{url}");
        }
        let loopback = "http://127.0.0.1";
        assert_eq!(KeyUrl::parse(loopback, PlainHttp::NoHost), Err(VerifierSettingsError::PlainHttp(loopback.to_owned())));
    }

    #[test]
    fn what_is_no_url_of_a_host_is_refused() {
        for url in
            ["", "issuer.example", "/x", "ftp://issuer.example", "https://", "https://a b", "https://me:pw@issuer.example", "https://a/#b"]
        {
            assert_eq!(KeyUrl::parse(url, PlainHttp::AnyHost), Err(VerifierSettingsError::Url(url.to_owned())));
        }
    }

    #[test]
    fn a_server_is_a_host_and_a_port_over_https() {
        let hosts = ["kubernetes.default.svc", "10.0.0.1:6443", "[fd00::1]:443", "user@evil.example"].map(str::to_owned);
        let is_at_one = |url| KeyUrl::parse(url, PlainHttp::AnyHost).expect("a good URL").is_at_one_of(&hosts);
        for url in [
            "https://kubernetes.default.svc/keys",
            "https://Kubernetes.Default.svc:443",
            "https://10.0.0.1:6443/openid/v1/jwks",
            "https://[fd00::1]/",
        ] {
            assert!(is_at_one(url), "{url}");
        }
        for url in [
            "http://kubernetes.default.svc",
            "https://kubernetes.default.svc.evil.example",
            "https://kubernetes.default.svc:6443",
            "https://10.0.0.1",
            "https://evil.example",
            "https://evil.example/https://kubernetes.default.svc",
        ] {
            assert!(!is_at_one(url), "{url}");
        }
        let [keys, document] = ["https://192.0.2.1:6443/openid/v1/jwks?a=b", "https://kubernetes.default.svc/.well-known/x"]
            .map(|url| KeyUrl(url.parse().expect("a URL")));
        let moved = keys.at_the_server_of(&document).expect("a URL");
        assert_eq!(moved.to_string(), "https://kubernetes.default.svc/openid/v1/jwks?a=b");
    }

    #[test]
    fn both_documents_are_where_the_rfcs_put_them() {
        let two = |issuer| well_known(issuer).map(|url| url.replace("https://i.example", ""));
        assert_eq!(two("https://i.example"), ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]);
        assert_eq!(two("https://i.example/"), two("https://i.example"));
        for issuer in ["https://i.example/realms/a", "https://i.example/realms/a/"] {
            let found = ["/realms/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/a"];
            assert_eq!(two(issuer), found);
        }
    }
}
