//! Threads that each serve a share of the connections, on a runtime of their own.
//!
//! A request that is forwarded passes several times between the task of its connection and that of a connection to another server. On one
//! thread, such a step is a push to a queue. A runtime of several threads wakes another thread for many of them, which costs more than the
//! step itself.
//!
//! A connection stays on its thread, so a thread gets a new one only while no other has fewer.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, available_parallelism},
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
};
use tracing::debug;

use super::connection::{Connection, Held};

/// Threads that serve connections; they end when this is dropped.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Dropped at the end.
    _end: oneshot::Sender<Infallible>,
}

impl Workers {
    /// One thread for each core that this process may use.
    ///
    /// # Errors
    /// When the system does not provide them.
    pub fn start() -> io::Result<Self> {
        Self::of(available_parallelism().map_or(1, usize::from))
    }

    fn of(count: usize) -> io::Result<Self> {
        Ok(Self((0..count).map(Worker::start).collect::<io::Result<_>>()?))
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let worker = Self { runtime: runtime.handle().clone(), _end: end };
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _ = runtime.block_on(ended);
            // Does not wait for a name that is being looked up.
            runtime.shutdown_background();
        })?;
        Ok(worker)
    }
}

/// Where connections are served.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// As long as connections are served.
    _workers: Option<Workers>,
}

struct Lane {
    runtime: Handle,
    connection: Arc<Connection>,
}

impl Lanes {
    /// A lane for each thread, or, without any, one for the current runtime.
    pub(super) fn new(workers: Option<Workers>, mut connection: impl FnMut() -> Connection) -> Self {
        let runtimes = match &workers {
            Some(Workers(workers)) => workers.iter().map(|worker| worker.runtime.clone()).collect(),
            None => vec![Handle::current()],
        };
        let lanes = runtimes.into_iter().map(|runtime| Lane { runtime, connection: Arc::new(connection()) });
        Self { lanes: lanes.collect(), _workers: workers }
    }

    /// Serves a connection in the lane that has the fewest.
    pub(super) fn spawn(&self, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, held: Held) {
        // Each connection holds one reference.
        let Some(lane) = self.lanes.iter().min_by_key(|lane| Arc::strong_count(&lane.connection)) else { return };
        // A socket belongs to the runtime that watches it.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return debug!(%peer, %error, "connection ended"),
        };
        let connection = Arc::clone(&lane.connection);
        let serving = async move {
            if let Err(error) = connection.run(stream, peer, held).await {
                debug!(%peer, %error, "connection ended");
            }
        };
        tasks.spawn_on(serving, &lane.runtime);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::Router;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::watch,
    };

    use super::{
        super::{ConnectionLimits, Listener, Phase},
        *,
    };

    /// Asks for the name of the thread that serves a connection.
    async fn thread_of(connection: &mut TcpStream) -> String {
        connection.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is open");
        let mut answer = String::new();
        while !answer.contains("worker-") {
            let mut piece = [0; 1024];
            let length = connection.read(&mut piece).await.expect("it is open");
            assert_ne!(length, 0, "{answer}");
            answer.push_str(std::str::from_utf8(&piece[..length]).expect("ASCII"));
        }
        answer.rsplit("\r\n").next().expect("a body").to_owned()
    }

    async fn threads_of(connections: &mut [TcpStream]) -> Vec<String> {
        let mut threads = Vec::new();
        for connection in connections {
            threads.push(thread_of(connection).await);
        }
        threads
    }

    #[tokio::test]
    async fn connections_are_spread_evenly_and_stay_where_they_are() {
        let limits = ConnectionLimits { grace: std::time::Duration::from_millis(100), ..ConnectionLimits::default() };
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), None, limits).await.expect("a free port");
        let listener = listener.spread(Workers::of(3).expect("threads"));
        let address = listener.address();
        let phase = watch::Sender::new(Phase::Serving);
        let mut routers = 0;
        let here = || async { thread::current().name().map(str::to_owned).expect("a name") };
        let router = move || {
            routers += 1;
            assert!(routers <= 3, "one for each thread");
            Router::new().fallback(here)
        };
        let serving = tokio::spawn(listener.serve_each(router, phase.subscribe()));
        let mut connections = Vec::new();
        for _ in 0..7 {
            connections.push(TcpStream::connect(address).await.expect("accepted"));
        }
        let threads = threads_of(&mut connections).await;
        let mut counts = BTreeMap::new();
        threads.iter().for_each(|thread| *counts.entry(thread.as_str()).or_insert(0) += 1);
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("worker-0", 3), ("worker-1", 2), ("worker-2", 2)]);
        assert_eq!(threads_of(&mut connections).await, threads);
        phase.send_replace(Phase::Closing);
        serving.await.expect("it ends");
        assert!(TcpStream::connect(address).await.is_err(), "nothing new is accepted");
    }
}
