//! Every integration test, in one binary.
#![allow(unreachable_pub, reason = "nothing outside this binary reaches anything; pub marks what tests use of support")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "clippy.toml allows them in tests; helpers of tests are no less"
)]

mod admission;
mod apiserver;
mod arrows;
mod audit;
mod auth;
mod authz;
mod chart;
mod check;
mod docs;
mod doctor_redis;
mod durations;
mod examples;
mod explain;
mod help;
mod lifecycle;
mod limiter;
mod limits;
mod links;
mod manifests;
mod mcp;
mod migrate;
mod monitoring;
mod proxy;
mod ratchet;
mod release;
mod rules;
mod samples;
mod support;
mod tls;
mod top;
mod tower;
mod transparency;
mod webhook_https;
