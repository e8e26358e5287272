//! Rate limits for MCP servers on Kubernetes.
//!
//! MCP servers run under ToolHive's resources `MCPServer` and `VirtualMCPServer`, whose `rateLimiting` block limits `tools/call` for the
//! whole server, for each user and for each tool. This crate is the admission webhook for that block and the model behind it; the binary
//! `tollgate` is a thin shell around it.
//!
//! # The picture
//!
//! Arrows are the design: a module names only modules in rows above its own, and a test reads the sources to see that it stays so.
//!
//! ```text
//! model                                  limits, buckets, periods, field paths, kinds, owners; serde only
//!
//! rules  alias  limiter  crds            TG001..TG107 | shared -> global | buckets, plan, decision, the store port | both CRDs
//!
//! manifest                               YAML and JSON texts, with places | the limits of a server, and how its callers sign in
//!
//! admission  mcp  report  inspect        a review in, a review out | JSON-RPC in and out | findings, for people and machines |
//!                                        what buckets hold
//!
//! stores  metrics  auth  tower           buckets in memory and in Redis | what the limiter does, counted | callers, by verified
//!                                        tokens | the limiter around a tower service
//!
//! server  cluster  certs                 accept loop, TLS, deadlines, drain, health | the Kubernetes API server, asked or watched |
//!                                        certificates of its own: for development, and the webhook's CA
//!
//! gate                                   what every front does with a call: callers, decision, reply, logs and metrics
//!
//! webhook  proxy  authz  audit           reviews over HTTPS | the MCP reverse proxy | calls that Envoy asks about | what a cluster stores,
//!                                        judged once or watched
//!
//! check  migrate  explain                manifests, before they are applied | shared renamed in files | rules and limits, in words
//! doctor  watch                          the installed webhook, examined | one server or all of a cluster, watched
//!
//! cli                                    arguments -> settings -> run -> exit code
//! ```
//!
//! What embedders need is documented: `model`, `rules`, `limiter`, `stores`, `mcp`, `tower`, `auth`, `admission` and what they build on. The
//! rest is public for the binary and its tests, and may change in any release.
//!
//! `model`, `rules`, `alias`, `limiter`, `inspect`, `manifest`, `admission` and `mcp` are pure: no IO, no clock, no Kubernetes client.
//!
//! # Features
//!
//! Additive, and none changes what another does. [`model`] and [`rules`] are always there and need serde alone.
//!
//! | feature | gives | brings |
//! |---|---|---|
//! | `alias` | [`alias`]: the deprecated `shared` becomes `global` | json-patch |
//! | `admission` | [`admission`]: bytes in, review out | base64 |
//! | `auth` | [`auth`]: who is calling, by verified tokens | granit-parser, tokio, hyper, rustls, ring |
//! | `limiter` | [`limiter`] and [`stores`]: decisions, with buckets in memory | arc-swap, foldhash, hashbrown, hmac, sha2, smallvec, tracing |
//! | `mcp` | [`mcp`]: JSON-RPC in and out | base64 |
//! | `metrics` | [`metrics`]: what the limiter does | prometheus-client |
//! | `redis` | [`stores::Redis`]: buckets in Redis, shared with others | tokio, redis, rustls |
//! | `tower` | [`tower`]: the limiter in any tower service | http, tower-layer |
//! | `serde` | [`Limits`](model::limits::Limits) and [`Bucket`](model::bucket::Bucket) with serde, as in a manifest | |
//! | `server` | `server`: HTTP and HTTPS served | tokio, hyper, axum, rustls |
//! | `gate` | `gate`: what fronts do alike | `auth`, `server`, `mcp`, `metrics`, `redis` |
//! | `proxy` | `proxy`: the MCP reverse proxy | `gate`, h2, hyper-rustls, memmap2 |
//! | `authz` | `authz`: the limiter behind Envoy's ext_authz | `gate`, tonic, prost |
//! | `cluster` | `cluster`: a Kubernetes API server, asked or watched | tokio, kube |
//! | `webhook` | `webhook` | `server`, `cluster`, `certs`, Prometheus |
//! | `manifest` | [`manifest`]: objects in YAML and JSON texts, with the place of every field | granit-parser |
//! | `certs` | [`certs`]: a CA and a leaf in a folder, and the rotation of the webhook's own CA | rcgen |
//! | `cli` (default) | the binary | all of the above, clap, schemars |
//! | `top` (default) | the command `top` | ratatui |
//! | `cel` (default) | the CRD's own rules in `check --crd` | kube-cel |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admission")]
pub mod admission;
#[cfg(feature = "alias")]
pub mod alias;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod audit;
#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "authz")]
#[doc(hidden)]
pub mod authz;
#[cfg(feature = "certs")]
pub mod certs;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod check;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cluster")]
#[doc(hidden)]
pub mod cluster;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod crds;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod doctor;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod explain;
#[cfg(feature = "gate")]
#[doc(hidden)]
pub mod gate;
#[cfg(feature = "limiter")]
pub mod inspect;
#[cfg(feature = "limiter")]
pub mod limiter;
#[cfg(feature = "manifest")]
pub mod manifest;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod migrate;
pub mod model;
#[cfg(feature = "proxy")]
#[doc(hidden)]
pub mod proxy;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod report;
pub mod rules;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod server;
#[cfg(feature = "limiter")]
pub mod stores;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod watch;
#[cfg(feature = "webhook")]
#[doc(hidden)]
pub mod webhook;

/// The examples in the README are run.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples in the library's page are run.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;
