//! The time, as passed to the limiter: microseconds since the Unix epoch.
//!
//! The arithmetic never reads a clock. Redis' `TIME` and the memory store's clock both count microseconds; up to the year 2255 these are
//! integers even in a double, so Rust and Lua agree on each of them.

use std::{ops::Add, time::Duration};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, by the clock of the bucket store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// Microseconds since `earlier`; zero if `earlier` is later.
    pub fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This many microseconds later, saturating.
    pub fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

impl Add<Duration> for Micros {
    type Output = Self;

    /// Later by a duration; fractions of a microsecond are dropped.
    fn add(self, duration: Duration) -> Self {
        self.plus_us(duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into()))
    }
}
