//! The treatment of the deprecated `shared`: the configured mode, the one in effect for an object, and why a `shared` remains.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{operator::Operator, problem::Problem};

/// The annotation that exempts an object's `shared`, with the value `keep`.
pub const OPT_OUT_ANNOTATION: &str = "tollgate.dev/shared-alias";

/// What to do about `shared`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// [`Mode::Mirror`] if ToolHive's operator is running and reads only `shared`; else [`Mode::Rename`].
    #[default]
    Auto,
    /// `shared` becomes `global`.
    Rename,
    /// Both are kept, equal: the only mode in which Argo CD's default diff stays clean.
    Mirror,
    /// Only a warning.
    Warn,
    /// Objects with `shared` are rejected.
    Deny,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Rename, Self::Mirror, Self::Warn, Self::Deny];

    /// The name used on the command line.
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
        known.ok_or_else(|| format!("possible values are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The mode, and the facts for [`Mode::Auto`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AliasPolicy {
    /// The configured mode.
    pub mode: Mode,
    /// What is known of ToolHive's operator in the cluster.
    pub operator: Operator,
}

impl From<Mode> for AliasPolicy {
    fn from(mode: Mode) -> Self {
        Self { mode, operator: Operator::default() }
    }
}

/// Why an object's `shared` is renamed or mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Because {
    /// The mode is configured.
    Asked,
    /// `auto`, given what is known of the operator.
    Operator(Operator),
}

impl fmt::Display for Because {
    /// The clause that follows "renamed to global" or "kept equal to global" in a sentence.
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

impl AliasPolicy {
    /// The mode for one object, which is never [`Mode::Auto`], and its reason.
    #[cfg_attr(not(feature = "alias"), allow(dead_code, reason = "rules read reasons, only the alias decides"))]
    pub(crate) fn for_object(self, object: &Value, old: Option<&Value>) -> (Mode, Because) {
        if self.mode != Mode::Auto {
            return (self.mode, Because::Asked);
        }
        let operator = old.into_iter().chain([object]).fold(self.operator, Operator::seen_on);
        let mode = match operator {
            Operator::Absent | Operator::ReadsGlobal => Mode::Rename,
            Operator::Unknown | Operator::AtWork => Mode::Mirror,
        };
        (mode, Because::Operator(operator))
    }
}

/// Why a `shared` is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// The installed CRD would drop `global`.
    CrdLacksGlobal,
    /// The installed CRD could not be read.
    CrdUnread,
    /// The object carries [`OPT_OUT_ANNOTATION`].
    OptedOut,
    /// The mode renames nothing.
    Mode(Mode),
    /// Both names are kept, equal.
    Mirrored(Because),
    /// The same, and no manifest is known to contain `shared`.
    Added,
    /// `shared` and `global` disagree.
    Disagrees,
    /// It is not a bucket.
    NotAMap,
    /// It could have been renamed; the mutating webhook was not called, or failed.
    NotAsked,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Problem::from(*self).fmt(f)
    }
}

impl From<Kept> for Problem {
    fn from(kept: Kept) -> Self {
        let not_renamed = Self::new("not renamed");
        match kept {
            Kept::CrdLacksGlobal => not_renamed.advice("the installed CRD lacks global"),
            Kept::CrdUnread => not_renamed.advice("the installed CRD is not read yet"),
            Kept::OptedOut => not_renamed.advice(format!("{OPT_OUT_ANNOTATION} is keep")),
            Kept::Mirrored(because) => Self::new(format!("kept equal to global{because}")),
            Kept::Added => Self::new("kept equal to global"),
            Kept::Mode(mode) => not_renamed.advice(format!("--shared-alias is {}", mode.name())),
            Kept::Disagrees => not_renamed.advice("global has a different limit"),
            Kept::NotAMap => not_renamed.advice("it is not a map"),
            Kept::NotAsked => not_renamed.advice("the mutating webhook did not run"),
        }
    }
}
