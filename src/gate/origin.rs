//! Allowed hosts and origins, and what browsers may read (CORS).
//!
//! A page on `evil.example` whose name resolves to 127.0.0.1 (DNS rebinding) reaches a proxy on loopback with `Host: evil.example`. MCP
//! servers defend themselves by checking `Host` and `Origin`; behind a proxy they see the proxy's own `Host`, so the proxy has to check.
//!
//! | listener | `--allowed-host` | `Host` |
//! |---|---|---|
//! | loopback | not given | `localhost` and addresses of loopback, with any port |
//! | any | given | those names |
//! | other | not given | any: a Service, an ingress and probes all use other names |
//!
//! `Origin` likewise, by `--allowed-origin`. A request without one is not a browser's, or is a plain navigation, and passes.
//!
//! Every allowed origin may read the proxy's own responses. Preflights are answered, and the server's responses made readable, only for
//! origins given by flag: for those of loopback, which are allowed by default, the MCP server still decides by its own CORS. Otherwise any
//! page on this machine could call a server that is not meant for pages.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts, uri::Authority};
use thiserror::Error;

use super::{
    answer::{Turned, plain},
    claims::is_claim,
};

/// Headers of tollgate and MCP that scripts need and that browsers hide by default.
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, WWW-Authenticate, RateLimit, RateLimit-Policy, Mcp-Session-Id");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// How long a browser may remember a preflight, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// A host that may be called: a name or an address, with any port or with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    name: String,
    port: Option<u16>,
}

/// An origin that may call: `https://app.example`, `http://localhost:6274`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin {
    scheme: String,
    name: String,
    port: Option<u16>,
}

/// Not a host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a host: write a name or an address such as mcp.example or 10.0.0.7, with a port to allow that one only")]
pub struct BadHost(String);

/// Not an origin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an origin: write scheme and host such as https://app.example or http://localhost:6274, without a path")]
pub struct BadOrigin(String);

/// Allowed hosts and origins.
#[derive(Clone, Debug)]
pub struct Origins {
    hosts: Served<AllowedHost>,
    origins: Served<AllowedOrigin>,
    /// The header that names the user, which pages may not send.
    withheld: Option<HeaderName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Served<T> {
    All,
    Loopback,
    Named(Vec<T>),
}

/// The origin of a request, if a browser sent one.
#[derive(Debug)]
struct Asking<'a> {
    origins: &'a Origins,
    /// One that is allowed.
    origin: Option<HeaderValue>,
    is_named: bool,
}

impl<T> Served<T> {
    fn of(listen: IpAddr, named: Vec<T>) -> Self {
        match named.is_empty() {
            false => Self::Named(named),
            true if listen.to_canonical().is_loopback() => Self::Loopback,
            true => Self::All,
        }
    }
}

impl Origins {
    /// For a listener at this address. By default, only loopback's own names are allowed on loopback, and all names elsewhere.
    pub fn new(listen: IpAddr, hosts: Vec<AllowedHost>, origins: Vec<AllowedOrigin>) -> Self {
        Self { hosts: Served::of(listen, hosts), origins: Served::of(listen, origins), withheld: None }
    }

    /// Forbids pages to send this header.
    #[must_use]
    pub fn withhold(self, header: Option<HeaderName>) -> Self {
        Self { withheld: header, ..self }
    }

    /// What is not checked, if anything.
    pub fn unchecked(&self) -> Option<&'static str> {
        match (&self.hosts, &self.origins) {
            (Served::All, Served::All) => {
                Some("Host and Origin are not checked: set --allowed-host and --allowed-origin to those that clients use")
            }
            (Served::All, _) => Some("Host is not checked: set --allowed-host to those that clients use"),
            (_, Served::All) => Some("Origin is not checked: set --allowed-origin to those of your pages"),
            _ => None,
        }
    }

    /// Checks a request's host and origin, has it answered, and makes the response readable by an allowed page: the server's, or one of ours.
    pub async fn around<R, F: Future<Output = Result<Response, Turned>>>(
        &self,
        request: R,
        head: impl FnOnce(&R) -> &Parts,
        answer: impl FnOnce(R) -> F,
    ) -> Result<Response, Turned> {
        let parts = head(&request);
        let asking = self.admit(parts)?;
        if let Some(answer) = asking.preflight(parts) {
            return Err(Turned::with(answer));
        }
        match answer(request).await {
            Ok(theirs) => Ok(asking.open_theirs(theirs)),
            Err(turned) => Err(Turned::with(asking.open(turned.into_response()))),
        }
    }

    /// Checks `Host` and `Origin`.
    fn admit(&self, parts: &Parts) -> Result<Asking<'_>, Turned> {
        self.check_host(parts)?;
        let Some(origin) = only(&parts.headers, &header::ORIGIN, "Origin")? else {
            return Ok(Asking { origins: self, origin: None, is_named: false });
        };
        let Some(is_named) = self.allows(origin) else {
            return Err(foreign("Origin", origin.as_bytes(), "--allowed-origin"));
        };
        let origin = Some(origin.clone()).filter(|_| self.origins != Served::All);
        Ok(Asking { origins: self, origin, is_named })
    }

    /// If a request has both, the target's authority and `Host` must both be allowed: servers differ in which one they use.
    fn check_host(&self, parts: &Parts) -> Result<(), Turned> {
        let host = only(&parts.headers, &header::HOST, "Host")?;
        let authority = parts.uri.authority();
        if host.is_none() && authority.is_none() && (parts.version == Version::HTTP_11 || self.hosts != Served::All) {
            return Err(Turned::with(plain(400, "send Host")));
        }
        let serves = |text: &[u8]| host_of(text).is_some_and(|host| self.hosts.serve(&host));
        for text in host.map(HeaderValue::as_bytes).into_iter().chain(authority.map(|authority| authority.as_str().as_bytes())) {
            if self.hosts != Served::All && !serves(text) {
                return Err(foreign("Host", text, "--allowed-host"));
            }
        }
        Ok(())
    }

    /// Whether an origin is allowed, and whether by flag.
    fn allows(&self, origin: &HeaderValue) -> Option<bool> {
        let parsed = || origin.to_str().ok()?.parse::<AllowedOrigin>().ok();
        match &self.origins {
            Served::All => Some(false),
            Served::Loopback => parsed().filter(|origin| is_loopback(&origin.name)).map(|_| false),
            Served::Named(named) => parsed().filter(|origin| named.contains(origin)).map(|_| true),
        }
    }
}

impl Served<AllowedHost> {
    fn serve(&self, host: &AllowedHost) -> bool {
        match self {
            Self::All => true,
            Self::Loopback => is_loopback(&host.name),
            Self::Named(named) => {
                // Clients omit a scheme's default port; the scheme may be known only to a proxy that terminates TLS.
                let has = |port| host.port == Some(port) || (host.port.is_none() && matches!(port, 80 | 443));
                named.iter().any(|allowed| allowed.name == host.name && allowed.port.is_none_or(has))
            }
        }
    }
}

impl Asking<'_> {
    /// The response to a preflight for an origin allowed by flag.
    fn preflight(&self, parts: &Parts) -> Option<Response> {
        let is_preflight = parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !(is_preflight && self.is_named) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if let Some(allowed) = self.request_headers(&parts.headers) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        Some(self.open(response))
    }

    /// The headers that a page wants to send, except the one that names the user.
    fn request_headers(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let wanted = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|list| list.to_str().ok());
        let wanted = wanted.flat_map(|list| list.split(',')).filter_map(|name| HeaderName::from_str(name.trim()).ok());
        let allowed = wanted.filter(|name| self.origins.withheld.as_ref() != Some(name) && !is_claim(name));
        let allowed: Vec<_> = allowed.map(|name| name.to_string()).collect();
        HeaderValue::try_from(allowed.join(", ")).ok().filter(|allowed| !allowed.is_empty())
    }

    /// Makes a response of the proxy readable by the calling page.
    fn open(&self, mut response: Response) -> Response {
        if let Some(origin) = &self.origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        response
    }

    /// Makes a response of the MCP server readable, unless the server decides that itself.
    fn open_theirs(&self, response: Response) -> Response {
        let decides = response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        if self.is_named && !decides { self.open(response) } else { response }
    }
}

/// Serves the operations of a loopback listener only under loopback's own names: buckets and counts are not for pages of other sites.
pub fn guard(operations: Router, listen: IpAddr) -> Router {
    let origins = Arc::new(Origins::new(listen, Vec::new(), Vec::new()));
    if origins.hosts == Served::All {
        return operations;
    }
    operations.layer(from_fn(move |request: Request, next: Next| {
        let origins = Arc::clone(&origins);
        async move {
            let (parts, body) = request.into_parts();
            match origins.admit(&parts) {
                Ok(_) => next.run(Request::from_parts(parts, body)).await,
                Err(turned) => turned.into_response(),
            }
        }
    }))
}

/// A field's value, which may occur once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName, title: &str) -> Result<Option<&'a HeaderValue>, Turned> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Turned::with(plain(400, &format!("send {title} once")))),
        None => Ok(first),
    }
}

fn foreign(what: &str, value: &[u8], flag: &str) -> Turned {
    let value: String = String::from_utf8_lossy(value).chars().take(LONGEST_SHOWN).collect();
    Turned::with(plain(403, &format!("{what} {value:?} is not allowed here; {flag} allows more")))
}

/// The maximum length of a foreign name repeated in a response.
const LONGEST_SHOWN: usize = 64;

/// A host as browsers write it: in lower case, IPv6 without brackets, without the dot that may end it.
fn host_of(text: &[u8]) -> Option<AllowedHost> {
    let authority = Authority::try_from(text).ok().filter(|authority| !authority.as_str().contains('@'))?;
    // `Authority` treats an invalid port as a missing one.
    let port = authority.as_str().strip_prefix(authority.host()).filter(|port| port.is_empty() || authority.port_u16().is_some());
    port?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    Some(AllowedHost { name, port: authority.port_u16() }).filter(|host| !host.name.is_empty())
}

/// Whether a name always means this machine, regardless of DNS.
fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl FromStr for AllowedHost {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        // An IPv6 address may be given without brackets, unless it has a port.
        let bracketed = if text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
        let is_plain = !text.contains(['/', '*', ',', ' ']);
        host_of(bracketed.as_bytes()).filter(|_| is_plain).ok_or_else(|| BadHost(text.to_owned()))
    }
}

impl FromStr for AllowedOrigin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let parsed = || {
            let (scheme, host) = text.strip_suffix('/').unwrap_or(text).split_once("://")?;
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
            let AllowedHost { name, port } = host.parse().ok().filter(|_| is_scheme)?;
            let scheme = scheme.to_ascii_lowercase();
            let port = port.or(match scheme.as_str() {
                "http" => Some(80),
                "https" => Some(443),
                _ => None,
            });
            Some(Self { scheme, name, port })
        };
        parsed().ok_or_else(|| BadOrigin(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let request =
            fields.iter().fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).expect("a request").into_parts().0
    }

    fn named(hosts: &[&str], origins: &[&str]) -> Origins {
        let hosts = hosts.iter().map(|host| host.parse().expect("a host")).collect();
        let origins = origins.iter().map(|origin| origin.parse().expect("an origin")).collect();
        Origins::new(ANY, hosts, origins)
    }

    fn status(origins: &Origins, uri: &str, fields: &[(&str, &str)]) -> u16 {
        origins.admit(&parts("POST", uri, fields)).map_or_else(|turned| turned.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn on_loopback_only_its_own_names_are_hosts() {
        let origins = Origins::new(LOOPBACK, Vec::new(), Vec::new());
        for host in ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::ffff:127.0.0.1]"] {
            assert_eq!(status(&origins, "/mcp", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.nip.io",
            "0.0.0.0:8080",
            "10.0.0.1",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "local host",
            "",
        ] {
            assert_eq!(status(&origins, "/mcp", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&origins, "/mcp", &[]), 400, "no Host");
        assert_eq!(status(&origins, "/mcp", &[("host", "localhost"), ("host", "localhost")]), 400, "twice");
        assert_eq!(status(&origins, "http://evil.example/mcp", &[("host", "localhost")]), 403, "the target's authority");
        assert_eq!(status(&origins, "http://localhost/mcp", &[("host", "evil.example")]), 403, "and Host");
        assert_eq!(status(&origins, "http://localhost/mcp", &[]), 200, "HTTP/2 has no Host");
    }

    #[test]
    fn on_loopback_only_its_own_pages_are_origins() {
        let origins = Origins::new(LOOPBACK, Vec::new(), Vec::new());
        for origin in ["http://localhost", "https://localhost:3000", "http://127.0.0.1:6274", "http://[::1]:1", "tauri://localhost"] {
            assert_eq!(status(&origins, "/mcp", &[("host", "localhost"), ("origin", origin)]), 200, "{origin}");
        }
        for origin in ["http://evil.example", "null", "", "localhost", "http://", "https://localhost.evil.example", "http://localhost/x"] {
            assert_eq!(status(&origins, "/mcp", &[("host", "localhost"), ("origin", origin)]), 403, "{origin}");
        }
        let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")];
        assert_eq!(status(&origins, "/mcp", &twice), 400);
    }

    #[test]
    fn elsewhere_only_what_is_named_is_checked() {
        let all = Origins::new(ANY, Vec::new(), Vec::new());
        let foreign = [("host", "evil.example"), ("origin", "http://evil.example")];
        assert_eq!((status(&all, "/mcp", &foreign), all.unchecked().is_some()), (200, true));
        let both =
            named(&["mcp.example", "10.0.0.7:8080", "fd00::7", "tls.example:443"], &["https://app.example", "http://localhost:6274"]);
        assert_eq!(both.unchecked(), None);
        for (host, origin, wanted) in [
            ("mcp.example", "https://app.example", 200),
            ("MCP.example:8443", "https://APP.example:443", 200),
            ("10.0.0.7:8080", "http://localhost:6274", 200),
            ("[fd00::7]:1", "https://app.example", 200),
            ("tls.example", "https://app.example", 200),
            ("tls.example:80", "https://app.example", 403),
            ("10.0.0.7:8081", "https://app.example", 403),
            ("localhost", "https://app.example", 403),
            ("mcp.example", "http://app.example", 403),
            ("mcp.example", "https://app.example:8443", 403),
            ("mcp.example", "http://localhost:6275", 403),
            ("mcp.example", "http://mcp.example", 403),
        ] {
            assert_eq!(status(&both, "/mcp", &[("host", host), ("origin", origin)]), wanted, "{host} {origin}");
        }
    }

    #[test]
    fn preflights_are_answered_for_named_origins_only() {
        let origins = named(&[], &["https://app.example"]).withhold(Some(HeaderName::from_static("x-user")));
        let wanted = "authorization, X-User, mcp-param-a, x-forwarded-for";
        let asked = [
            ("host", "a"),
            ("origin", "https://app.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", wanted),
        ];
        let asked = parts("OPTIONS", "/mcp", &asked);
        let answer = origins.admit(&asked).ok().and_then(|asking| asking.preflight(&asked)).expect("an answer");
        assert_eq!(
            (answer.status(), &answer.headers()["access-control-allow-headers"]),
            (StatusCode::NO_CONTENT, &HeaderValue::from_static("authorization, mcp-param-a"))
        );
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
        let local = Origins::new(LOOPBACK, Vec::new(), Vec::new());
        let asked =
            parts("OPTIONS", "/mcp", &[("host", "localhost"), ("origin", "http://localhost:1"), ("access-control-request-method", "POST")]);
        let asking = local.admit(&asked).unwrap_or_else(|_| panic!("allowed"));
        assert!(asking.preflight(&asked).is_none(), "the server behind decides");
        let opened = asking.open(Response::new(Body::empty()));
        assert_eq!(
            opened.headers()["access-control-allow-origin"],
            "http://localhost:1",
            "answers of ours say nothing that it may not read"
        );
        assert!(asking.open_theirs(Response::new(Body::empty())).headers().is_empty());
    }

    #[test]
    fn what_is_not_a_host_or_an_origin_is_refused() {
        for host in ["", "*", "http://a", "a/b", "a b", "a:b", "u@a", "a,b", "*.example"] {
            assert_eq!(host.parse::<AllowedHost>(), Err(BadHost(host.to_owned())), "{host}");
        }
        for origin in ["", "*", "null", "a.example", "https://", "https://a/b", "://a", "https://u@a", "1s://a", "https://*.example"] {
            assert_eq!(origin.parse::<AllowedOrigin>(), Err(BadOrigin(origin.to_owned())), "{origin}");
        }
    }
}
