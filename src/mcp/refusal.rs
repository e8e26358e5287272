//! Why a request is rejected, and the one table from causes to HTTP statuses and JSON-RPC codes.
//!
//! | cause | HTTP | JSON-RPC |
//! |---|---|---|
//! | another media type, charset or content coding | 415 | -32600 |
//! | a body that is too large, or of which only a part is there | 413 | -32600 |
//! | an incomplete body | 400 | -32600 |
//! | not JSON, or JSON that parsers read differently | 400 | -32700 |
//! | JSON that is not a JSON-RPC message, or ambiguous | 400 | -32600 |
//! | a `tools/call` that does not name a tool | 400 | -32602 |
//! | headers that disagree with the body, from 2026-07-28 | 400 | -32020 |
//! | a message at a path that is not MCP's | 400 | -32600 |
//!
//! Rejections for reasons other than the body get their code from [`Reply::refused`](super::Reply::refused). If the id is known, a session up to 2025-11-25 gets
//! its rejection over HTTP 200, by [`DenialForm::refused`](super::DenialForm::refused).

use thiserror::Error;

use super::{envelope::Id, revision::Revision};

/// A request that must not be forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct Refusal {
    /// The cause.
    pub fault: Fault,
    /// The request's id, if it is certain.
    pub id: Option<Id>,
}

/// What is wrong with a request. The message says what to send instead, and repeats none of the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A relevant header appears twice, or is not text.
    #[error("the header {0} must be sent once, in visible ASCII")]
    Header(&'static str),
    /// The body is not declared as JSON.
    #[error("the Content-Type is {0:?}; send application/json in UTF-8")]
    MediaType(String),
    /// The body is compressed.
    #[error("the Content-Encoding is {0:?}; send the body as it is")]
    ContentEncoding(String),
    /// `MCP-Protocol-Version` is not a date.
    #[error("MCP-Protocol-Version is {0:?}; send a revision such as 2025-11-25")]
    Version(String),
    /// The body exceeds the limit.
    #[error("the body is larger than {limit} bytes; send less at once")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// A gateway in front passed on a part of the body.
    #[error("only a part of the body can be read here; send less at once")]
    Partial,
    /// A gateway in front passed on the body as text, in which this character may stand for a byte that is not UTF-8.
    #[error("the gateway passes on bodies as text, in which {0:?} may stand for any byte; it must pass on bytes (pack_as_bytes)")]
    Replaced(char),
    /// The body is incomplete.
    #[error("the body is incomplete; send all of it")]
    BrokenOff,
    /// The body is not UTF-8.
    #[error("byte {at} is not UTF-8")]
    NotUtf8 {
        /// The position, from 0.
        at: usize,
    },
    /// The body begins with a byte order mark, which some parsers skip and others do not.
    #[error("the body begins with a byte order mark; leave it out")]
    ByteOrderMark,
    /// An escape for half of a surrogate pair, which is not a character.
    #[error("the escape at byte {at} is half of a surrogate pair; send both halves")]
    LoneSurrogate {
        /// The position, from 0.
        at: usize,
    },
    /// The nesting is too deep.
    #[error("the body is nested deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// The position, from 0.
        at: usize,
        /// The allowed depth.
        limit: usize,
    },
    /// Not JSON. The parser's message, with line and column.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// A member that parsers choose differently: a duplicate, or a different case.
    #[error("{} could be read as {known:?}; send {known:?} once, spelled exactly so", who(.0, .1), known = .1)]
    Ambiguous(String, &'static str),
    /// A name that modifies JavaScript objects instead of being a member.
    #[error("a member named __proto__ is read differently by parsers; leave it out")]
    Prototype,
    /// A NUL character, which ends a string in some languages.
    #[error("{0} contains a NUL character; leave it out")]
    Nul(&'static str),
    /// JSON, but not a JSON-RPC message.
    #[error("the body is not a JSON-RPC message: {0}")]
    NotJsonRpc(&'static str),
    /// A message, or what a parser could take for one, at a path where messages are neither read nor limited.
    #[error("this path does not accept JSON-RPC messages; send them to the MCP endpoint")]
    Misplaced,
    /// An array of messages under a revision without batches.
    #[error("revision {0} does not support batches; send one message per request")]
    Batch(Revision),
    /// A call that does not name its tool.
    #[error("cannot determine the tool to call: {0}")]
    NoTool(&'static str),
    /// A header that should repeat the body is missing or differs.
    #[error("Header mismatch: {header} {found}, and the body has {body}")]
    HeaderMismatch {
        /// The header's name.
        header: &'static str,
        /// `is missing`, or `is "..."`.
        found: String,
        /// The expected value.
        body: String,
    },
}

/// A member by its name, unless that is the name of several.
fn who(name: &str, known: &str) -> String {
    if name == known { "more than one member".to_owned() } else { format!("{name:?}") }
}

impl Fault {
    /// Whether the body is text in which an id can still be certain. JSON-RPC requires none if the body is not JSON.
    pub(super) fn leaves_id(&self) -> bool {
        matches!(
            self,
            Self::LoneSurrogate { .. }
                | Self::TooDeep { .. }
                | Self::Ambiguous(..)
                | Self::Prototype
                | Self::Nul(_)
                | Self::NotJsonRpc(_)
                | Self::NoTool(_)
        )
    }

    fn row(&self) -> (u16, i64) {
        match self {
            Self::MediaType(_) | Self::ContentEncoding(_) => (415, -32600),
            Self::TooLarge { .. } | Self::Partial => (413, -32600),
            Self::NotUtf8 { .. } | Self::ByteOrderMark | Self::LoneSurrogate { .. } | Self::TooDeep { .. } | Self::NotJson(_) => {
                (400, -32700)
            }
            Self::BrokenOff
            | Self::Header(_)
            | Self::Version(_)
            | Self::Replaced(_)
            | Self::Ambiguous(..)
            | Self::Prototype
            | Self::Nul(_)
            | Self::NotJsonRpc(_)
            | Self::Misplaced
            | Self::Batch(_) => (400, -32600),
            Self::NoTool(_) => (400, -32602),
            Self::HeaderMismatch { .. } => (400, -32020),
        }
    }
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.fault.row().0
    }

    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        self.fault.row().1
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, id: None }
    }
}

/// The part of foreign text that a message repeats.
pub(super) fn clip(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut clipped: String = text.chars().take(LONGEST).collect();
    if clipped.len() < text.len() {
        clipped.push_str("...");
    }
    clipped
}
