//! The credentials with which this process authenticates to the issuer: a client ID and a secret, from a file or memory, never logged.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;

use super::{file, settings_error::VerifierSettingsError, url::percent_encoded};

/// A client registered at the issuer, which may introspect tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    id: String,
    secret: Secret,
}

/// A client's secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secret {
    /// The secret itself.
    Text(String),
    /// A file with the secret, read again for each request. A trailing newline is ignored.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Credentials {
    /// A client with this ID.
    pub fn new(id: impl Into<String>, secret: Secret) -> Self {
        Self { id: id.into(), secret }
    }

    /// The value of `Authorization` (RFC 6749, 2.3.1).
    pub(super) async fn basic(&self) -> Result<HeaderValue, VerifierSettingsError> {
        let read;
        let secret = match &self.secret {
            Secret::Text(text) => text.as_str(),
            Secret::File(path) => {
                read = line(path).await?;
                &read
            }
        };
        let pair = format!("{}:{}", percent_encoded(&self.id), percent_encoded(secret));
        let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)));
        let mut value = value.map_err(|_| VerifierSettingsError::Secret)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

async fn line(path: &Path) -> Result<String, VerifierSettingsError> {
    let text = String::from_utf8(file::read_aside(path).await?).map_err(|_| VerifierSettingsError::Secret)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn id_and_secret_are_encoded_before_they_are_joined() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "p:w\u{e4} \n").expect("written");
        for secret in [Secret::Text("p:w\u{e4} ".to_owned()), Secret::File(path)] {
            let credentials = Credentials::new("a+b", secret);
            let value = credentials.basic().await.expect("a value");
            let encoded = value.to_str().expect("ASCII").strip_prefix("Basic ").expect("the scheme").to_owned();
            assert_eq!(BASE64_STANDARD.decode(encoded).expect("base64"), b"a%2Bb:p%3Aw%C3%A4%20");
            assert!(!format!("{credentials:?} {value:?}").contains("p:w"), "{credentials:?}");
        }
        let gone = Credentials::new("a", Secret::File(folder.path().join("gone"))).basic().await;
        assert!(matches!(gone, Err(VerifierSettingsError::File { .. })), "{gone:?}");
    }
}
