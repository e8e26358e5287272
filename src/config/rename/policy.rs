//! What is done about `shared`: the mode that is asked for, and the one that it comes to for an object.

use std::{fmt, str::FromStr};

use super::Request;
use crate::config::operator::Operator;

/// What is done about `shared`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// [`Mode::Mirror`] where ToolHive's operator is at work and reads `shared` only; else [`Mode::Rename`].
    #[default]
    Auto,
    /// `shared` becomes `global`.
    Rename,
    /// Both are kept, equal: the only mode in which Argo CD's default diff stays clean.
    Mirror,
    /// Nothing but a warning.
    Warn,
    /// Objects that say `shared` are refused.
    Deny,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Rename, Self::Mirror, Self::Warn, Self::Deny];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rename => "rename",
            Self::Mirror => "mirror",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|mode| mode.name() == text);
        known.ok_or_else(|| format!("there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The mode, and what [`Mode::Auto`] decides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is asked for.
    pub mode: Mode,
    /// What is known of ToolHive's operator in the cluster.
    pub operator: Operator,
}

impl From<Mode> for Policy {
    fn from(mode: Mode) -> Self {
        Self { mode, operator: Operator::default() }
    }
}

/// Why an object's `shared` is renamed or mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The mode says so.
    Asked,
    /// `auto`, by what is known of the operator.
    Operator(Operator),
}

impl fmt::Display for Because {
    /// What follows "renamed to global" or "kept equal to global" in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "",
            Self::Operator(Operator::Absent) => ", as no ToolHive operator is at work",
            Self::Operator(Operator::Unknown) => ", as a ToolHive operator that reads only shared may be at work",
            Self::Operator(Operator::AtWork) => ", as ToolHive's operator reads only shared",
            Self::Operator(Operator::ReadsGlobal) => ", which ToolHive's operator reads",
        })
    }
}

impl Policy {
    /// The mode for one object, which is never [`Mode::Auto`], and why.
    pub(super) fn for_object(self, request: &Request<'_>) -> (Mode, Because) {
        if self.mode != Mode::Auto {
            return (self.mode, Because::Asked);
        }
        let operator = request.old.into_iter().chain([request.object]).fold(self.operator, Operator::seen_on);
        let mode = match operator {
            Operator::Absent | Operator::ReadsGlobal => Mode::Rename,
            Operator::Unknown | Operator::AtWork => Mode::Mirror,
        };
        (mode, Because::Operator(operator))
    }
}
