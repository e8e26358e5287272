//! Every integration test, in one binary.
#![allow(unreachable_pub, reason = "nothing outside this binary reaches anything; pub marks what tests use of support")]

mod apiserver;
mod manifests;
mod readme;
mod support;
mod transparency;
