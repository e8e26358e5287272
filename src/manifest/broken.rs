//! Why a text could not be read.

use thiserror::Error;

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Broken {
    /// Bytes into the text.
    pub at: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Broken {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}
