//! The client: keeps requests in flight for a while, and notes how long each took.
//!
//! It knows just enough of HTTP/1.1 to find the end of a response, so that it uses little of the machine: requests are bytes made once, and
//! only status and length of a response are read.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
    time::timeout,
};

use super::shared::server::Server;

/// For the whole of an answer, or the first event of a stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent.
pub(super) enum Load {
    /// Calls, each of these in its turn.
    Calls { connections: usize, requests: Arc<[Bytes]>, status: u16 },
    /// Streams, one after another, each on a connection of its own and left as soon as its first event is there.
    Streams { request: Bytes },
}

/// Where it is sent, and the process that does the work.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) address: SocketAddr,
    pub(super) server: &'a Server,
}

/// The outcome of a round.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of each request, from its sending to the end of its answer or to its first event.
    pub(super) latencies: Vec<Duration>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
}

/// Sends each call once, whatever the answer: then buckets are there, and empty where they are to deny.
pub(super) async fn prepare(address: SocketAddr, load: &Load) -> anyhow::Result<()> {
    let Load::Calls { requests, .. } = load else { return Ok(()) };
    let mut connection = Connection::open(address).await?;
    for request in requests.iter() {
        connection.exchange(request).await?;
    }
    Ok(())
}

/// Keeps the load up for a while. Connecting does not count for calls.
pub(super) async fn run(address: SocketAddr, load: &Load, duration: Duration) -> anyhow::Result<Tally> {
    match load {
        Load::Calls { connections, requests, status } => calls(address, *connections, requests, *status, duration).await,
        Load::Streams { request } => streams(address, request, duration).await,
    }
}

/// Opens so many streams, and waits until each has had an event.
pub(super) async fn hold(address: SocketAddr, request: &Bytes, count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut held = Vec::new();
    for opened in 0..count {
        let stream = open(address, request).await;
        held.push(stream.with_context(|| format!("{opened} streams are open; file descriptors may be too few (ulimit -n)"))?.0);
    }
    Ok(held)
}

async fn calls(address: SocketAddr, connections: usize, requests: &Arc<[Bytes]>, status: u16, duration: Duration) -> anyhow::Result<Tally> {
    let (connected, turn) = (Arc::new(Barrier::new(connections + 1)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let (connected, turn, requests) = (connected.clone(), turn.clone(), requests.clone());
        callers.spawn(async move {
            let connection = Connection::open(address).await;
            connected.wait().await;
            caller(connection?, &requests, &turn, status, Instant::now() + duration).await
        });
    }
    connected.wait().await;
    let began = Instant::now();
    let mut all = Tally::default();
    while let Some(latencies) = callers.join_next().await {
        all.latencies.extend(latencies??);
    }
    all.elapsed = began.elapsed();
    Ok(all)
}

async fn caller(
    mut connection: Connection,
    requests: &[Bytes],
    turn: &AtomicUsize,
    status: u16,
    until: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    loop {
        let request = &requests[turn.fetch_add(1, Ordering::Relaxed) % requests.len()];
        let sent = Instant::now();
        if sent >= until {
            return Ok(latencies);
        }
        let answered = timeout(PATIENCE, connection.exchange(request)).await.context("no answer in time")??;
        ensure!(answered == status, "HTTP {answered}: {}", String::from_utf8_lossy(&connection.received));
        latencies.push(sent.elapsed());
    }
}

async fn streams(address: SocketAddr, request: &Bytes, duration: Duration) -> anyhow::Result<Tally> {
    let began = Instant::now();
    let mut all = Tally::default();
    while began.elapsed() < duration {
        let (_, took) = open(address, request).await?;
        all.latencies.push(took);
    }
    all.elapsed = began.elapsed();
    Ok(all)
}

/// A stream that has had an event, and how long that took on a connection that was there.
async fn open(address: SocketAddr, request: &[u8]) -> anyhow::Result<(Connection, Duration)> {
    let mut connection = Connection::open(address).await?;
    let sent = Instant::now();
    timeout(PATIENCE, connection.first_event(request)).await.context("no event in time: something keeps it back")??;
    Ok((connection, sent.elapsed()))
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Of the answer under way.
    received: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// A request and its whole answer; the answer's status.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.send(request).await?;
        let head = self.until(|received| end_of(received, b"\r\n\r\n")).await?;
        let (status, length) = read_head(&self.received[..head]).context("an answer without a status or Content-Length")?;
        self.until(|received| (received.len() >= head + length).then_some(())).await?;
        ensure!(self.received.len() == head + length, "there is more than an answer");
        Ok(status)
    }

    async fn first_event(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.send(request).await?;
        let head = self.until(|received| end_of(received, b"\r\n\r\n")).await?;
        ensure!(self.received.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.received));
        self.until(|received| end_of(&received[head..], b"\n\n")).await?;
        Ok(())
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.received.clear();
        Ok(self.stream.write_all(request).await?)
    }

    async fn until<T>(&mut self, found: impl Fn(&[u8]) -> Option<T>) -> anyhow::Result<T> {
        loop {
            if let Some(found) = found(&self.received) {
                return Ok(found);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the connection ends after {:?}", String::from_utf8_lossy(&self.received));
            }
        }
    }
}

/// Where a mark ends.
fn end_of(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len())
}

/// Status, and length of the body.
fn read_head(head: &[u8]) -> Option<(u16, usize)> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = str::from_utf8(lines.next()?.get(9..12)?).ok()?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    })?;
    Some((status, str::from_utf8(length).ok()?.trim().parse().ok()?))
}
