//! The limiter around any tower service: requests that call tools are decided before the service sees them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tollgate::{tower::{Mcp, McpLimitLayer}, limiter::Limiter, stores::Memory};
//! use tower::{ServiceBuilder, ServiceExt};
//! # use tollgate::{model::{bucket::Bucket, limits::Limits}, limiter::{Policy, ServerId}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let policy = Policy::new(&ServerId::new("default", "search"), &Limits::new().per_user(Bucket::per_hour(2)));
//! /// Who signed in, as an outer layer left it after verifying.
//! #[derive(Clone)]
//! struct User(String);
//!
//! let limiter = Arc::new(Limiter::new(Memory::default(), policy));
//! let callers = Mcp::default().by(|request| Some(request.extensions.get::<User>()?.0.clone()));
//! let service = ServiceBuilder::new()
//!     .layer(McpLimitLayer::new(limiter, callers))
//!     .service_fn(|_| async { Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::from("found"))) });
//!
//! let call = || {
//!     Request::post("/mcp")
//!         .header("content-type", "application/json")
//!         .header("mcp-protocol-version", "2026-07-28")
//!         .header("mcp-method", "tools/call")
//!         .header("mcp-name", "search")
//!         .extension(User("alice".to_owned()))
//!         .body(Full::<bytes::Bytes>::from(r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search"}}"#))
//! };
//! assert_eq!(service.clone().oneshot(call()?).await?.status(), 200);
//! assert_eq!(service.clone().oneshot(call()?).await?.status(), 200);
//! let denied = service.oneshot(call()?).await?;
//! assert_eq!((denied.status().as_u16(), &denied.headers()["retry-after"]), (429, &http::HeaderValue::from_static("1800")));
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of a request
//!
//! | the [`Classify`] says | and the limiter | then |
//! |---|---|---|
//! | [`Classified::Pass`] | is not asked | it goes on |
//! | [`Classified::Counted`] | allows it | it goes on, with the [`Decision`](crate::limiter::Decision) among its extensions |
//! | | denies it | [`Respond::denied`]; the [`Denial`](crate::limiter::Denial) is among the response's extensions |
//! | | cannot decide (the store failed, and no [`Guard`](crate::stores) lets calls pass) | [`Respond::undecided`] |
//! | [`Classified::Refused`] | is not asked | this response |
//!
//! The service's own responses and errors pass unchanged; its body is streamed. Backpressure is the service's: it is ready before a request
//! is taken, and that same instance gets the request. A request that is dropped while it is decided never reaches the service, though its
//! tokens may be gone.
//!
//! # Telling what a request calls
//!
//! [`Mcp`] reads MCP over HTTP, and with it denials are JSON-RPC errors, as [`DenialForm`](crate::mcp::DenialForm) says. To tell the calls, it
//! reads the body of each POST whole, up to a [limit](Mcp::most_bytes), before the service has it: put a timeout outside of this layer if
//! clients may be slow on purpose. Other requests are not touched. Put the layer on the MCP route only.
//!
//! Where a request's head is enough (gRPC, a path), a closure from `&Request<B>` to `Option<`[`Calls`]`>` is a [`Classify`] too, with
//! [`Plain`] for its responses. What neither does, an own [`Classify`] may: it is given the request with its body, and may take its time.
//!
//! # Files
//!
//! | file | what lives there |
//! |---|---|
//! | [`classify`] | the port: what a request calls, and who calls |
//! | [`mcp`] | MCP over HTTP as an answer to that |
//! | [`response`] | the port: what a denied client is told |
//! | `layer`, `service`, `future` | as in every tower layer |

pub mod classify;
mod future;
mod layer;
pub mod mcp;
pub mod response;
mod service;

pub use classify::{Calls, Classified, Classify};
pub use future::ResponseFuture;
pub use layer::McpLimitLayer;
pub use mcp::Mcp;
pub use response::{Plain, Respond};
pub use service::McpLimit;

/// A body made here, or somebody else's as it was.
pub type Body<B> = http_body_util::Either<http_body_util::Full<bytes::Bytes>, B>;
