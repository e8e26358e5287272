//! The rate limits of an MCP server as people write them, and everything that can be said about them without a cluster.
//!
//! Pure: no IO, no clock, no Kubernetes client; `serde_json` values in, answers out. The webhook, the command line and the limiter
//! read limits through this module, so a manifest means the same to all three.
//!
//! | file | what lives there |
//! |---|---|
//! | [`alias`] | what is done about the deprecated `shared` |
//! | [`subject`] | one view over `MCPServer` and `VirtualMCPServer`: where limits, storage and sign-in are |
//! | [`bucket`] | a token bucket: `maxTokens`, `refillPeriod` |
//! | [`limits`] | a whole block, parsed: what the limiter enforces |
//! | [`operator`] | ToolHive's operator, and which names it reads |
//! | [`owners`] | who owns which limit: managed fields |
//! | [`period`] | Go durations, to the nanosecond |
//! | [`path`] | where in an object: `spec.rateLimiting.tools[2].perUser` |
//! | [`schema`] | which of the two names the installed CRD knows |
//! | [`spelling`] | the name that a mistyped one is meant for |

pub mod alias;
pub mod bucket;
pub mod limits;
pub mod operator;
pub mod owners;
pub mod path;
pub mod period;
pub mod schema;
#[cfg(feature = "serde")]
mod serde;
pub mod spelling;
pub mod subject;

/// The API group of the resources.
pub const GROUP: &str = "toolhive.stacklok.dev";

/// Versions of [`GROUP`] that tollgate knows, newest first. Both have the same limits.
pub const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
