//! MCP over HTTP, as far as a limiter has to understand it: what a POST calls, and how a call is turned away.
//!
//! Pure and total: bytes in, an [`Envelope`] or a [`Refusal`] out; a denial in, a [`Reply`] out. No IO, no clock, no panic, whatever the
//! bytes are. Bodies are passed on as they came, never written anew.
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
//! # What passes, what counts, what is refused
//!
//! | a POST of | is |
//! |---|---|
//! | a request other than `tools/call`, a notification, a response | passed on; [`Envelope::tools`] is empty |
//! | `tools/call` | counted, also without an id: some servers run it all the same |
//! | `tools/call` of `call_tool`, an optimizer's | counted as a call of `arguments.tool_name`, or FastMCP's `arguments.name` ([`Reader::optimizer`]) |
//! | an array under 2025-03-26 | counted with as many calls as are in it, all or none |
//! | anything that parsers read differently | refused, whatever it is ([`Fault`]) |
//!
//! The last row is what makes the others true: were a body read as `ping` here and as `tools/call` by the server, limits would be
//! fiction. So of the members that decide (`jsonrpc`, `id`, `method`, `params`, `result`, `error`; in `params`: `name`, `uri`, `arguments`;
//! with an optimizer, its arguments `tool_name`, `parameters` and `name`) there is one at most, in exactly this spelling. The text is
//! UTF-8 without a byte order mark, half surrogate pairs or NUL characters in names, and its nesting is bounded. From 2026-07-28
//! `Mcp-Method` and `Mcp-Name` have to say the same. Tests hold this against the parsers of Python, Node and Go.
//!
//! # Files
//!
//! | file | what lives there |
//! |---|---|
//! | [`revision`] | MCP's revisions, and what differs between them |
//! | [`headers`] | the headers that say how a body is to be read |
//! | `text`, `members` | the text; one member of one name |
//! | [`reader`] | bytes in, envelope out |
//! | [`envelope`] | what is called, under which ids |
//! | [`id_scan`] | the id of a message that is not read as a whole |
//! | [`beside`] | what is not a message, by any parser |
//! | [`refusal`] | why a request goes nowhere |
//! | [`reply`] | what a client is told |
//! | [`http`] | the one path of a call over HTTP: methods, decision, replies as responses |
//! | [`fields`] | `RateLimit` and `RateLimit-Policy` |

pub mod beside;
pub mod envelope;
pub mod fields;
pub mod headers;
pub mod http;
pub mod id_scan;
mod members;
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
