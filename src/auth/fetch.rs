//! Reads an issuer's keys once: by discovery, from a URL or from a file. The size is bounded here; the caller bounds the time.
//!
//! Redirects are not followed: only the settings and the issuer's discovery document decide where keys come from.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    fetch_error::{FetchError, answer},
    file,
    keys::KeySet,
    settings::{KeySource, VerifierSettings},
    settings_error::VerifierSettingsError,
    token::object,
    url::{KeyUrl, PlainHttp, well_known},
    web::{Document, Web},
};

/// The path of a Kubernetes API server's keys.
const CLUSTER_KEYS: &str = "/openid/v1/jwks";
/// How often a file is read again; reading one is cheap.
const FILE_EVERY: Duration = Duration::from_secs(10);

/// Reads keys from the configured source.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Discovery { issuer: String, documents: [KeyUrl; 2], web: Web },
    Url(KeyUrl, Web),
    File(PathBuf),
}

/// Keys, and how long the server says they may be cached, if it does.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) fresh_for: Option<Duration>,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// Checks the settings, and reads the file if there is one.
    pub(super) fn new(settings: &VerifierSettings) -> Result<Self, VerifierSettingsError> {
        let plain = if settings.allow_http { PlainHttp::AnyHost } else { PlainHttp::Loopback };
        Ok(match &settings.keys {
            KeySource::Discovery => {
                let [openid, oauth] = well_known(&settings.issuer);
                let documents = [KeyUrl::parse(&openid, plain)?, KeyUrl::parse(&oauth, plain)?];
                let web = Web::new(settings, documents.iter().any(KeyUrl::is_https))?;
                documents.iter().try_for_each(|document| bearable(&web, document))?;
                Self::Discovery { issuer: settings.issuer.clone(), documents, web }
            }
            KeySource::Url(url) => {
                let url = KeyUrl::parse(url, plain)?;
                let web = Web::new(settings, url.is_https())?;
                bearable(&web, &url)?;
                Self::Url(url, web)
            }
            KeySource::File(path) => {
                in_file(path, &file::read(path, file::LARGEST)?)?;
                Self::File(path.clone())
            }
        })
    }

    /// Reads the keys.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        match self {
            Self::Discovery { issuer, documents, web } => key_set(&discover(issuer, documents, web).await?, web).await,
            Self::Url(url, web) => key_set(url, web).await,
            Self::File(path) => {
                let document = file::read_aside(path).await.map_err(FetchError::File)?;
                let keys = in_file(path, &document).map_err(FetchError::File)?;
                Ok(Fetched { keys, fresh_for: Some(FILE_EVERY) })
            }
        }
    }
}

/// The URL of the keys, from the first discovery document that exists.
async fn discover(issuer: &str, documents: &[KeyUrl; 2], web: &Web) -> Result<KeyUrl, FetchError> {
    let [openid, oauth] = documents;
    let discovered = match discovered(openid, web).await {
        // If both fail, the error of the usual location is the more useful one.
        Err(first @ FetchError::Answer { .. }) => discovered(oauth, web).await.map_err(|_| first),
        found => found,
    };
    let (url, document) = discovered?;
    if document.issuer != issuer {
        return Err(FetchError::OtherIssuer { url: url.to_string(), said: document.issuer });
    }
    let plain = match (url.is_https(), web.plain) {
        (true, PlainHttp::Loopback) => PlainHttp::NoHost,
        (_, plain) => plain,
    };
    let keys = KeyUrl::parse(&document.jwks_uri, plain).map_err(FetchError::JwksUri)?;
    // An API server names itself by its own address, which cannot be verified here; the same keys are available at the address used for
    // discovery.
    let moved = (!web.may_bear_to(&keys) && keys.path() == CLUSTER_KEYS).then(|| keys.at_the_server_of(url)).flatten();
    Ok(moved.unwrap_or(keys))
}

/// Keys that are read with a bearer token must be at a server that may receive it.
fn bearable(web: &Web, url: &KeyUrl) -> Result<(), VerifierSettingsError> {
    if web.may_bear_to(url) { Ok(()) } else { Err(VerifierSettingsError::BearerElsewhere(url.to_string())) }
}

async fn discovered<'a>(url: &'a KeyUrl, web: &Web) -> Result<(&'a KeyUrl, Discovered), FetchError> {
    let document = web.read(url).await?;
    let discovered = object(&document.body);
    let discovered = discovered.ok_or_else(|| answer(url, "does not return a discovery document with issuer and jwks_uri"))?;
    Ok((url, discovered))
}

async fn key_set(url: &KeyUrl, web: &Web) -> Result<Fetched, FetchError> {
    let Document { body, fresh_for } = web.read(url).await?;
    let keys = KeySet::parse(&body).ok_or_else(|| answer(url, "does not return a JWK Set"))?;
    Ok(Fetched { keys, fresh_for })
}

fn in_file(path: &Path, document: &[u8]) -> Result<KeySet, VerifierSettingsError> {
    KeySet::parse(document).ok_or_else(|| VerifierSettingsError::NoKeySet(path.to_owned()))
}
