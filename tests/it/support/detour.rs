//! Forward proxies, HTTP's and SOCKS 5, that lead to one server whatever they are asked for, and remember what that was.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Reads what a client wants; its `host:port`.
type Greet = fn(&mut TcpStream) -> io::Result<String>;

/// A proxy that serves until the test process ends.
#[derive(Debug)]
pub struct Detour {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Detour {
    /// A proxy that speaks HTTP: `CONNECT host:port`.
    pub fn http(server: SocketAddr) -> Self {
        Self::start(server, greet_http)
    }

    /// A SOCKS 5 proxy that wants no password.
    pub fn socks5(server: SocketAddr) -> Self {
        Self::start(server, greet_socks5)
    }

    fn start(server: SocketAddr, greet: Greet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                thread::spawn(move || pass(stream, server, greet, &log));
            }
        });
        Self { address, asked }
    }

    /// What it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic while held"))
    }
}

fn pass(mut client: TcpStream, server: SocketAddr, greet: Greet, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let target = greet(&mut client)?;
    log.lock().expect("no panic while held").push(target);
    let mut server = TcpStream::connect(server)?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(std::net::Shutdown::Both)
}

fn greet_http(client: &mut TcpStream) -> io::Result<String> {
    // One byte at a time: what comes after the head is not for us.
    let mut head = BufReader::with_capacity(1, client.try_clone()?);
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut line = String::from("-");
    while !line.trim().is_empty() {
        line.clear();
        head.read_line(&mut line)?;
    }
    let target = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).ok_or(io::ErrorKind::InvalidData)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    Ok(target.to_owned())
}

fn greet_socks5(client: &mut TcpStream) -> io::Result<String> {
    let mut byte = || {
        let mut byte = [0];
        client.read_exact(&mut byte).map(|()| byte[0])
    };
    let (version, methods) = (byte()?, byte()?);
    for _ in 0..methods {
        byte()?;
    }
    if version != 5 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    client.write_all(&[5, 0])?;
    let mut head = [0; 5];
    client.read_exact(&mut head)?;
    let [_, 1, _, 3, length] = head else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut name = vec![0; usize::from(length)];
    client.read_exact(&mut name)?;
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("{}:{}", String::from_utf8_lossy(&name), u16::from_be_bytes(port)))
}
