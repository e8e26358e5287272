//! Header fields that claim a client's address, host, scheme or path, which servers trust: only a trusted proxy may set them.

use http::HeaderName;

/// Fields other than `x-forwarded-*`; each is trusted by some server.
const CLAIMS: [&str; 17] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-host",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
];

/// Whether only a trusted proxy may set a field. Servers that map fields as CGI does do not distinguish `_` and `-`.
pub fn is_claim(name: &HeaderName) -> bool {
    let is_one = |name: &str| name.starts_with("x-forwarded") || CLAIMS.contains(&name);
    let name = name.as_str();
    if name.contains('_') { is_one(&name.replace('_', "-")) } else { is_one(name) }
}
