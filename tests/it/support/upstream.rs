//! A server behind the proxy that records requests, and answers as each asks it to.
//!
//! | request | response |
//! |---|---|
//! | `tools/call` of `stream`, or GET | `text/event-stream`, whose events the test sends |
//! | `tools/call` of `slow` | none |
//! | `tools/call` of `broken` | none; the connection is closed |
//! | any other request with an id | its result, in JSON: the tool's name |
//! | a notification | 202 |
//! | DELETE | 204 |
//!
//! Answers repeat `Mcp-Session-Id`. `X-Answer-Status` and `X-Answer: NAME: VALUE` in a request set status and fields of its answer; `ADDRESS` in
//! a value stands for the server's own.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::{Bytes, Frame, Incoming},
    header::{HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(10);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A running server, on the runtime of the test; ended when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    streams: tokio::sync::Mutex<mpsc::UnboundedReceiver<Stream>>,
    accepting: AbortHandle,
}

struct Shared {
    address: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    streams: mpsc::UnboundedSender<Stream>,
}

/// An answer that the test writes, or one that never comes.
pub struct Stream(mpsc::UnboundedSender<Bytes>);

type Body = BoxBody<Bytes, Infallible>;

impl Seen {
    /// A header's value; empty when it did not come.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The tool that is called, or else the method.
    pub fn calls(&self) -> String {
        let message: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        message["params"]["name"].as_str().or(message["method"].as_str()).unwrap_or_default().to_owned()
    }
}

impl Stream {
    /// Sends bytes as they are.
    pub fn send(&self, bytes: impl Into<Bytes>) {
        self.0.send(bytes.into()).expect("the answer is still wanted");
    }

    /// Waits until nobody wants the answer any more.
    pub async fn closed(&self) {
        timeout(PATIENCE, self.0.closed()).await.expect("the client left, and the request goes on at the server");
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Upstream {
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// HTTPS with a certificate and its key; HTTP/2 by ALPN.
    pub async fn start_tls((certificate, key): &(String, String)) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let (sender, streams) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { address, seen: Mutex::default(), connections: AtomicUsize::new(0), streams: sender });
        let of_all = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = of_all.clone();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                match &tls {
                    None => drop(tokio::spawn(serve(stream, shared))),
                    Some(tls) => {
                        let tls = tls.clone();
                        tokio::spawn(async move {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, shared).await;
                            }
                        });
                    }
                }
            }
        });
        Self { address, shared, streams: tokio::sync::Mutex::new(streams), accepting: accepting.abort_handle() }
    }

    /// As `--upstream` takes it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// All requests so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no panic while held").clone()
    }

    /// What they called, in order.
    pub fn called(&self) -> Vec<String> {
        self.seen().iter().map(Seen::calls).collect()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request came")
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The next stream that was asked for.
    pub async fn stream(&self) -> Stream {
        let mut streams = self.streams.lock().await;
        timeout(PATIENCE, streams.recv()).await.expect("a stream is asked for").expect("the server runs")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, shared.clone()));
    // A connection that ends is the test's business.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let seen = Seen { method: head.method.clone(), path, version: head.version, headers: head.headers, body };
    let (calls, session) = (seen.calls(), seen.header("mcp-session-id").to_owned());
    let message: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let wanted = Wanted::of(&seen, &shared);
    shared.seen.lock().expect("no panic while held").push(seen);
    let response = Response::builder().header("mcp-session-id", session);
    let response = match (head.method.as_str(), calls.as_str()) {
        ("DELETE", _) => response.status(204).body(Body::default()),
        ("GET", _) if wanted.status.is_some() => response.body(Body::default()),
        ("GET", _) | (_, "stream") => response.header("content-type", "text/event-stream").body(written_by_test(&shared)),
        (_, "broken") => return Err("told to break".to_owned()),
        (_, "slow") => {
            let (sender, _held) = mpsc::unbounded_channel();
            shared.streams.send(Stream(sender)).expect("the test runs");
            std::future::pending().await
        }
        _ if message.get("id").is_none() && !message.is_array() => response.status(202).body(Body::default()),
        _ => {
            let result = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": calls}]}});
            response.header("content-type", "application/json").body(Full::new(Bytes::from(result.to_string())).boxed())
        }
    };
    Ok(wanted.on(response.expect("a response")))
}

/// What a request says of its answer.
struct Wanted {
    status: Option<u16>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Wanted {
    fn of(seen: &Seen, shared: &Shared) -> Self {
        let fields = seen.headers.get_all("x-answer").iter().map(|field| {
            let field = field.to_str().expect("ASCII").replace("ADDRESS", &shared.address.to_string());
            let (name, value) = field.split_once(": ").expect("NAME: VALUE");
            (name.parse().expect("a name"), value.parse().expect("a value"))
        });
        Self { status: seen.header("x-answer-status").parse().ok(), fields: fields.collect() }
    }

    fn on(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(status) = self.status {
            *response.status_mut() = status.try_into().expect("a status");
        }
        response.headers_mut().extend(self.fields);
        response
    }
}

fn written_by_test(shared: &Shared) -> Body {
    let (sender, receiver) = mpsc::unbounded_channel();
    shared.streams.send(Stream(sender)).expect("the test runs");
    let frames = stream::unfold(receiver, async |mut receiver| {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    BodyExt::boxed(StreamBody::new(frames))
}
