//! Rate limits for MCP servers on Kubernetes.
//!
//! MCP servers run under ToolHive's resources `MCPServer` and `VirtualMCPServer`, whose `rateLimiting` block limits `tools/call` for the
//! whole server, for each user and for each tool. This crate is the admission webhook for that block and the model behind it; the binary
//! `tollgate` is a thin shell around it.
//!
//! # The picture
//!
//! Arrows are the design: a module names only modules above it, and a test reads the sources to see that it stays so.
//!
//! ```text
//!      config            limits, periods, rules, rename      (serde only: no IO, no clock, no Kubernetes)
//!      /    \   \
//! admission  |  limiter  review in, review out | buckets, plan, decision, the store port (pure: time is an argument)
//!     |    crds    / | \
//!     |      |   mcp stores metrics  the CustomResourceDefinitions | JSON-RPC in and out | buckets in memory and in Redis | counters
//!     |      |      \   |   /
//!     |      |       \  |   listener  accept loop, TLS, deadlines, drain
//!     |      |        \ |   /   |
//!   webhook  |       gateway    |   certs      webhook: HTTPS, health, metrics, the look into the cluster
//!      \     |          |       |   /          gateway: the MCP reverse proxy | development certificates
//!       \____|__________|_______|__/
//!             cli                    args -> settings -> run -> exit code
//! ```
//!
//! # Features
//!
//! Additive, and none changes what another does. `config` is always there and needs serde alone.
//!
//! | feature | gives | brings |
//! |---|---|---|
//! | `admission` | [`admission`]: bytes in, review out | base64 |
//! | `limiter` | [`limiter`] and [`stores`]: decisions, with buckets in memory | arc-swap, hashbrown, sha2, tracing |
//! | `mcp` | [`mcp`]: JSON-RPC in and out | base64 |
//! | `metrics` | [`metrics`]: what the limiter does | prometheus-client |
//! | `redis` | [`stores::Redis`]: buckets in Redis, shared with others | tokio, redis, rustls |
//! | `listener` | [`listener`]: HTTP and HTTPS served | tokio, hyper, axum, rustls |
//! | `proxy` | [`gateway`]: the MCP reverse proxy | hyper-rustls, Prometheus |
//! | `serve` | [`webhook`] | tokio, hyper, axum, rustls, kube, Prometheus |
//! | `certs` | [`certs`]: a CA and a leaf in a folder | rcgen |
//! | `cli` (default) | the binary, and [`crds`] | all of the above, clap, schemars |

#[cfg(feature = "admission")]
pub mod admission;
#[cfg(feature = "certs")]
pub mod certs;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "cli")]
pub mod crds;
#[cfg(feature = "proxy")]
pub mod gateway;
#[cfg(feature = "limiter")]
pub mod limiter;
#[cfg(feature = "listener")]
pub mod listener;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "limiter")]
pub mod stores;
#[cfg(feature = "serve")]
pub mod webhook;

/// The README's examples are run.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
