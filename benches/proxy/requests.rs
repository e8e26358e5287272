//! What is asked: bytes as they go over the wire.

use std::{fmt::Write, sync::Arc, thread};

use hyper::body::Bytes;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::signer::{AUDIENCE, Signer, key_set, seconds, with};

const USERS: usize = 100;
/// The proxy remembers 10,000, in halves and shards; a token that comes again after so many others is new to it.
const MORE_THAN_REMEMBERED: usize = 12_000;
const CALL: usize = 300;
/// The limits name it.
pub(super) const TOOL: &str = "search";

/// What is special about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    /// With a body of so many bytes.
    Large(&'static str, usize),
    /// Its token was not seen before, or long ago.
    NewToken(&'static str, Algorithm),
    Anonymous,
    /// As anonymous, with the buckets in Redis.
    Redis,
    Denied,
}

impl Kind {
    const NEW: [Self; 3] = [
        Self::NewToken("new-es256", Algorithm::ES256),
        Self::NewToken("new-rs256", Algorithm::RS256),
        Self::NewToken("new-eddsa", Algorithm::EdDSA),
    ];

    /// Those that are measured on so many connections.
    pub(super) fn of_shape(connections: usize) -> Vec<Self> {
        let large = if connections > 1 { &[Self::Large("4kB", 4096), Self::Large("64kB", 65_536)][..] } else { &[] };
        [&[Self::Call, Self::Anonymous, Self::Redis, Self::Denied], large, &Self::NEW].concat()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Large(name, _) | Self::NewToken(name, _) => name,
            Self::Anonymous => "anonymous",
            Self::Redis => "redis",
            Self::Denied => "denied",
        }
    }

    /// Of the body.
    pub(super) fn bytes(self) -> usize {
        if let Self::Large(_, bytes) = self { bytes } else { CALL }
    }
}

/// Requests, and the keys that their tokens are signed with.
pub(super) struct Requests {
    signers: [Signer; 3],
}

impl Requests {
    pub(super) fn new() -> Self {
        let signer = |algorithm| Signer::new(algorithm, &format!("{algorithm:?}"));
        Self { signers: [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA].map(signer) }
    }

    /// For those who verify: a JWK Set.
    pub(super) fn keys(&self) -> Value {
        key_set(&self.signers.each_ref())
    }

    /// In the order in which they are sent, and then again from the first.
    pub(super) fn calls(&mut self, kind: Kind) -> Arc<[Bytes]> {
        let body = body(kind.bytes());
        let (algorithm, count) = match kind {
            Kind::Anonymous | Kind::Redis => return Arc::new([post(None, &body)]),
            Kind::NewToken(_, algorithm) => (algorithm, MORE_THAN_REMEMBERED),
            Kind::Call | Kind::Large(..) | Kind::Denied => (Algorithm::ES256, USERS),
        };
        let signer = self.signers.iter().find(|signer| signer.algorithm == algorithm);
        let tokens = signer.map(|signer| tokens(signer, count)).unwrap_or_default();
        tokens.iter().map(|token| post(Some(token), &body)).collect()
    }
}

/// Good for as long as any benchmark takes. Each is another one, of one user after the other.
fn tokens(signer: &Signer, count: usize) -> Vec<String> {
    let expires = seconds() + 24 * 60 * 60;
    let token = |number: usize| {
        let user = format!("6f0c5a1e-user-{:04}", number % USERS);
        signer.token(&with(json!({"sub": user, "aud": AUDIENCE, "exp": expires, "jti": number})))
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let numbers: Vec<_> = (0..count).collect();
    thread::scope(|scope| {
        let parts: Vec<_> = numbers
            .chunks(count.div_ceil(threads))
            .map(|part| scope.spawn(|| part.iter().map(|number| token(*number)).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// A call of so many bytes.
fn body(bytes: usize) -> String {
    let call = |text: &str| {
        let arguments = json!({"query": "open issues about rate limits", "limit": 20, "text": text});
        let params = json!({"name": TOOL, "arguments": arguments, "_meta": {"progressToken": 17}});
        json!({"jsonrpc": "2.0", "id": 17, "method": "tools/call", "params": params}).to_string()
    };
    let missing = bytes.saturating_sub(call("").len());
    // As models write: lines and quotes, which JSON escapes.
    let line = "The quick brown fox said \"jump\", over\na lazy dog. ";
    let mut text: String = line.chars().cycle().take(missing).collect();
    while call(&text).len() > bytes {
        text.pop();
    }
    call(&text)
}

fn post(token: Option<&str>, body: &str) -> Bytes {
    let mut text = head("POST", token);
    text.push_str("content-type: application/json\r\n");
    // Writing to a string cannot fail.
    let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
    Bytes::from(text)
}

/// The server's own stream.
pub(super) fn stream() -> Bytes {
    Bytes::from(head("GET", None) + "\r\n")
}

fn head(method: &str, token: Option<&str>) -> String {
    let accept = if method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
    let mut head = format!("{method} /mcp HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: {accept}\r\n");
    head.push_str("mcp-protocol-version: 2025-11-25\r\nmcp-session-id: 1868a90c-7f4b-4e23-a2b6-9a3f1d2c4b5e\r\n");
    if let Some(token) = token {
        let _ = write!(head, "authorization: Bearer {token}\r\n");
    }
    head
}
