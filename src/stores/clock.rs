//! Clocks for stores that have none of their own. A closure that returns [`Micros`] is a clock too, which is what tests pass.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::limiter::Micros;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Micros;
}

impl<F: Fn() -> Micros + Send + Sync> Clock for F {
    fn now(&self) -> Micros {
        self()
    }
}

/// The system time at creation, advanced by a monotonic clock: setting the system clock neither adds nor removes tokens.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    started: Micros,
    origin: Instant,
}

impl SteadyClock {
    /// A clock that starts at the system time.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Micros::default() + since_epoch, origin: Instant::now() }
    }
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Micros {
        self.started + self.origin.elapsed()
    }
}
