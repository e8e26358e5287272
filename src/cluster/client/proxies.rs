//! Which proxy leads to the API server: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, read as Go's `net/http` reads them, so that tollgate
//! takes the way that kubectl takes.

use std::{env, net::IpAddr};

use http::Uri;
use ipnet::IpNet;

/// What the environment says about proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    http: String,
    https: String,
    no: String,
}

impl Environment {
    /// Reads the variables; the name in capitals comes first, and an empty value counts as unset.
    pub(super) fn read() -> Self {
        let variable = |name: &str| {
            let values = [name.to_owned(), name.to_lowercase()].into_iter().filter_map(|name| env::var(name).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self { http: variable("HTTP_PROXY"), https: variable("HTTPS_PROXY"), no: variable("NO_PROXY") }
    }

    /// The proxy to a URL, if one is to be used.
    pub(super) fn proxy_to(&self, url: &Uri) -> Result<Option<Uri>, String> {
        let is_http = url.scheme_str() == Some("http");
        let (name, proxy, default_port) = if is_http { ("HTTP_PROXY", &self.http, 80) } else { ("HTTPS_PROXY", &self.https, 443) };
        let host = url.host().unwrap_or_default();
        if proxy.is_empty() || is_excepted(&self.no, host, url.port_u16().unwrap_or(default_port)) {
            return Ok(None);
        }
        parse(proxy).map(Some).map_err(|error| format!("{name}: {error}"))
    }
}

/// A proxy's URL; without a scheme it speaks HTTP. Errors never repeat it, since it may hold a password.
pub(super) fn parse(text: &str) -> Result<Uri, String> {
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
    let has_port = rest.rsplit(['@', ']']).next().is_some_and(|host| host.contains(':'));
    let rest = rest.trim_end_matches('/');
    let url = match scheme {
        "http" | "https" => format!("{scheme}://{rest}"),
        // Both leave names to the proxy, here and in Go.
        "socks5" | "socks5h" if has_port => format!("socks5://{rest}"),
        "socks5" | "socks5h" => format!("socks5://{rest}:1080"),
        other => return Err(format!("a proxy's URL begins with http, https or socks5, not {other}")),
    };
    let url: Uri = url.parse().map_err(|error| format!("the proxy's URL cannot be parsed: {error}"))?;
    if url.host().is_none_or(str::is_empty) {
        return Err("the proxy's URL has no host".to_owned());
    }
    Ok(url)
}

/// Whether no proxy is used to a host: this machine, and what `NO_PROXY` lists.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    list.split(',').map(|entry| entry.trim().to_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(net) = entry.parse::<IpNet>() {
            return ip.is_some_and(|ip| net.contains(&ip));
        }
        let (name, only_port) = split_port(&entry);
        if only_port.is_some_and(|only| only.parse() != Ok(port)) {
            return false;
        }
        match (name.parse::<IpAddr>(), ip) {
            (Ok(excepted), ip) => ip == Some(excepted.to_canonical()),
            (Err(_), _) => is_of_domain(&host, name),
        }
    })
}

/// `host:port`, `[address]:port`, or either without a port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, Some(port)),
        _ => (entry, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

/// `example.com` stands for itself and what is below it, `.example.com` and `*.example.com` only for what is below.
fn is_of_domain(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(domain);
    match domain.strip_prefix('.') {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
        None => host.strip_suffix(domain).is_some_and(|rest| !domain.is_empty() && (rest.is_empty() || rest.ends_with('.'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_to(url: &str, no: &str) -> Option<String> {
        let environment = Environment { http: "web:80".to_owned(), https: "http://proxy:3128".to_owned(), no: no.to_owned() };
        let url = url.parse().expect("a URL");
        environment.proxy_to(&url).expect("good proxies").map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_scheme_decides_which_proxy() {
        assert_eq!(proxy_to("https://example.com", "").as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxy_to("http://example.com", "").as_deref(), Some("http://web:80/"));
        assert_eq!(Environment::default().proxy_to(&Uri::from_static("https://example.com")), Ok(None));
    }

    #[test]
    fn this_machine_is_reached_without() {
        for url in
            ["https://localhost:6443", "https://127.0.0.1:6443", "https://127.9.9.9", "https://[::1]:6443", "https://[::ffff:127.0.0.1]"]
        {
            assert_eq!(proxy_to(url, ""), None, "{url}");
        }
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        for (list, url) in [
            ("*", "https://example.com"),
            ("example.com", "https://example.com:6443"),
            ("example.com", "https://api.example.com"),
            ("Example.COM", "https://API.example.com"),
            (".example.com", "https://api.example.com"),
            ("*.example.com", "https://api.example.com"),
            ("example.com:6443", "https://api.example.com:6443"),
            ("example.com:443", "https://example.com"),
            ("10.1.2.3", "https://10.1.2.3:6443"),
            ("10.1.2.3:6443", "https://10.1.2.3:6443"),
            ("10.0.0.0/8", "https://10.1.2.3:6443"),
            ("fd00::/8", "https://[fd00::1]:6443"),
            ("fd00::1", "https://[fd00::1]:6443"),
            ("[fd00::1]:6443", "https://[fd00::1]:6443"),
            // As corporate lists are: blanks, an empty entry, a comma at the end.
            ("localhost, 127.0.0.1,, .svc , 10.0.0.0/8,", "https://10.1.2.3"),
        ] {
            assert_eq!(proxy_to(url, list), None, "{url} is in {list}");
        }
    }

    #[test]
    fn what_is_not_listed_goes_through_the_proxy() {
        for (list, url) in [
            (".example.com", "https://example.com"),
            ("*.example.com", "https://example.com"),
            ("example.com", "https://badexample.com"),
            ("example.com:6443", "https://example.com"),
            ("10.1.2.3:6443", "https://10.1.2.3"),
            ("10.0.0.0/8", "https://11.1.2.3"),
            ("10.0.0.0/8", "https://example.com"),
            ("proxy", "https://example.com"),
            (",", "https://example.com"),
            (":6443", "https://example.com:6443"),
            ("no/host", "https://example.com"),
        ] {
            assert!(proxy_to(url, list).is_some(), "{url} is not in {list}");
        }
    }

    #[test]
    fn urls_of_proxies() {
        for (text, url) in [
            ("proxy:3128", "http://proxy:3128/"),
            ("http://proxy", "http://proxy/"),
            ("https://user:word@proxy:3129/", "https://user:word@proxy:3129/"),
            ("socks5://proxy:1081", "socks5://proxy:1081/"),
            ("socks5h://user:word@proxy", "socks5://user:word@proxy:1080/"),
        ] {
            assert_eq!(parse(text).map(|url| url.to_string()).as_deref(), Ok(url), "{text}");
        }
        for (text, error) in [("ftp://proxy:21", "not ftp"), ("http://", "proxy's URL"), ("http://user:s3cret@pro xy", "cannot be parsed")]
        {
            let found = parse(text).expect_err("it is not a proxy's URL");
            assert!(found.contains(error) && !found.contains("s3cret"), "{text}: {found}");
        }
    }
}
