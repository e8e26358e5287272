//! A TCP link to a server, which a test slows down, cuts or silences while it is in use.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// What becomes of bytes that arrive from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Free,
    /// Answers come this much later, at any rate.
    Slow(Duration),
    /// Requests are lost: the server is not asked, and nobody is told. What has lost something stays so, whatever the flow: no connection
    /// loses some bytes and passes later ones.
    NoRequests,
    /// Answers are lost: the server is asked, and nobody hears of it. Stays so as well.
    NoAnswers,
    /// New connections end at once.
    Refused,
}

/// A listener that passes everything on; ended when dropped.
pub struct Link {
    pub address: SocketAddr,
    flow: watch::Sender<Flow>,
    cuts: watch::Sender<u32>,
    accepting: AbortHandle,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Requests,
    Answers,
}

impl Flow {
    fn loses(self, way: Way) -> bool {
        matches!((self, way), (Self::NoRequests, Way::Requests) | (Self::NoAnswers, Way::Answers))
    }

    fn delay(self, way: Way) -> Duration {
        match (self, way) {
            (Self::Slow(delay), Way::Answers) => delay,
            _ => Duration::ZERO,
        }
    }
}

impl Link {
    /// A free link to a server. It lives on the runtime of the test.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (flow, flows) = watch::channel(Flow::Free);
        let (cuts, cut) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *flows.borrow() != Flow::Refused {
                    tokio::spawn(pass(stream, server, flows.clone(), cut.clone()));
                }
            }
        });
        Self { address, flow, cuts, accepting: accepting.abort_handle() }
    }

    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// Breaks every connection that there is.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, until either side ends it, or a cut, or the end of the link.
async fn pass(stream: TcpStream, server: SocketAddr, flows: watch::Receiver<Flow>, mut cut: watch::Receiver<u32>) {
    cut.mark_unchanged();
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    for stream in [&stream, &upstream] {
        // Without it, an answer in two parts may wait for 40 ms.
        let _ = stream.set_nodelay(true);
    }
    let ((requests, answer), (answers, request)) = (stream.into_split(), upstream.into_split());
    tokio::select! {
        () = pump(requests, request, flows.clone(), Way::Requests) => {}
        () = pump(answers, answer, flows, Way::Answers) => {}
        _ = cut.changed() => {}
    }
}

/// Passes one direction on. Reads while earlier bytes are held back, so that a delay does not limit the throughput.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, flows: watch::Receiver<Flow>, way: Way) {
    let (held, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let (mut buffer, mut lossy) = ([0; 16 * 1024], false);
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let flow = *flows.borrow();
            lossy |= flow.loses(way);
            if !lossy && held.send((Instant::now() + flow.delay(way), buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use redis::aio::MultiplexedConnection;
    use tokio::time::timeout;

    use super::*;
    use crate::support::redis::Server;

    #[tokio::test]
    async fn a_link_is_free_slow_silent_and_cut() {
        let server = Server::start().await;
        let link = Link::to(server.address()).await;
        let client = redis::Client::open(format!("redis://{}", link.address)).expect("a good URL");
        let connect = async || client.get_multiplexed_async_connection().await;
        let connection = connect().await.expect("the link is free");
        let incr_on =
            async |connection: &MultiplexedConnection| redis::cmd("INCR").arg("k").query_async::<u32>(&mut connection.clone()).await;
        let incr = || incr_on(&connection);
        assert_eq!(incr().await.expect("it is free"), 1);

        link.set(Flow::Slow(Duration::from_millis(100)));
        let started = Instant::now();
        let many = futures_util::future::join_all((0..50).map(|_| incr())).await;
        assert!(many.into_iter().all(|answer| answer.is_ok()));
        assert!((100..200).contains(&started.elapsed().as_millis()), "{:?} for 50 at once", started.elapsed());

        let patience = Duration::from_millis(50);
        link.set(Flow::NoRequests);
        assert!(timeout(patience, incr()).await.is_err(), "answered");
        assert_eq!(server.ask::<u32>("GET k").await, 51);
        link.set(Flow::Free);
        assert!(timeout(patience, incr()).await.is_err(), "answered");
        let connection = connect().await.expect("the link is free");
        link.set(Flow::NoAnswers);
        assert!(timeout(patience, incr_on(&connection)).await.is_err(), "answered");
        assert_eq!(server.ask::<u32>("GET k").await, 52);

        link.set(Flow::Refused);
        link.cut();
        assert!(incr().await.is_err_and(|error| error.is_connection_dropped()));
        assert!(connect().await.is_err_and(|error| error.is_connection_dropped() || error.is_connection_refusal()));
        link.set(Flow::Free);
        assert!(connect().await.is_ok());
    }
}
