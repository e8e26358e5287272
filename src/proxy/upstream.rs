//! The MCP server behind the proxy: connections to it, and its responses.
//!
//! Connections are reused, but only for a short time: if a server closes an idle one while a request is in flight, the call may have run and
//! cannot be retried ([`sending`](super::sending)). Over TLS, HTTP/2 is used if the server offers it. Responses are forwarded byte for byte,
//! without buffering. When a client disconnects, its response is dropped, which ends the request at the server too: an HTTP/1.1 connection
//! is closed, an HTTP/2 stream reset.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http::{Request, Response, Uri, Version, uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    hop,
    location::Origin,
    sending::{Head, Sending, was_never_taken},
};

const CONNECT: Duration = Duration::from_secs(5);
/// Shorter than what servers keep an idle connection for, so that this side is the one to close it: gunicorn 2 s, uvicorn and Node 5 s. Their
/// clocks start when the answer is sent, this one when it has been passed on.
const KEEP_IDLE: Duration = Duration::from_millis(1500);

/// Flow control window of a response.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow control window of a connection. If it were as small, one client that does not read would block the responses of all others.
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

/// The server that requests are forwarded to. Clones share its connections.
#[derive(Clone)]
pub(super) struct Upstream {
    scheme: uri::Scheme,
    authority: uri::Authority,
    /// The path for requests to `/`.
    path: String,
    /// Whether the server may report that it did not process a request.
    may_speak_http2: bool,
    is_h2c: bool,
    connector: HttpsConnector<HttpConnector>,
    client: Client<HttpsConnector<HttpConnector>, Sending>,
    /// The timeout for the head of a response.
    answer_within: Duration,
}

/// Why `--upstream` cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Not a URL of a web server.
    #[error("the upstream is not http://HOST[:PORT][/PATH], https://.. or h2c://..: {0}")]
    Url(String),
    /// The system's CA certificates cannot be read.
    #[error("cannot read the CA certificates of this system, needed for an https upstream: {0}")]
    Roots(#[source] io::Error),
    /// The CA of the upstream's certificate cannot be used.
    #[error("{} is not a file of CA certificates in PEM: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Why a request got no response.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error("the MCP server cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the MCP server did not answer")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the MCP server did not answer in time")]
    Late,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NoAnswer {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Unreachable(_) | Self::Broken(_) => 502,
            Self::Late => 504,
        }
    }
}

impl Upstream {
    /// An `https` server's certificate has to come from a CA in this file (PEM), or else from one that this system trusts.
    pub(super) fn new(url: &str, ca: Option<&Path>, answer_within: Duration) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::Url(url.to_owned());
        let parts = url.parse::<Uri>().map_err(|_| bad())?.into_parts();
        let authority =
            parts.authority.filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@')).ok_or_else(bad)?;
        let (scheme, is_h2c) = match parts.scheme.as_ref().map(uri::Scheme::as_str) {
            Some("http") => (uri::Scheme::HTTP, false),
            Some("h2c") => (uri::Scheme::HTTP, true),
            Some("https") => (uri::Scheme::HTTPS, false),
            _ => return Err(bad()),
        };
        let path = parts.path_and_query.filter(|path| path.query().is_none()).ok_or_else(bad)?.path().to_owned();
        let is_https = scheme == uri::Scheme::HTTPS;
        let connector = connector(tls(ca, is_https)?, is_h2c);
        let client = client(connector.clone(), is_h2c);
        Ok(Self { scheme, authority, path, may_speak_http2: is_h2c || is_https, is_h2c, connector, client, answer_within })
    }

    /// The same server, with connections of its own.
    pub(super) fn apart(&self) -> Self {
        Self { client: client(self.connector.clone(), self.is_h2c), ..self.clone() }
    }

    /// Forwards a request with this body, and returns the response as it arrives.
    pub(super) async fn pass(&self, head: Head, body: Bytes) -> Result<Response<Body>, NoAnswer> {
        let answer = timeout(self.answer_within, self.answer(head, body)).await.map_err(|_| NoAnswer::Late)?;
        let mut answer = answer
            .map_err(|error| if error.is_connect() { NoAnswer::Unreachable(error.into()) } else { NoAnswer::Broken(error.into()) })?;
        hop::leave_hop(answer.headers_mut(), None);
        *answer.version_mut() = Version::HTTP_11;
        Ok(answer.map(|body| Body::new(body.map_err(axum::Error::new))))
    }

    /// Sends a request, and retries once if the server certainly did not process it.
    async fn answer(&self, head: Head, body: Bytes) -> Result<Response<Incoming>, legacy::Error> {
        let (body, spare) = Sending::new(&head, body, self.may_speak_http2);
        let error = match self.client.request(self.request(head, body)).await {
            Err(error) if was_never_taken(&error) => error,
            outcome => return outcome,
        };
        let Some((head, body)) = spare.again() else { return Err(error) };
        tracing::debug!(error = %super::chain(&error), "the MCP server did not accept a request, retrying");
        self.client.request(self.request(head, Sending::once(body))).await
    }

    fn request(&self, head: Head, body: Sending) -> Request<Sending> {
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = self.uri(&head.uri);
        *request.headers_mut() = head.headers;
        request
    }

    /// The names by which the server may refer to itself.
    pub(super) fn origin(&self) -> Origin {
        Origin::new(&self.scheme, &self.authority)
    }

    /// The path of the MCP endpoint.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same path and query there; `/` is the path of `--upstream`.
    fn uri(&self, asked: &Uri) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        let path_and_query = match (asked.path(), asked.query()) {
            ("/" | "", None) => self.path.parse().ok(),
            ("/" | "", Some(query)) => format!("{}?{query}", self.path).parse().ok(),
            _ => asked.path_and_query().cloned(),
        };
        parts.path_and_query = path_and_query.or_else(|| Some(uri::PathAndQuery::from_static("/")));
        Uri::from_parts(parts).unwrap_or_default()
    }
}

fn tls(ca: Option<&Path>, is_https: bool) -> Result<ClientConfig, UpstreamError> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| UpstreamError::Roots(io::Error::other(error)))?;
    let builder = match ca {
        Some(ca) => builder.with_root_certificates(roots(ca)?),
        None if is_https => builder.with_native_roots().map_err(UpstreamError::Roots)?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, UpstreamError> {
    let failed = |why: String| UpstreamError::Ca { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        roots.add(certificate.map_err(|error| failed(error.to_string()))?).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it contains none".to_owned())) } else { Ok(roots) }
}

fn connector(tls: ClientConfig, is_h2c: bool) -> HttpsConnector<HttpConnector> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if is_h2c { builder.enable_http2().wrap_connector(tcp) } else { builder.enable_all_versions().wrap_connector(tcp) }
}

fn client(connector: HttpsConnector<HttpConnector>, is_h2c: bool) -> Client<HttpsConnector<HttpConnector>, Sending> {
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).pool_idle_timeout(KEEP_IDLE).http2_only(is_h2c);
    client.http2_keep_alive_interval(Duration::from_secs(30));
    client.http2_initial_stream_window_size(STREAM_WINDOW).http2_initial_connection_window_size(CONNECTION_WINDOW);
    client.build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Result<Upstream, UpstreamError> {
        Upstream::new(url, None, Duration::from_secs(1))
    }

    #[test]
    fn paths_go_where_they_went() {
        let upstream = upstream("http://127.0.0.1:9000/mcp").expect("a URL");
        for (asked, goes) in [
            ("/mcp", "http://127.0.0.1:9000/mcp"),
            ("/", "http://127.0.0.1:9000/mcp"),
            ("/?a=b", "http://127.0.0.1:9000/mcp?a=b"),
            ("/messages?session_id=7", "http://127.0.0.1:9000/messages?session_id=7"),
            ("http://elsewhere/mcp", "http://127.0.0.1:9000/mcp"),
        ] {
            assert_eq!(upstream.uri(&asked.parse().expect("a URI")).to_string(), goes, "{asked}");
        }
    }

    #[test]
    fn what_is_no_web_server_is_refused() {
        for url in ["", "mcp", "ftp://a", "127.0.0.1:9000", "http://", "http://u:p@a/", "http://a/?q=1"] {
            assert!(matches!(upstream(url), Err(UpstreamError::Url(said)) if said == url), "{url}");
        }
        assert!(upstream("h2c://a:1").is_ok() && upstream("https://a").is_ok());
    }
}
