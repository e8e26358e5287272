//! Why a text could not be read.

use thiserror::Error;

use crate::model::problem::Problem;

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
#[non_exhaustive]
pub struct Broken {
    /// Bytes into the text.
    pub at: usize,
    /// What is wrong, and what to write instead.
    pub problem: Box<Problem>,
}

impl Broken {
    pub(super) fn new(at: usize, problem: impl Into<Problem>) -> Self {
        Self { at, problem: Box::new(problem.into()) }
    }
}
