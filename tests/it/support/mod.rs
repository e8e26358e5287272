//! What tests stand on: the real binary, real neighbours, a client.

pub mod api;
pub mod apiserver;
pub mod balancer;
pub mod browser;
pub mod ca;
pub mod cluster_model;
pub mod detour;
pub mod example;
pub mod find;
pub mod go_limiter;
pub mod https;
pub mod leash;
pub mod link;
pub mod operator;
pub mod outage;
pub mod pages;
pub mod parsers;
pub mod port;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod sdks;
pub mod serve;
pub mod terminal;
pub mod time;
pub mod upstream;
