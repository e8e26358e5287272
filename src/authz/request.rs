//! Envoy's check as the request that its client sent: pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};

use super::wire::{AttributeContext, CheckRequest, Entry, HttpRequest};
use crate::gate::answer::{Turned, plain};

/// The key by which a route of Envoy's names its server, `NAMESPACE/NAME`.
pub const SERVER: &str = "tollgate.dev/server";

/// Envoy's own field: whether it sends a part of the body.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// What stands in a text for bytes that are not UTF-8: Envoy writes the first for each, agentgateway the second.
const REPLACEMENTS: [char; 2] = ['!', char::REPLACEMENT_CHARACTER];

/// A request of a client of Envoy's.
#[derive(Debug)]
pub struct Asked {
    /// Which server it is for, if the route says so.
    pub server: Option<Bytes>,
    /// Its head.
    pub parts: Parts,
    /// Its body.
    pub body: Bytes,
    /// Whether that is all of it.
    pub is_whole: bool,
    /// A character in it that may stand for a byte that is not UTF-8, where it was sent as text.
    pub replacement: Option<char>,
}

impl Asked {
    /// Reads a check.
    ///
    /// # Errors
    /// The response to one that is not a request of HTTP.
    pub fn read(check: CheckRequest) -> Result<Self, Turned> {
        let AttributeContext { request, context_extensions } = check.attributes.unwrap_or_default();
        let none = || refused(400, "this check has no HTTP request: call it from Envoy's HTTP filter ext_authz");
        let HttpRequest { method, headers, path, host, body, raw_body, header_map } =
            request.and_then(|request| request.http).ok_or_else(none)?;
        let raw = header_map.unwrap_or_default().headers.into_iter();
        let raw = raw.map(|field| Entry { key: field.key, value: if field.raw_value.is_empty() { field.value } else { field.raw_value } });
        let mut fields = fields(headers.into_iter().chain(raw))?;
        let is_partial = fields.remove(PARTIAL).is_some_and(|partial| partial != "false");
        if !fields.contains_key(header::HOST) && !host.is_empty() {
            fields.insert(header::HOST, HeaderValue::from_maybe_shared(host).map_err(|_| unreadable("Host"))?);
        }
        let replacement = if raw_body.is_empty() { replacement(&body) } else { None };
        let body = if raw_body.is_empty() { body } else { raw_body };
        let is_whole = !is_partial && announced(&fields).is_none_or(|length| length == body.len() as u64);
        let parts = head(&method, path, fields)?;
        Ok(Self { server: server(context_extensions)?, parts, body, is_whole, replacement })
    }
}

/// A text that is not UTF-8 was not changed, and is refused as such later.
fn replacement(text: &[u8]) -> Option<char> {
    let text = str::from_utf8(text).ok()?;
    REPLACEMENTS.into_iter().find(|replacement| text.contains(*replacement))
}

fn head(method: &[u8], path: Bytes, fields: HeaderMap) -> Result<Parts, Turned> {
    let method = Method::from_bytes(method).map_err(|_| unreadable("method"))?;
    let uri = if path.is_empty() { Uri::default() } else { Uri::from_maybe_shared(path).map_err(|_| unreadable("path"))? };
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.headers) = (method, uri, fields);
    Ok(parts)
}

fn fields(entries: impl Iterator<Item = Entry>) -> Result<HeaderMap, Turned> {
    let mut fields = HeaderMap::new();
    // HTTP/2's own, such as `:path`, come once more as attributes.
    for Entry { key, value } in entries.filter(|entry| !entry.key.starts_with(b":")) {
        let name = HeaderName::from_bytes(&key).map_err(|_| unreadable("name of a header field"))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| unreadable("value of a header field"))?;
        fields.try_append(name, value).map_err(|_| refused(431, "too many header fields"))?;
    }
    Ok(fields)
}

/// The only server that is named. Two names would be two policies.
fn server(context: Vec<Entry>) -> Result<Option<Bytes>, Turned> {
    let mut named = context.into_iter().filter(|entry| entry.key == SERVER.as_bytes()).map(|entry| entry.value);
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => Err(refused(400, "the route names its server twice")),
        (named, _) => Ok(named),
    }
}

fn announced(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unreadable(what: &str) -> Turned {
    refused(400, &format!("the {what} cannot be read"))
}

fn refused(status: u16, message: &str) -> Turned {
    Turned::with(plain(status, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::wire;

    fn entry(key: &str, value: impl Into<Bytes>) -> Entry {
        Entry { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() }
    }

    fn check(http: HttpRequest, context: Vec<Entry>) -> CheckRequest {
        let request = Some(wire::Request { http: Some(http) });
        CheckRequest { attributes: Some(AttributeContext { request, context_extensions: context }) }
    }

    fn post(headers: Vec<Entry>, body: &str) -> HttpRequest {
        let raw_body = Bytes::copy_from_slice(body.as_bytes());
        HttpRequest {
            method: "POST".into(),
            path: "/mcp?a=b".into(),
            host: "mcp.example".into(),
            headers,
            raw_body,
            ..HttpRequest::default()
        }
    }

    fn status(read: Result<Asked, Turned>) -> u16 {
        read.map_or_else(|turned| turned.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn a_request_is_read_as_it_was_sent() {
        let headers = vec![entry(":path", "/mcp?a=b"), entry("content-type", "application/json"), entry("content-length", "2")];
        let asked = Asked::read(check(post(headers, "{}"), vec![entry(SERVER, "default/demo")])).expect("a request");
        let Asked { server, parts, body, is_whole, replacement } = asked;
        assert_eq!((server.as_deref(), body.as_ref(), is_whole), (Some(&b"default/demo"[..]), &b"{}"[..], true));
        assert_eq!(replacement, None);
        assert_eq!((parts.method, parts.uri.path(), parts.uri.query()), (Method::POST, "/mcp", Some("a=b")));
        assert_eq!((parts.headers.len(), &parts.headers["host"]), (3, &HeaderValue::from_static("mcp.example")));
    }

    #[test]
    fn text_bodies_and_raw_headers_are_read_too() {
        let raw = |name: &str, value: &'static [u8]| wire::HeaderValue {
            key: Bytes::copy_from_slice(name.as_bytes()),
            value: Bytes::new(),
            raw_value: Bytes::from_static(value),
        };
        let header_map = Some(wire::HeaderMap { headers: vec![raw("x-a", b"1"), raw("x-a", b"\xff")] });
        let text = HttpRequest { raw_body: Bytes::new(), body: "[]".into(), header_map, ..post(vec![], "") };
        let asked = Asked::read(check(text, vec![])).expect("a request");
        assert_eq!((asked.body.as_ref(), asked.server.is_none()), (&b"[]"[..], true));
        let values: Vec<_> = asked.parts.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
    }

    #[test]
    fn what_may_stand_for_another_byte_in_a_text_is_found() {
        let found = |raw_body: &'static str, body: &'static [u8]| {
            let http = HttpRequest { raw_body: raw_body.into(), body: Bytes::from_static(body), ..post(vec![], "") };
            Asked::read(check(http, vec![])).expect("a request").replacement
        };
        assert_eq!(found("", "{\"a\":\"wow!\"}".as_bytes()), Some('!'));
        assert_eq!(found("", "{\"a\":\"\u{fffd}\"}".as_bytes()), Some('\u{fffd}'));
        assert_eq!(found("", "{\"a\":\"\u{fc}\"}".as_bytes()), None);
        assert_eq!(found("", b"\xff!"), None, "it is what it was, and is not read");
        assert_eq!(found("wow!\u{fffd}", b""), None, "bytes are as they were sent");
    }

    #[test]
    fn a_part_of_a_body_is_never_the_whole() {
        let is_whole = |headers, body| Asked::read(check(post(headers, body), vec![])).map(|asked| asked.is_whole);
        assert!(is_whole(vec![entry(PARTIAL, "false")], "{}").is_ok_and(|whole| whole));
        for headers in [vec![entry(PARTIAL, "true")], vec![entry(PARTIAL, "")], vec![entry("content-length", "3")]] {
            assert!(is_whole(headers.clone(), "{}").is_ok_and(|whole| !whole), "{headers:?}");
        }
        assert!(is_whole(vec![entry("content-length", "2")], "").is_ok_and(|whole| !whole), "Envoy is not configured to send bodies");
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        assert_eq!(status(Asked::read(CheckRequest::default())), 400);
        let bad = |change: fn(&mut HttpRequest)| {
            let mut http = post(vec![], "");
            change(&mut http);
            status(Asked::read(check(http, vec![])))
        };
        assert_eq!(bad(|http| http.method = Bytes::new()), 400);
        assert_eq!(bad(|http| http.path = "/a b".into()), 400);
        assert_eq!(bad(|http| http.host = "a\nb".into()), 400);
        assert_eq!(bad(|http| http.headers = vec![entry("a b", "1")]), 400);
        assert_eq!(bad(|http| http.headers = vec![entry("a", "1\n2")]), 400);
        assert_eq!(bad(|http| http.headers = (0..10_000).map(|n| entry(&format!("x-{n}"), "1")).collect()), 200);
        assert_eq!(bad(|http| http.headers = (0..40_000).map(|n| entry(&format!("x-{n}"), "1")).collect()), 431);
        assert_eq!(status(Asked::read(check(post(vec![], ""), vec![entry(SERVER, "a/b"), entry(SERVER, "a/c")]))), 400);
    }
}
