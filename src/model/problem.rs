//! A problem as a person reads it: what is wrong, and what to do about it.
//!
//! ```
//! use tollgate::model::problem::Problem;
//!
//! let problem = Problem::new("is missing").advice("write the tool's name");
//! assert_eq!(problem.to_string(), "is missing: write the tool's name");
//! ```

use std::{borrow::Cow, fmt};

/// What is wrong, and what to do about it. In one line, the two are separated by a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong.
    pub fault: Cow<'static, str>,
    /// What to write instead, or the reason: shown beside the marked text. `None` if the fault says it all.
    pub advice: Option<Cow<'static, str>>,
}

impl Problem {
    /// A problem without advice.
    pub fn new(fault: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: fault.into(), advice: None }
    }

    /// This problem with advice.
    #[must_use]
    pub fn advice(self, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl From<String> for Problem {
    fn from(fault: String) -> Self {
        Self::new(fault)
    }
}

impl From<&'static str> for Problem {
    fn from(fault: &'static str) -> Self {
        Self::new(fault)
    }
}
