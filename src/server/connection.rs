//! One connection, from its first byte to its last.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http_body_util::BodyExt;
use hyper::{
    Request, Version,
    body::{Body as _, Incoming},
    header,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::{
    ConnectionLimits, Phase,
    leftover::{Received, UnderWay},
    meter::{Due, Meter, Metered},
    names::names,
    places::{Holder, Place},
    tls::ServerCertificate,
};

/// Why a connection ended otherwise than by agreement.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("its socket is unusable: {0}")]
    Socket(io::Error),
    #[error("no TLS handshake in time")]
    HandshakeLate,
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("it spoke plain HTTP to the TLS port")]
    PlainHttp,
    #[error("it was idle, and its place was needed")]
    Evicted,
    #[error("{0}")]
    Cut(&'static str),
    #[error("{0}")]
    Http(Box<dyn std::error::Error + Send + Sync>),
}

/// How long a connection that had requests has to end when its place is needed.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection holds.
pub(super) struct Held {
    pub(super) meter: Meter,
    pub(super) place: Place<Meter>,
}

/// What all connections of a listener have in common.
pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) tls: Option<Arc<ServerCertificate>>,
    pub(super) limits: ConnectionLimits,
    pub(super) builder: Builder<TokioExecutor>,
    /// Whether clients speak HTTP/2 without being asked, as gRPC does.
    pub(super) is_http2: bool,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Connection {
    /// Serves a connection on the runtime that this is called on.
    pub(super) async fn run(&self, stream: std::net::TcpStream, address: SocketAddr, held: Held) -> Result<(), Ended> {
        let stream = TcpStream::from_std(stream).map_err(Ended::Socket)?;
        // Answers are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.serve(stream, self.is_http2, Peer { address, certificate_names: Arc::default() }, held).await,
            // In a box, so that connections without TLS do not have its size.
            Some(certificate) => Box::pin(self.run_tls(certificate, stream, address, held)).await,
        }
    }

    async fn run_tls(&self, certificate: &ServerCertificate, stream: TcpStream, address: SocketAddr, held: Held) -> Result<(), Ended> {
        let handshake = async {
            let mut first = [0];
            // 22 is a TLS handshake record; an ASCII letter begins an HTTP method.
            if matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase() {
                return Err(plain_http(stream).await);
            }
            TlsAcceptor::from(certificate.config()).accept(stream).await.map_err(Ended::Handshake)
        };
        let stream = tokio::select! {
            stream = timeout(self.limits.handshake, handshake) => stream.map_err(|_| Ended::HandshakeLate)??,
            () = held.place.lost() => return Err(Ended::Evicted),
        };
        let tls = stream.get_ref().1;
        let (is_http2, certificate) = (self.is_http2 || tls.alpn_protocol() == Some(b"h2"), tls.peer_certificates().and_then(<[_]>::first));
        let certificate_names = certificate.map(names).unwrap_or_default().into();
        self.serve(stream, is_http2, Peer { address, certificate_names }, held).await
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
        peer: Peer,
        Held { meter, place }: Held,
    ) -> Result<(), Ended> {
        meter.opened(Instant::now());
        let service = {
            let shared = Arc::new(Answering { meter: meter.clone(), limits: self.limits, phase: self.phase.clone(), peer });
            let router = self.router.clone();
            service_fn(move |request| answer(router.clone(), shared.clone(), request))
        };
        let builder = if is_http2 { self.builder.clone().http2_only() } else { self.builder.clone().http1_only() };
        let mut served = pin!(builder.serve_connection(TokioIo::new(Metered { stream, meter: meter.clone(), is_http2 }), service));
        let mut phase = self.phase.clone();
        // GOAWAY names the last request that is served, so it is safe to send at once; HTTP/1.1 does not have a counterpart.
        let farewell_at = if is_http2 { Phase::Draining } else { Phase::Closing };
        let mut ticks = interval((self.limits.head.min(self.limits.first) / 4).min(Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut limits, mut is_lost, mut asked_to_end) = (self.limits, false, None);
        loop {
            tokio::select! {
                result = served.as_mut() => return result.map_err(Ended::Http),
                () = place.lost(), if !is_lost => {
                    if meter.idle().is_some_and(|idle| !idle.proven) {
                        return Err(Ended::Evicted);
                    }
                    // It was useful before, and its next request may be on the way.
                    is_lost = true;
                    limits.grace = FAREWELL;
                    asked_to_end = Some(Instant::now());
                    served.as_mut().graceful_shutdown();
                }
                _ = phase.wait_for(|phase| *phase >= farewell_at), if asked_to_end.is_none() => {
                    asked_to_end = Some(Instant::now());
                    served.as_mut().graceful_shutdown();
                }
                now = ticks.tick() => match meter.due(now, &limits, is_http2, asked_to_end) {
                    Due::Nothing => {}
                    Due::Farewell if asked_to_end.is_some() => {}
                    Due::Farewell => {
                        asked_to_end = Some(now);
                        served.as_mut().graceful_shutdown();
                    }
                    Due::Cut(why) => return Err(Ended::Cut(why)),
                }
            }
        }
    }
}

/// What the answers on a connection depend on.
struct Answering {
    meter: Meter,
    limits: ConnectionLimits,
    phase: watch::Receiver<Phase>,
    peer: Peer,
}

async fn answer(mut router: Router, connection: Arc<Answering>, request: Request<Incoming>) -> Result<Response, Infallible> {
    let is_http1 = request.version() <= Version::HTTP_11;
    let under_way = Arc::new(UnderWay::begin(connection.meter.clone()));
    let mut request = request.map(|body| Received::new(body, under_way.clone()));
    request.extensions_mut().insert(connection.peer.clone());
    let mut response = router.call(request).await?;
    // An answer of known size is as good as sent; a stream is under way until its end.
    if response.body().size_hint().exact().is_none() {
        response = response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &under_way;
                frame
            }))
        });
    }
    // HTTP/1.1 has no other way to announce the end of a connection: an unaware client sends its next request into a closed one.
    if is_http1 && (*connection.phase.borrow() != Phase::Serving || connection.meter.is_worn_out(Instant::now(), &connection.limits)) {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Who is at the other end: an extension of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// The names (common name and DNS names) of the certificate that it has shown, which was asked for and is good; none without.
    pub certificate_names: Arc<[String]>,
}

async fn plain_http(mut stream: TcpStream) -> Ended {
    let body = "This port speaks HTTPS: use https:// in the URL.\n";
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    // The client is in the wrong place; whether it learns of it does not matter to other clients.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    Ended::PlainHttp
}
