//! The response to a client whose request is not forwarded.
//!
//! | `--reject-status` | no `MCP-Protocol-Version` | up to 2025-11-25 | from 2026-07-28 |
//! |---|---|---|---|
//! | `429` | HTTP 429 | HTTP 429 | HTTP 429 |
//! | `200` | HTTP 200 | HTTP 200 | HTTP 200 |
//! | `auto` | HTTP 429 | HTTP 200 | HTTP 429 |
//! | `tool-result` | HTTP 200, a tool's result with `isError` | the same | the same |
//!
//! The first three carry a JSON-RPC error:
//!
//! ```json
//! {"jsonrpc":"2.0","id":1,"error":{"code":-32029,"message":"Rate limit exceeded",
//!     "data":{"retryAfterSeconds":0.6,"limitType":"perUser","tool":"search"}}}
//! ```
//!
//! `auto` is the default: a plain HTTP client, which does not send `MCP-Protocol-Version`, understands 429, while Python's SDK 1.x loses
//! its whole session on one HTTP error and raises a catchable error on 200. So in such a session every rejection of a request whose id is
//! known is HTTP 200 with the JSON-RPC error, unless the mode is `429`: also for 400, 413, 502, 503 and 504. A batch is answered with an
//! array, one error for each of its requests. If no response is expected (no id), the HTTP status is an error in every mode. All replies
//! carry `Retry-After` when waiting helps, and `Cache-Control: no-store`.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    envelope::{Envelope, Id, Message, Part},
    refusal::Refusal,
    revision::Revision,
};
use crate::limiter::{Denial, Wait};

/// The retry delay while the store is unavailable, in seconds.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// ToolHive's code for a denial, used up to 2025-11-25. From 2026-07-28 its range belongs to MCP.
const CODE: i64 = -32029;
/// Outside of all reserved ranges, and self-explanatory.
const CODE_FROM_2026_07_28: i64 = 429;
/// JSON-RPC's "invalid request".
const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC's "internal error".
const INTERNAL_ERROR: i64 = -32603;

/// A response to send instead of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The HTTP status of the actual outcome, also if `status` is 200 for the client's session.
    pub cause: u16,
    /// Whether a request with an id expects it.
    pub is_awaited: bool,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// How calls are rejected: `--reject-status` and `--reject-code`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DenialForm {
    /// The HTTP status and the format.
    pub status: RejectStatus,
    /// The JSON-RPC error code; by default -32029 up to 2025-11-25, and 429 from 2026-07-28.
    pub code: Option<i64>,
}

/// The modes of `--reject-status`, as in the table above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum RejectStatus {
    /// HTTP 200 in sessions up to MCP 2025-11-25, which 429 can end; HTTP 429 for all others, such as plain HTTP clients.
    #[default]
    Auto,
    /// HTTP 429, as in ToolHive.
    #[cfg_attr(feature = "cli", value(name = "429"))]
    Always429,
    /// HTTP 200 with a JSON-RPC error.
    #[cfg_attr(feature = "cli", value(name = "200"))]
    Always200,
    /// HTTP 200 with a failed tool's result, which the model reads.
    ToolResult,
}

impl DenialForm {
    /// Reports which limit denies the call, and the retry delay.
    pub fn denied(&self, envelope: &Envelope, denial: &Denial) -> Reply {
        let (wait, message) = match denial.wait {
            Wait::After(wait) => (Some(wait), "Rate limit exceeded"),
            Wait::Never => (None, "Rate limit exceeded: more calls at once than the limit ever allows; send fewer"),
        };
        let limit = denial.limit.to_string();
        let text = match wait {
            Some(wait) => format!("Rate limit exceeded ({limit}). Try again in {} s.", seconds(wait)),
            None => format!("Rate limit exceeded ({limit}): it never allows as many calls at once. Send fewer."),
        };
        let data = Data::new(wait, Some(denial.limit.limit_type()), denial.limit.tool.as_deref());
        self.turn_away(envelope, &Cause { http: 429, code: self.code(envelope.revision), message, text: &text, wait, data })
    }

    /// Reports that the limits cannot be checked: the store is unavailable, and the guard rejects calls without it.
    pub fn undecided(&self, envelope: &Envelope) -> Reply {
        let (wait, message) = (Some(STORE_RETRY), "Rate limits cannot be checked at the moment");
        let text = format!("{message}. Try again in {} s.", seconds(STORE_RETRY));
        let data = Data::new(wait, None, None);
        self.turn_away(envelope, &Cause { http: 503, code: INTERNAL_ERROR, message, text: &text, wait, data })
    }

    fn code(&self, revision: Revision) -> i64 {
        self.code.unwrap_or(if revision >= Revision::V2026_07_28 { CODE_FROM_2026_07_28 } else { CODE })
    }

    /// A JSON-RPC error for each request of an envelope, for reasons other than limits: the upstream is down, or slow.
    pub fn failed(&self, envelope: &Envelope, status: u16, message: &str) -> Reply {
        let cause = Cause { http: status, code: INTERNAL_ERROR, message, text: "", wait: None, data: None };
        let reply = Reply::new(status, None, body_for(envelope, |part| cause.as_error(part.id.as_ref())));
        Reply { is_awaited: envelope.is_awaited(), ..reply }.over_200(self.spares(envelope.declared()))
    }

    /// Rejects a client's request, whose session has this revision, if it has one.
    pub fn refused(&self, declared: Option<Revision>, refusal: &Refusal) -> Reply {
        refusal.reply().over_200(self.spares(declared))
    }

    /// Whether a client's session would not survive an HTTP error, so that requests whose id is known are answered over HTTP 200.
    pub fn spares(&self, declared: Option<Revision>) -> bool {
        self.status != RejectStatus::Always429 && declared.is_some_and(|revision| revision < Revision::V2026_07_28)
    }

    fn turn_away(&self, envelope: &Envelope, cause: &Cause<'_>) -> Reply {
        let over_200 = match self.status {
            RejectStatus::Auto | RejectStatus::Always429 => self.spares(envelope.declared()),
            RejectStatus::Always200 | RejectStatus::ToolResult => true,
        };
        let result_type = (envelope.revision >= Revision::V2026_07_28).then_some("complete");
        let body = body_for(envelope, |part| match part {
            Part { tool: Some(_), id: Some(id) } if self.status == RejectStatus::ToolResult => cause.as_result(id, result_type),
            part => cause.as_error(part.id.as_ref()),
        });
        Reply { is_awaited: envelope.is_awaited(), ..Reply::new(cause.http, cause.wait, body) }.over_200(over_200)
    }
}

impl Reply {
    /// A JSON-RPC error without an id, for a request that is rejected before its body is read, or that has none.
    ///
    /// The code corresponds to the status: -32600 for errors of the request itself, -32603 for errors of the proxy or the server. Missing
    /// permissions (401, 403) and unknown paths (404) have no JSON-RPC code, and get their status, which is outside its reserved ranges.
    pub fn refused(status: u16, message: &str) -> Self {
        let code = match status {
            401 | 403 | 404 => i64::from(status),
            500.. => INTERNAL_ERROR,
            _ => INVALID_REQUEST,
        };
        error_reply(status, None, code, message)
    }

    fn new(status: u16, wait: Option<Duration>, body: Vec<u8>) -> Self {
        let mut headers = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
        headers.extend(wait.map(|wait| ("retry-after", wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).to_string())));
        Self { status, cause: status, is_awaited: false, headers, body }
    }

    /// Over HTTP 200, if that is configured and the client expects a JSON-RPC error.
    fn over_200(self, is_wanted: bool) -> Self {
        if is_wanted && self.is_awaited { Self { status: 200, ..self } } else { self }
    }
}

/// A JSON-RPC error of one message.
pub(super) fn error_reply(status: u16, id: Option<&Id>, code: i64, message: &str) -> Reply {
    let cause = Cause { http: status, code, message, text: "", wait: None, data: None };
    Reply { is_awaited: id.is_some(), ..Reply::new(status, None, to_json(&cause.as_error(id))) }
}

/// One error, or for a batch an array with one for each part that expects a response. If none does, a single error.
fn body_for<'a>(envelope: &'a Envelope, answer: impl Fn(&'a Part) -> Response<'a>) -> Vec<u8> {
    static NO_CALL: Part = Part { tool: None, id: None };
    match &envelope.message {
        Message::Single(part) => to_json(&answer(part)),
        Message::Batch(parts) if envelope.is_awaited() => {
            to_json(&parts.iter().filter(|part| part.id.is_some()).map(answer).collect::<Vec<_>>())
        }
        Message::Batch(_) => to_json(&answer(&NO_CALL)),
    }
}

/// Cannot fail: all map keys are strings.
fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// The reason, in each of the formats.
struct Cause<'a> {
    http: u16,
    code: i64,
    message: &'a str,
    /// For a model to read.
    text: &'a str,
    wait: Option<Duration>,
    data: Option<Data<'a>>,
}

impl<'a> Cause<'a> {
    fn as_error(&'a self, id: Option<&'a Id>) -> Response<'a> {
        let error = ErrorObject { code: self.code, message: self.message, data: self.data.as_ref() };
        Response { jsonrpc: "2.0", id, error: Some(error), result: None }
    }

    fn as_result(&'a self, id: &'a Id, result_type: Option<&'static str>) -> Response<'a> {
        let content = [TextContent { r#type: "text", text: self.text }];
        Response { jsonrpc: "2.0", id: Some(id), error: None, result: Some(ToolResult { result_type, content, is_error: true }) }
    }
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ToolResult<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Data<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: [TextContent<'a>; 1],
    is_error: bool,
}

#[derive(Serialize)]
struct TextContent<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl<'a> Data<'a> {
    fn new(wait: Option<Duration>, limit_type: Option<&'static str>, tool: Option<&'a str>) -> Option<Self> {
        let retry_after_seconds = wait.and_then(|wait| RawValue::from_string(seconds(wait)).ok());
        Some(Self { retry_after_seconds, limit_type, tool })
    }
}

/// Seconds as a decimal number, to the microsecond, never in exponent notation, which not every reader expects.
fn seconds(wait: Duration) -> String {
    let us = wait.as_nanos().div_ceil(1000);
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl RejectStatus {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always429 => "429",
            Self::Always200 => "200",
            Self::ToolResult => "tool-result",
        }
    }
}

impl fmt::Display for RejectStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Refusal {
    /// The response to send.
    pub fn reply(&self) -> Reply {
        error_reply(self.status(), self.id.as_ref(), self.code(), &self.to_string())
    }
}
