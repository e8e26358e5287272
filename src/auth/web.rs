//! The HTTP client that reads an issuer's documents: HTTP/1.1, no redirects, no connection reuse.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{
    credentials::Credentials,
    fetch_error::{FetchError, answer, chain},
    file::{self, LARGEST},
    settings::VerifierSettings,
    settings_error::VerifierSettingsError,
    url::{KeyUrl, PlainHttp},
};

/// Response headers are read up to this many bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// Reads documents, and introspects tokens.
#[derive(Clone)]
pub(super) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bearer_file: Option<PathBuf>,
    bearer_hosts: Option<Vec<String>>,
    pub(super) plain: PlainHttp,
}

/// A document, and how long its server says it may be cached.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Bytes,
    pub(super) fresh_for: Option<Duration>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("bearer_file", &self.bearer_file).finish_non_exhaustive()
    }
}

impl Web {
    /// A client. Without a trusted CA, `https` is unavailable.
    pub(super) fn new(settings: &VerifierSettings, is_https: bool) -> Result<Self, VerifierSettingsError> {
        let tls = tls(settings.ca_pem.as_deref(), is_https)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).http1_max_buf_size(LARGEST_HEAD).build(connector);
        let plain = if settings.allow_http { PlainHttp::AnyHost } else { PlainHttp::Loopback };
        Ok(Self { client, bearer_file: settings.bearer_file.clone(), bearer_hosts: settings.bearer_hosts.clone(), plain })
    }

    /// Whether the bearer token, if there is one, may be sent to this URL.
    pub(super) fn may_bear_to(&self, url: &KeyUrl) -> bool {
        self.bearer_file.is_none() || self.bearer_hosts.as_ref().is_none_or(|hosts| url.is_at_one_of(hosts))
    }

    /// Reads a whole document.
    pub(super) async fn read(&self, url: &KeyUrl) -> Result<Document, FetchError> {
        let mut request = Request::new(Full::default());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
        if let Some(path) = self.bearer_file.as_ref().filter(|_| self.may_bear_to(url)) {
            request.headers_mut().insert(AUTHORIZATION, bearer(path).await.map_err(FetchError::File)?);
        }
        self.send(url, request).await
    }

    /// Posts a form, authenticated as a client of the issuer; the response is a document as well.
    pub(super) async fn post(&self, url: &KeyUrl, form: String, client: Option<&Credentials>) -> Result<Document, FetchError> {
        let mut request = Request::new(Full::from(form));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(client) = client {
            headers.insert(AUTHORIZATION, client.basic().await.map_err(FetchError::File)?);
        }
        self.send(url, request).await
    }

    async fn send(&self, url: &KeyUrl, mut request: Request<Full<Bytes>>) -> Result<Document, FetchError> {
        let silent = |why: String| FetchError::Silent { url: url.to_string(), why };
        *request.uri_mut() = url.uri().clone();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
        let response = self.client.request(request).await.map_err(|error| silent(chain(&error)))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(answer(url, format!("responds with {status}; redirects are not followed: configure the final URL")));
        }
        if !status.is_success() {
            return Err(answer(url, format!("responds with {status}")));
        }
        let fresh_for = fresh_for(response.headers());
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body
            .map_err(|error| answer(url, format!("does not return a complete response of at most {LARGEST} bytes: {}", chain(&*error))))?;
        Ok(Document { body: body.to_bytes(), fresh_for })
    }
}

fn tls(ca: Option<&[u8]>, is_https: bool) -> Result<ClientConfig, VerifierSettingsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let builder = match ca {
        Some(ca) => builder.with_root_certificates(roots(ca)?),
        None => match builder.clone().with_native_roots() {
            Ok(builder) => builder,
            Err(_) if is_https => return Err(VerifierSettingsError::NoCa),
            Err(_) => builder.with_root_certificates(RootCertStore::empty()),
        },
    };
    Ok(builder.with_no_client_auth())
}

fn roots(ca: &[u8]) -> Result<RootCertStore, VerifierSettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate.map_err(|_| VerifierSettingsError::Ca)?).map_err(|_| VerifierSettingsError::Ca)?;
    }
    if roots.is_empty() { Err(VerifierSettingsError::Ca) } else { Ok(roots) }
}

async fn bearer(path: &Path) -> Result<HeaderValue, VerifierSettingsError> {
    let token = file::read_aside(path).await?;
    let value = [b"Bearer ", token.trim_ascii()].concat();
    let mut value = HeaderValue::try_from(value).map_err(|_| VerifierSettingsError::Bearer(path.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads `Cache-Control`; a response that must not be stored is fresh for zero seconds.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let seconds = directives.filter_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.strip_prefix("max-age=") {
            Some(age) => age.trim_matches('"').parse().ok(),
            None => ["no-store", "no-cache"].contains(&directive.as_str()).then_some(0),
        }
    });
    seconds.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_what_cache_control_says() {
        for (value, seconds) in [
            ("public, max-age=3600, must-revalidate", Some(3600)),
            ("Max-Age=\"60\"", Some(60)),
            ("no-cache, max-age=60", Some(0)),
            ("no-store", Some(0)),
            ("private", None),
            ("max-age=-1", None),
            ("max-age=99999999999999999999999", None),
            ("s-maxage=10", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(fresh_for(&headers), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(fresh_for(&HeaderMap::new()), None);
    }
}
