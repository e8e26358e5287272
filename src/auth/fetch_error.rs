//! Why an issuer gave no document.

use std::{error::Error, time::Duration};

use thiserror::Error as ThisError;

use super::{settings_error::VerifierSettingsError, url::KeyUrl};

/// Why the keys could not be read. For the log.
#[derive(Debug, ThisError)]
pub(super) enum FetchError {
    /// The server does not respond.
    #[error("{url} does not respond: {why}")]
    Silent { url: String, why: String },
    /// The server responds with something unexpected.
    #[error("{url} {why}")]
    Answer { url: String, why: String },
    #[error("{url} describes the issuer {said:?}: configure that issuer if it is the intended one")]
    OtherIssuer { url: String, said: String },
    #[error("the issuer's jwks_uri cannot be used: {0}")]
    JwksUri(VerifierSettingsError),
    #[error("{0}")]
    File(VerifierSettingsError),
    #[error("the keys were not read within {0:?}")]
    Late(Duration),
}

/// A response that is not what was expected.
pub(super) fn answer(url: &KeyUrl, why: impl Into<String>) -> FetchError {
    FetchError::Answer { url: url.to_string(), why: why.into() }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
