//! A relay to an MCP server that fails one call, the third, and passes everything else.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// How the call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The connection ends without an answer.
    Down,
    /// There is no answer, and the connection goes on.
    Slow,
}

const FAILS: u32 = 3;

/// Begins to relay, until the test process ends.
pub fn relay(server: SocketAddr, outage: Outage) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let calls = Arc::new(AtomicU32::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let calls = calls.clone();
            thread::spawn(move || pass(stream, server, outage, &calls));
        }
    });
    address
}

fn pass(mut client: TcpStream, server: SocketAddr, outage: Outage, calls: &AtomicU32) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = client.read(&mut buffer)?;
        let bytes = &buffer[..length];
        let is_call = bytes.windows(12).any(|window| window == b"\"tools/call\"");
        match outage {
            _ if length == 0 => return server.shutdown(Shutdown::Both),
            Outage::Down if is_call && calls.fetch_add(1, Ordering::Relaxed) + 1 == FAILS => return server.shutdown(Shutdown::Both),
            Outage::Slow if is_call && calls.fetch_add(1, Ordering::Relaxed) + 1 == FAILS => {}
            _ => server.write_all(bytes)?,
        }
    }
}
