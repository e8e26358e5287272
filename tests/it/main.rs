//! Every integration test, in one binary.
#![allow(unreachable_pub, reason = "nothing outside this binary reaches anything; pub marks what tests use of support")]

mod support;
mod webhook_https;
