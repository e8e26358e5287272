//! The client: keeps a number of requests in flight for a while, and notes how long each took.
//!
//! It decodes nothing and builds nothing: head and body are made once and shared. A connection that the server asks to end (tollgate does,
//! so that load spreads over replicas) is replaced, as any client would; what was under way on it is sent again and not counted.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    http::request::Parts,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, sync::Barrier, task::JoinSet};
use tokio_rustls::TlsConnector;
use tollgate::admission::Hook;

pub(super) type TlsClient = Arc<ClientConfig>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// How many requests are in flight, and on how many connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    pub(super) connections: usize,
    /// Requests in flight on each connection; one in HTTP/1.1.
    pub(super) streams: usize,
}

/// Where a request goes, and the request.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: SocketAddr,
    tls: TlsClient,
    protocol: Protocol,
    head: Parts,
    body: Bytes,
}

/// The outcome of a round.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of each answered request, from its sending to the end of its answer.
    pub(super) latencies: Vec<Duration>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// Requests that lost their connection.
    pub(super) lost: usize,
}

/// A client's side of TLS, in which one CA is trusted.
pub(super) fn trusting(ca_pem: &[u8]) -> anyhow::Result<TlsClient> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Target {
    pub(super) fn new(address: SocketAddr, tls: TlsClient, protocol: Protocol, hook: Hook, body: Bytes) -> Self {
        let mut tls = (*tls).clone();
        let mut request = Request::new(());
        *request.method_mut() = hyper::Method::POST;
        request.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
        // In HTTP/2 the host is a part of the target, in HTTP/1.1 a header. `timeout` is what the API server adds.
        *request.uri_mut() = match (protocol, hook) {
            (Protocol::Http1, Hook::Validate) => hyper::Uri::from_static("/validate?timeout=10s"),
            (Protocol::Http1, Hook::Mutate) => hyper::Uri::from_static("/mutate?timeout=10s"),
            (Protocol::Http2, Hook::Validate) => hyper::Uri::from_static("https://localhost/validate?timeout=10s"),
            (Protocol::Http2, Hook::Mutate) => hyper::Uri::from_static("https://localhost/mutate?timeout=10s"),
        };
        if protocol == Protocol::Http1 {
            request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("localhost"));
        }
        tls.alpn_protocols = vec![if protocol == Protocol::Http1 { b"http/1.1".to_vec() } else { b"h2".to_vec() }];
        Self { address, tls: Arc::new(tls), protocol, head: request.into_parts().0, body }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::from_parts(self.head.clone(), Full::new(self.body.clone()))
    }

    async fn connect(&self) -> anyhow::Result<Sender> {
        let stream = TcpStream::connect(self.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(ServerName::try_from("localhost")?, stream).await.context("TLS")?;
        // Requests on the connection report how it ended.
        Ok(match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        })
    }
}

/// A connection that requests can be sent on.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }

    /// As many senders as requests may be in flight.
    fn split(self, streams: usize) -> Vec<Self> {
        match self {
            Self::Http1(_) => vec![self],
            Self::Http2(sender) => (0..streams).map(|_| Self::Http2(sender.clone())).collect(),
        }
    }
}

/// One request on a connection of its own, and its answer's body.
pub(super) async fn ask(target: &Target) -> anyhow::Result<Bytes> {
    let response = target.connect().await?.send(target.request()).await?;
    ensure!(response.status() == 200, "HTTP {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}

/// Keeps the load up for a while; connecting does not count.
pub(super) async fn run(target: &Target, load: &Load, duration: Duration) -> anyhow::Result<Tally> {
    let connected = Arc::new(Barrier::new(load.connections + 1));
    let mut lanes = JoinSet::new();
    for _ in 0..load.connections {
        let (target, streams, connected) = (target.clone(), load.streams, connected.clone());
        lanes.spawn(async move {
            let sender = target.connect().await;
            connected.wait().await;
            lane(target, sender?, streams, Instant::now() + duration).await
        });
    }
    connected.wait().await;
    let began = Instant::now();
    let mut all = Tally::default();
    while let Some(tally) = lanes.join_next().await {
        all.add(tally??);
    }
    all.elapsed = began.elapsed();
    ensure!(all.lost * 100 <= all.latencies.len(), "{} requests were answered and {} were not", all.latencies.len(), all.lost);
    Ok(all)
}

/// One connection at a time, until the time is up.
async fn lane(target: Target, mut sender: Sender, streams: usize, until: Instant) -> anyhow::Result<Tally> {
    let mut all = Tally::default();
    loop {
        let mut tasks = JoinSet::new();
        for sender in sender.split(streams) {
            tasks.spawn(stream(target.clone(), sender, until));
        }
        while let Some(tally) = tasks.join_next().await {
            all.add(tally??);
        }
        if Instant::now() >= until {
            return Ok(all);
        }
        sender = target.connect().await?;
    }
}

/// One request at a time, until the time is up or the connection ends.
async fn stream(target: Target, mut sender: Sender, until: Instant) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let sent = Instant::now();
        if sent >= until {
            return Ok(tally);
        }
        let Ok(status) = exchange(&mut sender, target.request()).await else {
            tally.lost += 1;
            return Ok(tally);
        };
        ensure!(status == 200, "HTTP {status}");
        tally.latencies.push(sent.elapsed());
    }
}

/// A request and its whole answer; only the status is looked at.
async fn exchange(sender: &mut Sender, request: Request<Full<Bytes>>) -> hyper::Result<u16> {
    let mut response = sender.send(request).await?;
    while let Some(frame) = response.body_mut().frame().await {
        frame?;
    }
    Ok(response.status().as_u16())
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.lost += other.lost;
    }
}
