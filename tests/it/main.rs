//! Every integration test, in one binary.
#![allow(unreachable_pub, reason = "nothing outside this binary reaches anything; pub marks what tests use of support")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy.toml allows them in tests; helpers of tests are no less"
)]

mod apiserver;
mod lifecycle;
mod manifests;
mod readme;
mod support;
mod tls;
mod transparency;
mod webhook_https;
