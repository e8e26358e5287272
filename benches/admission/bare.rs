//! The floor: hyper and rustls, nothing else. Decodes a review to a `Value` and allows it, with its uid.

use std::{convert::Infallible, io::Write, path::Path, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Serves until it is killed. Prints its address, as tollgate does.
pub(super) fn run(cert: &Path, key: &Path) -> anyhow::Result<()> {
    let tls = TlsAcceptor::from(Arc::new(tls(cert, key)?));
    tokio::runtime::Runtime::new()?.block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "bare serves on https://{}/", socket.local_addr()?)?;
        loop {
            let (stream, _) = socket.accept().await?;
            tokio::spawn(serve(stream, tls.clone()));
        }
    })
}

fn tls(cert: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve(stream: TcpStream, tls: TlsAcceptor) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    // How a connection ends is the client's business, which notices what it misses.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    } else {
        let builder = http1::Builder::new().header_read_timeout(None).to_owned();
        let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let echoed = match request.into_body().collect().await {
        Ok(body) => echo(&body.to_bytes()),
        Err(_) => None,
    };
    let is_review = echoed.is_some();
    let mut response = Response::new(Full::new(Bytes::from(echoed.unwrap_or_default())));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if !is_review {
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

fn echo(body: &[u8]) -> Option<Vec<u8>> {
    let review: Value = serde_json::from_slice(body).ok()?;
    let uid = review.get("request")?.get("uid")?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": uid, "allowed": true},
    });
    serde_json::to_vec(&answer).ok()
}
