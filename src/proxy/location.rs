//! URLs in responses of the MCP server: they lead to this proxy, never past it.
//!
//! A server that redirects `POST /mcp/` to `/mcp` writes a full URL with its own name in it; a client that follows it bypasses every limit.
//! Scheme and host are removed from such a URL, so that it is relative to the URL that the client called, whatever is in between.

use http::{
    HeaderMap, HeaderName, HeaderValue, header,
    uri::{Authority, Scheme},
};

const URLS: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];
/// Offers an alternative address for the origin, which would be the server's own.
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");

/// The names by which the MCP server may refer to itself.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    host: String,
    port: u16,
    default_port: u16,
}

impl Origin {
    pub(super) fn new(scheme: &Scheme, authority: &Authority) -> Self {
        let default_port = default_port(scheme.as_str());
        Self { host: bare(authority.host()), port: authority.port_u16().unwrap_or(default_port), default_port }
    }

    /// Makes the URLs in a response lead to this proxy. Those with an `is_endpoint` path do so under any name of the server.
    pub(super) fn hide(&self, headers: &mut HeaderMap, is_endpoint: impl Fn(&str) -> bool) {
        for name in &URLS {
            let Some(value) = headers.get(name) else { continue };
            // Some clients read fields as bytes; where a field that is not text leads is uncertain.
            let local = value.to_str().map(|url| self.local(url, &is_endpoint));
            match local.map(|local| local.map(HeaderValue::try_from)) {
                Ok(None) => {}
                Ok(Some(Ok(local))) => drop(headers.insert(name, local)),
                Ok(Some(Err(_))) | Err(_) => drop(headers.remove(name)),
            }
        }
        headers.remove(ALT_SVC);
    }

    /// A URL of the MCP server without its scheme and host; `None` for any other.
    pub(super) fn local(&self, url: &str, is_endpoint: impl Fn(&str) -> bool) -> Option<String> {
        let (scheme, authority, rest) = split(url)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        if !self.is_at(scheme, authority) && !is_endpoint(path) {
            return None;
        }
        Some(match rest {
            _ if rest.starts_with("//") => format!("/.{rest}"),
            _ if rest.starts_with('/') => rest.to_owned(),
            _ => format!("/{rest}"),
        })
    }

    /// Whether an authority is the server's: its host with its port, or, unless that is loopback, where others are as well, with any.
    fn is_at(&self, scheme: Option<&str>, authority: &str) -> bool {
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let (host, port) = (bare(authority.host()), authority.port_u16());
        let port = port.unwrap_or_else(|| scheme.map_or(self.default_port, default_port));
        match is_here(&self.host) {
            true => is_here(&host) && port == self.port,
            false => host == self.host,
        }
    }
}

/// Scheme, authority, and what follows; `None` for a reference that names no authority.
fn split(url: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, rest) = match url.split_once("//")? {
        ("", rest) => (None, rest),
        (scheme, rest) => (Some(scheme.strip_suffix(':').filter(|scheme| !scheme.contains(['/', '?', '#', ':']))?), rest),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    Some((scheme, authority, rest))
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

/// Loopback is the same machine under any of its names; servers that listen on all addresses refer to themselves as `0.0.0.0`.
fn is_here(host: &str) -> bool {
    let is_address = |address: std::net::IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host == "localhost" || host.parse().is_ok_and(is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Origin {
        let uri: http::Uri = url.parse().expect("a URL");
        Origin::new(uri.scheme().expect("a scheme"), uri.authority().expect("an authority"))
    }

    fn local(server: &str, url: &str) -> Option<String> {
        of(server).local(url, |path| path == "/mcp")
    }

    #[test]
    fn urls_of_the_server_lose_its_name() {
        for (server, url, wanted) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/mcp", "/mcp"),
            ("http://127.0.0.1:9000", "http://LOCALHOST:9000/a?b=c#d", "/a?b=c#d"),
            ("http://127.0.0.1:9000", "http://[::1]:9000", "/"),
            ("http://127.0.0.1:9000", "http://0.0.0.0:9000?a", "/?a"),
            ("http://127.0.0.1:9000", "//127.0.0.1:9000/a", "/a"),
            ("http://localhost", "http://localhost/a", "/a"),
            ("http://localhost", "http://localhost:80/a", "/a"),
            ("https://mcp", "https://mcp/a", "/a"),
            ("http://mcp.ns.svc:8080", "https://MCP.ns.svc./a", "/a"),
            ("http://mcp.ns.svc:8080", "http://u:p@mcp.ns.svc:8080/a", "/a"),
            ("http://mcp:8080", "http://mcp:8080//evil.example/a", "/.//evil.example/a"),
            ("http://mcp:8080", "http://10.1.2.3:8080/mcp?a", "/mcp?a"),
        ] {
            assert_eq!(local(server, url).as_deref(), Some(wanted), "{url} of {server}");
        }
    }

    #[test]
    fn other_urls_stay() {
        for url in [
            "/mcp",
            "mcp",
            "",
            "?a=http://127.0.0.1:9000/a",
            "/a//127.0.0.1:9000",
            "https://login.example/authorize?redirect_uri=http://127.0.0.1:9000/a",
            "http://127.0.0.1:33418/callback?code=x",
            "http://localhost/callback",
            "mailto:a@127.0.0.1",
        ] {
            assert_eq!(local("http://127.0.0.1:9000", url), None, "{url}");
        }
        assert_eq!(local("http://mcp:8080", "http://mcp.example:8080/a"), None);
    }

    #[test]
    fn an_answer_names_the_server_nowhere() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("http://mcp:8080/a"));
        headers.insert(header::CONTENT_LOCATION, HeaderValue::from_bytes(b"http://mcp:8080/\xff").expect("a value"));
        headers.insert(ALT_SVC, HeaderValue::from_static("h3=\":8443\""));
        of("http://mcp:8080").hide(&mut headers, |_| false);
        assert_eq!((headers.len(), &headers[header::LOCATION]), (1, &HeaderValue::from_static("/a")));
    }
}
