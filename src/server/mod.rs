//! An HTTP server that outlives its clients: own accept loop, TLS, deadlines, caps, and an end in three phases.
//!
//! What each connection has to keep to is in [`ConnectionLimits`]. A client that never speaks, stops in the middle of a handshake or of a request
//! head, or stays forever loses its connection, and no one else does. When there are as many connections as allowed, a new one gets the
//! place of the one that has been idle for the longest; those that have never sent a request go first. HTTP/1.1 and HTTP/2 by ALPN; plain HTTP/1.1, or HTTP/2 where configured ([`Listener::http2`]),
//! where no [`tls::ServerCertificate`] is given, and a plain-text answer for clients that speak HTTP to the TLS port.
//!
//! An HTTP/1.1 connection ends with an answer that says `Connection: close`, an HTTP/2 connection with GOAWAY, so that the client does not
//! lose a request to it.
//!
//! The end, announced through [`Phase`]: while *draining*, new connections and requests are still served, and every HTTP/1.1 answer says
//! `Connection: close`, so that clients go elsewhere by themselves; when *closing*, nothing new is accepted, idle connections end and
//! requests under way are finished.
//!
//! Connections are served where the listener is, or on threads of their own ([`Listener::spread`]).

pub mod budget;
mod connection;
mod leftover;
mod meter;
mod names;
pub mod operations;
pub(crate) mod places;
mod run;
mod socket;
pub mod tls;
mod workers;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::warn;

pub use self::{connection::Peer, run::Life, workers::Workers};
use self::{
    connection::{Connection, Held},
    meter::Meter,
    places::Places,
    tls::{ServerCertificate, TlsError},
    workers::Lanes,
};

/// What a connection has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once; more wait in the kernel's backlog while none of these is idle.
    pub connections: usize,
    /// For the TLS handshake, first byte included.
    pub handshake: Duration,
    /// From the handshake, or without TLS from the connection's begin, to the first byte of the first request.
    pub first: Duration,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Without a request. Longer than the 90 s after which a Go client drops an idle connection by itself: who closes first loses a call.
    pub idle: Duration,
    /// Age after which a connection ends with its next answer, so that replicas that came later get their share.
    pub age: Duration,
    /// Requests after which it ends, for the same reason.
    pub requests: u64,
    /// For requests under way when closing, and for a connection without any to end once it was asked to.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: usize::from(CONNECTIONS),
            handshake: Duration::from_secs(5),
            first: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            age: Duration::from_secs(10 * 60),
            requests: 20_000,
            grace: Duration::from_secs(10),
        }
    }
}

/// The default of [`ConnectionLimits::connections`].
pub const CONNECTIONS: u16 = 1024;

/// A connection that has been idle for less keeps its place: between two requests of a burst, each is idle for a moment.
const SPARED: Duration = Duration::from_millis(100);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not begun.
    Serving,
    /// Clients are asked to leave; everything is still served.
    Draining,
    /// Nothing new; what is under way is finished.
    Closing,
}

/// Why a server cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket: the address is in use, not ours, or not permitted.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system reports it.
        error: io::Error,
    },
    /// The threads that serve connections.
    #[error("cannot start threads: {0}")]
    Threads(#[source] io::Error),
}

/// A socket that is bound and not yet served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerCertificate>>,
    limits: ConnectionLimits,
    is_http2: bool,
    workers: Option<Workers>,
}

impl Listener {
    /// Binds a socket. Port 0 picks a free one; `[::]` is every address, of IPv4 too, and `0.0.0.0` without IPv6.
    ///
    /// # Errors
    /// [`BindError::Listen`].
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerCertificate>>, limits: ConnectionLimits) -> Result<Self, BindError> {
        let failed = |error| BindError::Listen { address, error };
        let socket = socket::listen(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls, limits, is_http2: false, workers: None })
    }

    /// Speaks HTTP/2 alone, also over plain TCP, where no protocol is negotiated: for gRPC.
    #[must_use]
    pub fn http2(self) -> Self {
        Self { is_http2: true, ..self }
    }

    /// Serves each connection on one of these threads, whichever has the fewest connections then.
    #[must_use]
    pub fn spread(self, workers: Workers) -> Self {
        Self { workers: Some(workers), ..self }
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the phase is [`Phase::Closing`] and the last request has ended or has had its grace.
    pub async fn serve(self, router: Router, phase: watch::Receiver<Phase>) {
        self.serve_each(move || router.clone(), phase).await;
    }

    /// The same, with a router for each thread, so that what a router holds need not be shared between them.
    pub async fn serve_each(mut self, mut router: impl FnMut() -> Router, mut phase: watch::Receiver<Phase>) {
        let places = Places::new(self.limits.connections, SPARED);
        let lanes = Lanes::new(self.workers.take(), || Connection {
            router: router(),
            tls: self.tls.clone(),
            limits: self.limits,
            builder: builder(),
            is_http2: self.is_http2,
            phase: phase.clone(),
        });
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = closing(&mut phase) => break,
            };
            while tasks.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    // IPv4 arrives on an IPv6 socket as ::ffff:10.0.0.1, which is not what anyone compares with.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    let meter = Meter::new(Instant::now());
                    let place = tokio::select! {
                        place = places.take(meter.clone()) => place,
                        () = closing(&mut phase) => break,
                    };
                    lanes.spawn(&mut tasks, stream, peer, Held { meter, place });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: wait for some to come back instead of spinning.
                    warn!(%error, "cannot accept connections");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.socket);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.grace, ended).await.is_err() {
            warn!(connections = tasks.len(), "requests did not end in time; their connections are cut");
        }
    }
}

/// Waits until the phase is closing, or no one is left to say so.
pub async fn closing(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

/// What an HTTP/2 client may send before it is read is memory that no budget knows of: this for all bodies of a connection, half of it for
/// one, which is as much as is buffered over HTTP/1.1.
const WINDOW: u32 = 128 * 1024;

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Heads and idle connections are watched by `meter`, for both protocols alike; hyper's own timer cannot distinguish the two.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(256)
        .initial_stream_window_size(WINDOW / 2)
        .initial_connection_window_size(WINDOW);
    builder
}
