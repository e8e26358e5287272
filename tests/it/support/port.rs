//! Ports for servers that cannot choose one themselves, and an address that is not loopback's.

use std::{
    net::{IpAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

/// A port that was free a moment ago, from outside the range that the system hands out, so that nobody is given it meanwhile.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that start one after the other begin far apart.
    let first = std::process::id().wrapping_mul(11_129) % 18_000;
    loop {
        let port = 12_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The same, with the port 10,000 above it free as well: Redis Cluster talks to its other nodes there.
pub fn free_port_for_cluster() -> u16 {
    loop {
        let port = free_port();
        // Above this, the second one would be in the system's range.
        if port < 22_700 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// This machine's address towards elsewhere. Nothing is sent.
pub fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket
        .connect("192.0.2.1:9")
        .expect("the machine has a route: some tests come from elsewhere than loopback, so they need another address");
    socket.local_addr().expect("bound").ip()
}
