//! Medians, and what is aimed at.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

/// A figure that is aimed at.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) found: f64,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Least(f64),
    Most(f64),
}

impl Target {
    pub(crate) fn is_reached(&self) -> bool {
        match self.bound {
            Bound::Least(bound) => self.found >= bound,
            Bound::Most(bound) => self.found <= bound,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let [least, most] = match self.bound {
            Bound::Least(bound) => [Some(bound), None],
            Bound::Most(bound) => [None, Some(bound)],
        };
        json!({"what": self.what, "found": self.found, "least": least, "most": most, "reached": self.is_reached()})
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::Least(bound) => (">=", bound),
            Bound::Most(bound) => ("<=", bound),
        };
        write!(f, "{} {:.2} (target {sign} {bound}, {})", self.what, self.found, if self.is_reached() { "reached" } else { "MISSED" })
    }
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// So many of a hundred took no longer, of durations in ascending order.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn megabytes(kb: u64) -> f64 {
    kb as f64 / 1024.0
}
