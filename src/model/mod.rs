//! The rate limits of an MCP server as written in manifests, and everything that can be determined about them without a cluster.
//!
//! Pure: no IO, no clock, no Kubernetes client; `serde_json` values in, answers out. The webhook, the command line and the limiter read
//! limits through this module, so a manifest means the same to all three.
//!
//! | file | contents |
//! |---|---|
//! | [`alias`] | the treatment of the deprecated `shared` |
//! | [`subject`] | one view over `MCPServer` and `VirtualMCPServer`: where limits, storage and sign-in are |
//! | [`bucket`] | a token bucket: `maxTokens`, `refillPeriod` |
//! | [`limits`] | a whole block, parsed: what the limiter enforces |
//! | [`operator`] | ToolHive's operator, and which names it reads |
//! | [`owners`] | who owns which limit: managed fields |
//! | [`period`] | Go durations, to the nanosecond |
//! | [`path`] | field paths: `spec.rateLimiting.tools[2].perUser` |
//! | [`problem`] | what is wrong, and what to do about it |
//! | [`schema`] | which of the two names the installed CRD has |
//! | [`spelling`] | the name most similar to a mistyped one |

pub mod alias;
pub mod bucket;
pub mod limits;
pub mod operator;
#[cfg_attr(not(feature = "alias"), allow(dead_code, reason = "rules read owners, only the alias moves them"))]
pub mod owners;
pub mod path;
pub mod period;
pub mod problem;
pub mod schema;
#[cfg(feature = "serde")]
mod serde;
pub mod spelling;
pub mod subject;

/// The namespace of objects that name none, as for kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The API group of the resources.
pub const GROUP: &str = "toolhive.stacklok.dev";

/// The versions of [`GROUP`] that tollgate supports, newest first. Both have the same limits.
pub const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
