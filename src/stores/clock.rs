//! The time, for stores that have no clock of their own. A closure that returns [`Micros`] is a clock too, which is what tests pass.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::limiter::Micros;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Micros;
}

impl<F: Fn() -> Micros + Send + Sync> Clock for F {
    fn now(&self) -> Micros {
        self()
    }
}

/// The system's time when it was made, and steady from there: setting the system's clock neither gives nor takes tokens.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    started: Micros,
    origin: Instant,
}

impl SteadyClock {
    /// A clock that starts at the system's time.
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
