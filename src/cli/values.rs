//! Values that flags of several commands take.

use std::{str::FromStr, time::Duration};

use clap::ValueEnum;

use crate::model::period::{BadPeriod, parse_go_duration};

/// A time to drain or to wait: a Go duration, 0 included.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainTime(pub(super) Duration);

impl FromStr for DrainTime {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = u64::try_from(parse_go_duration(text)?).map_err(|_| BadPeriod::NotPositive)?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}
