//! Shared by the benchmarks: options, running and observing a server, and reporting figures.

pub(crate) mod figures;
pub(crate) mod options;
pub(crate) mod server;
