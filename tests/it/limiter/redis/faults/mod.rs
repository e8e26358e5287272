//! The effect of faults of Redis on callers: each fault for real, under load, behind the guard.
//!
//! Callers ask without a pause that matters while the fault comes and goes. Whatever it is:
//!
//! - nothing panics, and no call takes longer than the guard's deadline;
//! - no token is taken twice: what is missing from the bucket is at least what the store allowed and at most that and one for each call
//!   whose outcome is unknown;
//! - once the fault is gone the store decides again, without help.
//!
//! Each test prints a row of figures: `cargo test --test it faults -- --nocapture --include-ignored --test-threads 1`.

mod cut_off;
mod harness;
mod refused;
mod replaced;
mod silent;
