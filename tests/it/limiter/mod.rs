//! The limiter over its stores: one suite for every store, and what is particular to each.

mod conformance;
mod guard;
mod histories;
mod inspect;
mod memory;
mod metrics;
mod redis;
mod spans;
