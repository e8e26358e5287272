//! Hop-by-hop headers, which are not forwarded (RFC 9110, section 7.6.1).

use http::{HeaderMap, HeaderName, header};

/// Always specific to one connection. `Host` and lengths are set again for the next hop.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// End-to-end fields, even if `Connection` lists them: with `Connection: authorization`, a client could otherwise make the server see a
/// different request than the one checked here.
const END_TO_END: [HeaderName; 33] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::AGE,
    header::ALLOW,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::ORIGIN,
    header::RANGE,
    header::REFERER,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
];

/// The same, by prefix.
const END_TO_END_BEGIN: [&str; 7] = ["mcp-", "access-control-", "x-forwarded", "ratelimit", "sec-", "trace", "x-auth"];

/// Removes the headers of the connection that they were received on, including those that `Connection` lists. `user` is the header that
/// names the user, which is end-to-end as well.
pub(super) fn leave_hop(headers: &mut HeaderMap, user: Option<&HeaderName>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| Some(name) != user && !is_end_to_end(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn is_end_to_end(name: &HeaderName) -> bool {
    END_TO_END.contains(name) || END_TO_END_BEGIN.iter().any(|begin| name.as_str().starts_with(begin))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value")));
        fields.collect()
    }

    #[test]
    fn a_hop_s_own_headers_stay_there() {
        let mut sent = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("mcp-session-id", "s"),
            ("last-event-id", "7"),
        ]);
        leave_hop(&mut sent, None);
        assert_eq!(sent, headers(&[("mcp-session-id", "s"), ("last-event-id", "7")]));
    }

    #[test]
    fn connection_cannot_name_what_is_for_the_other_end() {
        let names = ["authorization", "x-user", "host", "content-length", "content-type", "mcp-session-id", "mcp-name", "origin", "cookie"];
        let fields: Vec<_> = names.iter().map(|name| (*name, "1")).collect();
        let mut sent = headers(&fields);
        sent.insert(header::CONNECTION, HeaderValue::try_from(format!("close, {}", names.join(", ").to_uppercase())).expect("a value"));
        leave_hop(&mut sent, Some(&HeaderName::from_static("x-user")));
        assert_eq!(sent, headers(&fields));
    }
}
