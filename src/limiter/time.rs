//! Time as the limiter is given it: microseconds since the Unix epoch.
//!
//! The maths never asks a clock. Redis' `TIME` and the memory store's clock both speak microseconds; up to the year 2255 they are whole
//! numbers in a double too, so Rust and Lua agree on every one.

use std::{ops::Add, time::Duration};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, by the clock of whoever keeps the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// Microseconds from `earlier` to here; none when `earlier` is later.
    pub fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This many microseconds later; the end of time at most.
    pub fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

impl Add<Duration> for Micros {
    type Output = Self;

    /// Later by a duration, of which parts of a microsecond are dropped.
    fn add(self, duration: Duration) -> Self {
        self.plus_us(duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into()))
    }
}
