//! MCP over HTTP, as far as a limiter has to understand it: which tools a POST calls, and how a call is rejected.
//!
//! Pure and total: bytes in, an [`Envelope`] or a [`Refusal`] out; a denial in, a [`Reply`] out. No IO, no clock, no panic, whatever the
//! bytes are. Bodies are forwarded as received, never re-serialized.
//!
//! ```
//! use tollgate::mcp::{Headers, Reader, DenialForm};
//! # use tollgate::limiter::{Denial, Limit, Scope, DecidedBy, Wait};
//!
//! let headers = Headers { content_type: Some("application/json"), protocol_version: Some("2025-11-25"), ..Headers::default() };
//! let body = br#"{"jsonrpc": "2.0", "id": 9007199254740993, "method": "tools/call", "params": {"name": "search"}}"#;
//! let envelope = Reader::default().read(&headers, body)?;
//! assert_eq!(envelope.tools(), ["search"]);
//!
//! # let wait = Wait::After(std::time::Duration::from_millis(600));
//! # let denial = Denial { limit: Limit { scope: Scope::PerUser, tool: Some("search".into()) }, wait, source: DecidedBy::Store };
//! let reply = DenialForm::default().denied(&envelope, &denial);
//! assert_eq!(reply.status, 200, "up to 2025-11-25, clients take 429 badly");
//! assert_eq!(
//!     String::from_utf8(reply.body)?,
//!     concat!(
//!         r#"{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-32029,"message":"Rate limit exceeded","#,
//!         r#""data":{"retryAfterSeconds":0.6,"limitType":"perUser","tool":"search"}}}"#
//!     )
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is forwarded, counted and rejected
//!
//! | a POST of | is |
//! |---|---|
//! | a request other than `tools/call`, a notification, a response | forwarded; [`Envelope::tools`] is empty |
//! | `tools/call` | counted, even without an id: some servers run it all the same |
//! | `tools/call` of `call_tool`, an optimizer's | counted as a call of `arguments.tool_name`, or FastMCP's `arguments.name` ([`Reader::optimizer`]) |
//! | an array under 2025-03-26 | counted as all the calls that it contains, all or none |
//! | anything that parsers read differently | rejected ([`Fault`]) |
//!
//! The last row makes the others reliable: if a body were read as `ping` here and as `tools/call` by the server, limits would have no
//! effect. So each of the relevant members (`jsonrpc`, `id`, `method`, `params`, `result`, `error`; in `params`: `name`, `uri`,
//! `arguments`; with an optimizer, its arguments `tool_name`, `parameters` and `name`) may appear at most once, in exactly this spelling.
//! The text is UTF-8 without a byte order mark, half surrogate pairs or NUL characters in names, and its nesting is bounded. From
//! 2026-07-28 `Mcp-Method` and `Mcp-Name` must match the body. Tests compare this with the parsers of Python, Node and Go.
//!
//! # Files
//!
//! | file | contents |
//! |---|---|
//! | [`revision`] | MCP's revisions, and their differences |
//! | [`headers`] | the headers that determine how a body is read |
//! | `text`, `members` | checking the text; picking unambiguous members |
//! | `outline` | both in one pass, for ordinary messages |
//! | [`reader`] | bytes in, envelope out |
//! | [`envelope`] | the tools that are called, and the ids to answer with |
//! | [`id_scan`] | the id of a message that is not parsed as a whole |
//! | [`beside`] | bodies that must not be messages |
//! | [`refusal`] | why a request is rejected |
//! | [`reply`] | the response to a rejected request |
//! | [`http`] | the shared path of a call over HTTP: methods, decision, replies as responses |
//! | [`fields`] | `RateLimit` and `RateLimit-Policy` |

pub mod beside;
pub mod envelope;
pub mod fields;
pub mod headers;
pub mod http;
pub mod id_scan;
mod members;
mod outline;
pub mod reader;
pub mod refusal;
pub mod reply;
pub mod revision;
mod text;

pub use envelope::{Envelope, Id, Message, Part};
pub use headers::Headers;
pub use id_scan::IdScan;
pub use reader::Reader;
pub use refusal::{Fault, Refusal};
pub use reply::{DenialForm, RejectStatus, Reply};
pub use revision::Revision;
