//! What a limiter needs to know of a request: which tools it calls, and the id with which to answer each call.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::revision::Revision;

/// A JSON-RPC id, byte for byte as it was sent: `9007199254740993`, `1.0` and `"a"` are not changed.
#[derive(Clone)]
pub struct Id(Box<RawValue>);

/// The content of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The protocol revision.
    pub revision: Revision,
    /// Whether `MCP-Protocol-Version` named it. A client that does not send this header is a plain HTTP client, or has no session yet.
    pub is_declared: bool,
    /// The message, or messages.
    pub message: Message,
}

/// One message or a batch, which revision 2025-03-26 allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An object.
    Single(Part),
    /// A non-empty array, in order.
    Batch(Vec<Part>),
}

/// One JSON-RPC message: a request, a notification, or a client's response to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The tool, when it is a `tools/call`: with the optimizer's `call_tool`, the tool inside.
    pub tool: Option<String>,
    /// The id of the expected response; `None` for notifications and responses.
    pub id: Option<Id>,
}

impl Envelope {
    /// The tools that are called, in order. Empty for messages that no limit counts: they are forwarded.
    pub fn tools(&self) -> Vec<&str> {
        self.parts().iter().filter_map(|part| part.tool.as_deref()).collect()
    }

    /// Whether any response is expected.
    pub fn is_awaited(&self) -> bool {
        self.parts().iter().any(|part| part.id.is_some())
    }

    /// The revision of the client's session; `None` for a plain HTTP client.
    pub fn declared(&self) -> Option<Revision> {
        Some(self.revision).filter(|_| self.is_declared)
    }

    /// All messages, also if there is just one.
    pub fn parts(&self) -> &[Part] {
        match &self.message {
            Message::Single(part) => std::slice::from_ref(part),
            Message::Batch(parts) => parts,
        }
    }
}

impl Id {
    /// Fails on text that is not a JSON value.
    pub(super) fn new(raw: &str) -> serde_json::Result<Self> {
        RawValue::from_string(raw.to_owned()).map(Self)
    }

    /// The text as it was sent, including quotes.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Id {}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.as_str())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
