//! The Kubernetes API server: found as kubectl finds it, then asked once, listed or watched.
//!
//! | file | contents |
//! |---|---|
//! | [`client`] | which cluster ([`Access`]), and the client, for every command |
//! | [`request`] | single requests, with a deadline |
//! | [`list`] | lists, page by page |
//! | [`watch`] | one object, followed |
//! | [`named`] | one object of any kind, kept at hand |
//! | [`objects`] | all objects of a few kinds, followed |
//! | [`openapi`] | the installed CRDs, read or followed |
//! | [`references`] | which sign-in configs and Secrets exist |
//! | [`operator`] | whether ToolHive's operator is running |
//! | `error` | [`ClusterError`], whatever was asked |

pub mod client;
mod error;
pub mod list;
pub mod named;
pub mod objects;
pub mod openapi;
pub mod operator;
mod origin;
pub mod references;
pub mod request;
pub mod watch;

pub use self::{client::Access, error::ClusterError, origin::Origin, request::Cluster};
