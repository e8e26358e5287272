//! What a Service is to the API server: one address, and behind it whichever servers say that they are ready.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A server: where it listens, and where it says whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backend {
    address: SocketAddr,
    health: SocketAddr,
    is_ready: bool,
}

/// Forwards connections until the test process ends.
#[derive(Debug)]
pub struct Balancer {
    pub address: SocketAddr,
    backends: Arc<Mutex<Vec<Backend>>>,
}

impl Balancer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let backends: Arc<Mutex<Vec<Backend>>> = Arc::default();
        let (probed, used) = (backends.clone(), backends.clone());
        thread::spawn(move || {
            loop {
                let all = probed.lock().expect("no panic while held").clone();
                for backend in all {
                    let is_ready = is_ready(backend.health).unwrap_or_default();
                    let mut known = probed.lock().expect("no panic while held");
                    known.iter_mut().filter(|known| known.health == backend.health).for_each(|known| known.is_ready = is_ready);
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        thread::spawn(move || {
            let turn = AtomicUsize::new(0);
            for client in listener.incoming().flatten() {
                let ready: Vec<_> = used.lock().expect("no panic while held").iter().filter(|backend| backend.is_ready).copied().collect();
                let from = turn.fetch_add(1, Ordering::Relaxed);
                let server = (0..ready.len()).find_map(|at| TcpStream::connect(ready[(from + at) % ready.len()].address).ok());
                if let Some(server) = server {
                    thread::spawn(move || join(client, server));
                }
            }
        });
        Self { address, backends }
    }

    pub fn add(&self, address: SocketAddr, health: SocketAddr) {
        self.backends.lock().expect("no panic while held").push(Backend { address, health, is_ready: false });
    }

    pub fn remove(&self, address: SocketAddr) {
        self.backends.lock().expect("no panic while held").retain(|backend| backend.address != address);
    }

    pub fn ready(&self) -> usize {
        self.backends.lock().expect("no panic while held").iter().filter(|backend| backend.is_ready).count()
    }
}

fn is_ready(health: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(health)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let (mut from_client, mut to_server) = (client, server);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut from_client, &mut to_server);
    to_server.shutdown(Shutdown::Both)
}
