//! `X-Forwarded-*` and its relatives: the client's address, the host that it called, and how.
//!
//! Servers trust these fields: they log and limit by the address, build URLs from the host, and some take the user from them. So those of
//! clients are dropped; only those of a proxy listed in `--trusted-proxy` are kept.
//!
//! | field | from a trusted proxy | from anyone else |
//! |---|---|---|
//! | `X-Forwarded-For` | kept, the proxy's address appended | the peer's address |
//! | `X-Forwarded-Host`, `-Proto` | kept; ours where missing | ours |
//! | `Forwarded`, `X-Real-IP`, other `X-Forwarded-*` and names of the kind | kept | removed |

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use thiserror::Error;

use crate::gate::claims::is_claim;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of a trusted proxy, or a network of them: `10.0.0.0/8`, `10.0.0.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

/// Not a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a network: write ADDRESS/PREFIX such as 10.0.0.0/8 or fd00::/8, or one address")]
pub struct BadNetwork(String);

impl FromStr for TrustedProxy {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| BadNetwork(text.to_owned()))
    }
}

/// Whether this is the address of a trusted proxy.
fn is_trusted(proxies: &[TrustedProxy], peer: IpAddr) -> bool {
    proxies.iter().any(|TrustedProxy(network)| network.contains(&peer.to_canonical()))
}

/// How a request reached the proxy.
#[derive(Debug)]
pub(super) struct Hop<'a> {
    /// From the socket.
    pub(super) peer: IpAddr,
    /// The host that the client called: the target's authority (HTTP/2 has no `Host`), or else `Host`.
    pub(super) host: Option<HeaderValue>,
    pub(super) is_tls: bool,
    pub(super) trusted: &'a [TrustedProxy],
    /// The verified header that names the user.
    pub(super) kept: Option<&'a HeaderName>,
}

impl Hop<'_> {
    /// Writes the fields for the MCP server.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if !is_trusted(self.trusted, self.peer) {
            let claims: Vec<_> = headers.keys().filter(|name| is_claim(name) && Some(*name) != self.kept).cloned().collect();
            for name in claims {
                headers.remove(name);
            }
        }
        let peer = self.peer.to_canonical().to_string();
        let chain = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain = chain.chain([peer.as_str()]).collect::<Vec<_>>().join(", ");
        if let Ok(chain) = HeaderValue::try_from(chain) {
            headers.insert(FORWARDED_FOR, chain);
        }
        if let Some(host) = &self.host {
            headers.entry(FORWARDED_HOST).or_insert_with(|| host.clone());
        }
        headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(if self.is_tls { "https" } else { "http" }));
        // `Host` is set again for the next hop.
        headers.remove(header::HOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"));
        }
        headers
    }

    fn written(trusted: &[&str], kept: Option<&HeaderName>, sent: &[(&str, &str)]) -> HeaderMap {
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().expect("a network")).collect();
        let (peer, host) = ("::ffff:10.2.2.2".parse().expect("an address"), Some(HeaderValue::from_static("mcp.example")));
        let mut headers = headers(sent);
        Hop { peer, host, is_tls: false, trusted: &trusted, kept }.write(&mut headers);
        headers
    }

    const SENT: [(&str, &str); 9] = [
        ("host", "mcp.example"),
        ("x-forwarded-for", "10.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=10.1.1.1"),
        ("x-real-ip", "10.1.1.1"),
        ("x_forwarded_host", "evil.example"),
        ("x-forwarded-user", "boss"),
        ("accept", "*/*"),
    ];

    #[test]
    fn what_a_client_claims_is_replaced() {
        let ours = [("x-forwarded-for", "10.2.2.2"), ("x-forwarded-host", "mcp.example"), ("x-forwarded-proto", "http"), ("accept", "*/*")];
        assert_eq!(written(&[], None, &SENT), headers(&ours));
        assert_eq!(written(&["10.3.0.0/16", "::/0"], None, &SENT), headers(&ours), "other networks");
    }

    #[test]
    fn what_a_trusted_proxy_says_stays_and_its_address_is_added() {
        for network in ["10.0.0.0/8", "10.2.2.2", "0.0.0.0/0"] {
            let kept = written(&[network], None, &SENT);
            assert_eq!(kept["x-forwarded-for"], "10.1.1.1, 10.2.2.2", "{network}");
            for (name, value) in SENT.iter().filter(|(name, _)| !["host", "x-forwarded-for"].contains(name)) {
                assert_eq!(kept[*name], *value, "{network}");
            }
            assert!(!kept.contains_key("host"));
        }
        assert_eq!(written(&["10.2.2.2"], None, &[])["x-forwarded-host"], "mcp.example", "what it does not say is ours");
    }

    #[test]
    fn a_header_that_names_the_user_stays() {
        let name = HeaderName::from_static("x-forwarded-user");
        assert_eq!(written(&[], Some(&name), &SENT)["x-forwarded-user"], "boss");
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in ["", "10", "10.0.0.0/33", "10.0.0/8", "ingress", "10.0.0.0/8,10.1.0.0/16", "::/129"] {
            assert_eq!(text.parse::<TrustedProxy>(), Err(BadNetwork(text.to_owned())), "{text}");
        }
    }
}
