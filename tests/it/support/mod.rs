//! What tests stand on: the real binary, real neighbours, a client.

pub mod find;
pub mod https;
pub mod leash;
pub mod serve;
