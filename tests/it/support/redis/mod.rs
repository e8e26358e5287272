//! Private Redis servers on free ports, each ended with the test process: alone, with a replica and Sentinels, or as a cluster.
//!
//! They start in some 20 ms (a cluster and Sentinels in seconds), keep nothing on disk unless told to, and can be killed, restarted on the
//! same port, frozen and thawed while a test runs. What lies between them and the store under test can be a [`Link`](super::link::Link).

mod cluster;
mod sentinel;
mod server;
mod tests;

pub use cluster::Cluster;
pub use sentinel::Watched;
pub use server::{Server, Setup, Tls};
