//! The peer at the other end of a connection, and which peers may identify the user.
//!
//! No peer is trusted by default. A loopback address proves little in a pod, which sidecars and port-forwards share; a client certificate
//! proves little where every client has one. So trust is explicit.

use std::net::IpAddr;

use http::HeaderName;

/// The peer at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity<'a> {
    /// The address of the socket, never one from a header.
    pub ip: IpAddr,
    /// The names in its client certificate, if it presented one and that was verified.
    pub certificate_names: &'a [String],
}

/// Peers that may identify the user.
///
/// ```
/// use tollgate::auth::{PeerIdentity, TrustedPeers};
///
/// let gateway = TrustedPeers::from_iter(["gateway.mesh.example"]);
/// let far = std::net::Ipv4Addr::new(10, 0, 0, 7).into();
/// assert!(gateway.include(PeerIdentity { ip: far, certificate_names: &["gateway.mesh.example".to_owned()] }));
/// assert!(!gateway.include(PeerIdentity { ip: far, certificate_names: &["intern".to_owned()] }));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    loopback: bool,
    certificates: Vec<String>,
}

/// A header that names the user, and which peers may set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHeader {
    /// Its name.
    pub name: HeaderName,
    /// Which peers may set it.
    pub from: TrustedPeers,
}

impl TrustedPeers {
    /// The keyword for peers on this machine; any other value is a name in a certificate.
    pub const LOOPBACK: &str = "loopback";

    /// Whether a peer is trusted.
    pub fn include(&self, peer: PeerIdentity<'_>) -> bool {
        (self.loopback && peer.ip.to_canonical().is_loopback())
            || peer.certificate_names.iter().any(|name| self.certificates.contains(name))
    }

    /// Whether some peers are trusted by certificate.
    pub fn need_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }
}

impl<S: Into<String>> FromIterator<S> for TrustedPeers {
    /// Built from [`TrustedPeers::LOOPBACK`] and certificate names.
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let (loopback, certificates) = names.into_iter().map(Into::into).partition::<Vec<String>, _>(|name| name == Self::LOOPBACK);
        Self { loopback: !loopback.is_empty(), certificates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(from: &[&str], ip: &str, names: &[&str]) -> bool {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let peer = PeerIdentity { ip: ip.parse().expect("an address"), certificate_names: &names };
        from.iter().copied().collect::<TrustedPeers>().include(peer)
    }

    #[test]
    fn no_peer_is_trusted_by_default() {
        for (ip, names) in [("127.0.0.1", &[][..]), ("::1", &[]), ("10.0.0.1", &["gateway"])] {
            assert!(!trusted(&[], ip, names), "{ip}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(trusted(&["loopback"], ip, &[]) && !trusted(&["gateway"], ip, &[]), "{ip}");
        }
        for ip in ["10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!trusted(&["loopback"], ip, &["loopback"]), "{ip}: a certificate of that name says nothing");
        }
    }

    #[test]
    fn certificates_are_known_by_their_whole_names() {
        assert!(trusted(&["loopback", "gateway"], "10.0.0.1", &["x", "gateway"]));
        for name in ["intern", "Gateway", "gateway.example", "*", ""] {
            assert!(!trusted(&["gateway"], "10.0.0.1", &[name]), "{name}");
        }
    }
}
