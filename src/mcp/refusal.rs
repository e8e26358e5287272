//! Why a request goes nowhere, and the one table that turns the cause into an HTTP status and a JSON-RPC code.
//!
//! | cause | HTTP | JSON-RPC |
//! |---|---|---|
//! | another media type, charset or content coding | 415 | -32600 |
//! | a body that is too large | 413 | -32600 |
//! | a body that broke off | 400 | -32600 |
//! | no JSON, or JSON that parsers read differently | 400 | -32700 |
//! | JSON that is no JSON-RPC message, or more than one thing at once | 400 | -32600 |
//! | a `tools/call` that does not say which tool | 400 | -32602 |
//! | headers that disagree with the body, from 2026-07-28 | 400 | -32020 |
//! | a message at a path that is not MCP's | 400 | -32600 |
//!
//! What is refused for other reasons than its body has its code from [`Reply::refused`]. Where the id is known, a session up to 2025-11-25
//! gets its refusal over HTTP 200, by [`DenialForm::refused`](super::DenialForm::refused).

use thiserror::Error;

use super::{
    envelope::Id,
    id_scan::IdScan,
    reply::{Reply, error_reply},
    revision::Revision,
};

/// A request that must not be passed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct Refusal {
    /// The cause.
    pub fault: Fault,
    /// The request's id, where it was certain.
    pub id: Option<Id>,
}

/// What is wrong with a request. The message tells what to send instead, and repeats nothing of the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A header that counts was sent twice, or is no text.
    #[error("the header {0} must be sent once, in visible ASCII")]
    Header(&'static str),
    /// The body is declared to be something else than JSON, or nothing at all.
    #[error("the Content-Type is {0:?}; send application/json in UTF-8")]
    MediaType(String),
    /// The body is compressed.
    #[error("the Content-Encoding is {0:?}; send the body as it is")]
    ContentEncoding(String),
    /// `MCP-Protocol-Version` is no date.
    #[error("MCP-Protocol-Version is {0:?}; send a revision such as 2025-11-25")]
    Version(String),
    /// More than is read.
    #[error("the body is larger than {limit} bytes; send less at once")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body did not arrive.
    #[error("the body broke off; send all of it")]
    BrokenOff,
    /// The body is not UTF-8.
    #[error("byte {at} is not UTF-8")]
    NotUtf8 {
        /// Where, from 0.
        at: usize,
    },
    /// The body begins with a byte order mark, which some parsers skip and others do not.
    #[error("the body begins with a byte order mark; leave it out")]
    ByteOrderMark,
    /// An escape for half of a surrogate pair, which is no character.
    #[error("the escape at byte {at} is half of a surrogate pair; send both halves")]
    LoneSurrogate {
        /// Where, from 0.
        at: usize,
    },
    /// Brackets inside brackets, too many.
    #[error("the body is nested deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// Where, from 0.
        at: usize,
        /// How deep is allowed.
        limit: usize,
    },
    /// Not JSON. What the parser says, with line and column.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// A member that parsers choose differently: there twice, or in another case.
    #[error("{0:?} could be read as {1:?}; send {1:?} once and spelled so")]
    Ambiguous(String, &'static str),
    /// A name that changes objects of JavaScript instead of being a member.
    #[error("a member named __proto__ is read differently by parsers; leave it out")]
    Prototype,
    /// A NUL, at which some languages end a text.
    #[error("{0} contains a NUL character; leave it out")]
    Nul(&'static str),
    /// JSON, and no JSON-RPC message.
    #[error("the body is no JSON-RPC message: {0}")]
    NotJsonRpc(&'static str),
    /// A message, or what a parser could take for one, at a path where messages are neither read nor limited.
    #[error("this path takes no JSON-RPC messages; send them to the MCP endpoint")]
    Misplaced,
    /// An array of messages under a revision that has none.
    #[error("revision {0} has no batches; send one message a request")]
    Batch(Revision),
    /// A call that does not say what it calls.
    #[error("the tool to call cannot be told: {0}")]
    NoTool(&'static str),
    /// A header that should repeat the body is missing or says something else.
    #[error("Header mismatch: {header} {found}, and the body has {body}")]
    HeaderMismatch {
        /// Its name.
        header: &'static str,
        /// `is missing`, or `is "..."`.
        found: String,
        /// What it should have been.
        body: String,
    },
}

impl Fault {
    /// Whether the body is text in which an id can be certain all the same. JSON-RPC wants none where the body is not JSON.
    fn leaves_id(&self) -> bool {
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
            Self::TooLarge { .. } => (413, -32600),
            Self::NotUtf8 { .. } | Self::ByteOrderMark | Self::LoneSurrogate { .. } | Self::TooDeep { .. } | Self::NotJson(_) => {
                (400, -32700)
            }
            Self::BrokenOff
            | Self::Header(_)
            | Self::Version(_)
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
    /// With the id of the message, where it is certain although the message is refused.
    pub(super) fn with_id_from(self, body: &[u8]) -> Self {
        let id = self.id.or_else(|| if self.fault.leaves_id() { IdScan::of(body) } else { None });
        Self { id, ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.fault.row().0
    }

    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        self.fault.row().1
    }

    /// The response to send.
    pub fn reply(&self) -> Reply {
        error_reply(self.status(), self.id.as_ref(), self.code(), &self.to_string())
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, id: None }
    }
}

/// As much of a foreign text as a message repeats.
pub(super) fn clip(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut clipped: String = text.chars().take(LONGEST).collect();
    if clipped.len() < text.len() {
        clipped.push_str("...");
    }
    clipped
}
