//! What tests stand on: the real binary, real neighbours, a client.

pub mod apiserver;
pub mod cluster_model;
pub mod find;
pub mod https;
pub mod leash;
pub mod serve;
