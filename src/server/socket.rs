//! The socket that connections arrive on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 1024;

/// Listens on an address. `[::]` is every address of both families, whatever the system's default is, and falls back to `0.0.0.0` without
/// IPv6.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(or_without_ipv6(address, open)?.into())
}

fn or_without_ipv6<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match open(address) {
        Err(error) if is_every_address(address) => error,
        result => return result,
    };
    // With these errors IPv6 is available. Systems report in several ways that it is not.
    if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
        return Err(error);
    }
    open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())).map_err(|_| error)
}

fn is_every_address(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_every_address(address) {
        socket.set_only_v6(false)?;
    }
    // A port with old connections in TIME_WAIT is free; elsewhere than on Unix, this option means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The addresses that are tried, on a system where IPv6 fails in this way.
    fn tried(first: &str, kind: io::ErrorKind) -> (Vec<SocketAddr>, io::Result<SocketAddr>) {
        let tried = std::cell::RefCell::new(Vec::new());
        let opened = or_without_ipv6(address(first), |address| {
            tried.borrow_mut().push(address);
            if address.is_ipv4() { Ok(address) } else { Err(kind.into()) }
        });
        (tried.into_inner(), opened)
    }

    #[test]
    fn every_address_is_ipv4s_where_there_is_no_ipv6() {
        for kind in [io::ErrorKind::Unsupported, io::ErrorKind::AddrNotAvailable, io::ErrorKind::Other] {
            let (_, opened) = tried("[::]:8443", kind);
            assert_eq!(opened.expect("falls back"), address("0.0.0.0:8443"));
        }
        for kind in [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied] {
            let (tried, opened) = tried("[::]:8443", kind);
            assert_eq!((tried, opened.expect_err("as it was").kind()), (vec![address("[::]:8443")], kind));
        }
        let (tried, opened) = tried("[::1]:8443", io::ErrorKind::AddrNotAvailable);
        assert_eq!(
            (tried, opened.expect_err("only [::] is every address").kind()),
            (vec![address("[::1]:8443")], io::ErrorKind::AddrNotAvailable)
        );
    }

    #[tokio::test]
    async fn every_address_is_of_both_families() {
        let listener = listen(address("[::]:0")).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let client = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("reachable by IPv4");
        let (_, peer) = listener.accept().await.expect("accepted");
        let local = client.local_addr().expect("connected");
        assert_eq!((peer.ip().to_canonical(), peer.port()), (local.ip(), local.port()));
    }
}
