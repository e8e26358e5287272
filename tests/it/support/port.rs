//! Ports for servers that cannot choose one themselves.

use std::{
    net::TcpListener,
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
