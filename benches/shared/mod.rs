//! What the benchmarks have in common: how they are asked, how a server is run and looked at, and how figures are told.

pub(crate) mod figures;
pub(crate) mod options;
pub(crate) mod server;
