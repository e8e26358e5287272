//! Rate limiting for any tower service: requests that call tools are decided before they reach the service.
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
//! /// The signed-in user, as an outer layer left it after verifying.
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
//! # How a request is handled
//!
//! | the [`Classify`] returns | and the limiter | then |
//! |---|---|---|
//! | [`Classified::Pass`] | is not asked | the request is forwarded |
//! | [`Classified::Counted`] | allows it | the request is forwarded, with the [`Decision`](crate::limiter::Decision) among its extensions |
//! | | denies it | [`Respond::denied`]; the [`Denial`](crate::limiter::Denial) is among the response's extensions |
//! | | cannot decide (the store failed, and no [`Guard`](crate::stores) allows calls then) | [`Respond::undecided`] |
//! | [`Classified::Refused`] | is not asked | this response |
//!
//! The service's own responses and errors pass unchanged; its body is streamed. Backpressure is the service's: it is polled ready before a
//! request is accepted, and the same instance gets the request. A request that is dropped while it is being decided never reaches the
//! service, though its tokens may have been taken.
//!
//! # Determining what a request calls
//!
//! [`Mcp`] reads MCP over HTTP, and with it denials are JSON-RPC errors, as described at [`DenialForm`](crate::mcp::DenialForm). To
//! determine the calls, it reads the body of each POST whole, up to a [limit](Mcp::most_bytes), before the service gets it: put a timeout
//! outside of this layer if clients may be slow on purpose. Other requests are not touched. Apply the layer to the MCP route only.
//!
//! If a request's head is enough (gRPC, a path), a closure from `&Request<B>` to `Option<`[`Calls`]`>` is a [`Classify`] too, with
//! [`Plain`] for its responses. For anything else, write your own [`Classify`]: it receives the request with its body, and is asynchronous.
//!
//! # Files
//!
//! | file | contents |
//! |---|---|
//! | [`classify`] | the port: which tools a request calls, and the caller |
//! | [`mcp`] | its implementation for MCP over HTTP |
//! | [`response`] | the port: the response to a denied client |
//! | `layer`, `service`, `future` | as in every tower layer |

pub mod classify;
mod future;
mod gate;
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

/// A body made by this layer, or the inner service's body.
pub type Body<B> = http_body_util::Either<http_body_util::Full<bytes::Bytes>, B>;
