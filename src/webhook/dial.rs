//! TLS dials: to ourselves, as proof that the port answers with the certificate that it should, and to others, to see which they show.

use std::{
    fmt, io,
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
use crate::server::tls::ServerCertificate;

const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(3);

/// Dials until it is stopped, and reports the outcome to the health.
pub(super) async fn keep_dialing(address: SocketAddr, certificate: Arc<ServerCertificate>, health: Arc<Health>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = timeout(DEADLINE, dial(address, &certificate)).await.unwrap_or_else(|late| Err(late.into()));
        let result = result.and_then(|()| certificate.validity().map_err(io::Error::other));
        match (health.dialed(result.is_ok()), result) {
            (true, Ok(())) => info!("ready: the TLS port answers"),
            (true, Err(error)) => warn!(%error, "not ready: the TLS port does not answer with a valid certificate"),
            (false, _) => {}
        }
    }
}

async fn dial(address: SocketAddr, certificate: &Arc<ServerCertificate>) -> io::Result<()> {
    // The certificate that we serve: the one from before the dial, or the one that has replaced it meanwhile.
    let (certificate, leaf) = (certificate.clone(), certificate.leaf());
    let config = config(move |presented| *presented == leaf || *presented == certificate.leaf())?;
    let stream = TcpStream::connect(reachable(address).as_slice()).await?;
    // A server that asks for client certificates refuses us after its own part of the handshake, which is the part that is tested.
    TlsConnector::from(config).connect(ServerName::IpAddress(address.ip().into()), stream).await.map(drop)
}

/// The certificates that a server shows, leaf first, whatever they are worth. Nothing is sent to it but a handshake.
#[cfg(feature = "cli")]
pub(crate) async fn shown_at(host: &str, port: u16) -> io::Result<Vec<CertificateDer<'static>>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let shown = async {
        let stream = TcpStream::connect((host, port)).await?;
        let stream = TlsConnector::from(config(|_| true)?).connect(name, stream).await?;
        Ok(stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default())
    };
    timeout(DEADLINE, shown).await.unwrap_or_else(|late| Err(late.into()))
}

/// A client that accepts certain leaf certificates.
fn config(takes: impl Fn(&CertificateDer<'_>) -> bool + Send + Sync + 'static) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Arc::new(Pinned { takes: Box::new(takes), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where a socket can be reached that is bound to this address, which may be that of every interface. `[::]` also means IPv4, where the
/// loopback interface may have no IPv6.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let ips = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![v6, v4],
        ip => vec![ip],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect()
}

/// Accepts leaf certificates by their bytes.
struct Pinned {
    takes: Box<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
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
        if (self.takes)(end_entity) { Ok(ServerCertVerified::assertion()) } else { Err(refused) }
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
