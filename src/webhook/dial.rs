//! The TLS dial to ourselves: proof that the port answers, with the certificate that it should.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use super::health::Health;
use crate::listener::tls::Identity;

const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(3);

/// Dials until told to stop, and tells the health how it went.
pub(super) async fn keep_dialing(address: SocketAddr, identity: Arc<Identity>, health: Arc<Health>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = timeout(DEADLINE, dial(address, &identity)).await.unwrap_or_else(|late| Err(late.into()));
        match (health.dialed(result.is_ok()), result) {
            (true, Ok(())) => info!("ready: the TLS port answers"),
            (true, Err(error)) => warn!(%error, "not ready: the TLS port does not answer"),
            (false, _) => {}
        }
    }
}

async fn dial(address: SocketAddr, identity: &Arc<Identity>) -> io::Result<()> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Arc::new(Pinned { leaf: identity.leaf(), identity: identity.clone(), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(reachable(address)).await?;
    // A server that asks for client certificates refuses us after its own part of the handshake, which is the part that is tested.
    TlsConnector::from(Arc::new(config)).connect(ServerName::IpAddress(address.ip().into()), stream).await.map(drop)
}

/// Where a socket bound to every address can be reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Accepts the certificate that we serve: the one from before the dial, or the one that has replaced it meanwhile.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    identity: Arc<Identity>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if *end_entity == self.leaf || *end_entity == self.identity.leaf() { Ok(ServerCertVerified::assertion()) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
