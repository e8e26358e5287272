//! A load of calls: `40` at once, `10@5m` at once after five minutes, `1/s` steadily; comma-separated.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use thiserror::Error;

use crate::model::period::{BadPeriod, Period, go_duration};

/// A load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load(Vec<Part>);

/// Why a text is not a load.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BadLoad {
    /// The number of calls is missing.
    #[error("{0:?} is not a number of calls: write N, N@TIME or N/TIME, such as 40, 10@5m or 1/s")]
    Calls(String),
    /// The duration is missing.
    #[error("{0:?} is not a duration")]
    Duration(String, #[source] BadPeriod),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many calls at one moment.
    Burst { calls: NonZeroU32, at: Duration },
    /// So many calls in each period, evenly apart, the first at the start.
    Steady { calls: NonZeroU32, every: Period },
}

impl Load {
    /// Calls at once, and then steadily.
    pub fn at_once_then(at_once: NonZeroU32, calls: NonZeroU32, every: Period) -> Self {
        Self(vec![Part::Burst { calls: at_once, at: Duration::ZERO }, Part::Steady { calls, every }])
    }

    /// How many calls there are before `end`.
    pub fn count(&self, end: Duration) -> u64 {
        self.0.iter().map(|part| part.count(end)).fold(0, u64::saturating_add)
    }

    /// The times of all calls before `end`, in order.
    pub fn times(&self, end: Duration) -> Vec<Duration> {
        let mut times: Vec<_> = self.0.iter().flat_map(|part| (0..part.count(end)).map(|nth| part.time(nth))).collect();
        times.sort_unstable();
        times
    }
}

impl Part {
    fn count(&self, end: Duration) -> u64 {
        match self {
            Self::Burst { calls, at } if *at < end => u64::from(calls.get()),
            Self::Burst { .. } => 0,
            Self::Steady { calls, every } => {
                let nth = (end.as_nanos() * u128::from(calls.get())).div_ceil(u128::from(every.as_nanos()));
                u64::try_from(nth).unwrap_or(u64::MAX)
            }
        }
    }

    fn time(&self, nth: u64) -> Duration {
        match self {
            Self::Burst { at, .. } => *at,
            Self::Steady { calls, every } => {
                let nanos = u128::from(nth) * u128::from(every.as_nanos()) / u128::from(calls.get());
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        }
    }
}

impl FromStr for Load {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Part {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let calls = |number: &str| number.parse::<NonZeroU32>().map_err(|_| BadLoad::Calls(number.to_owned()));
        // `1/s` is `1/1s`.
        let duration = |text: &str| {
            let text =
                if text.starts_with(|first: char| first.is_ascii_digit() || first == '.') { text.to_owned() } else { format!("1{text}") };
            text.parse::<Period>().map_err(|error| BadLoad::Duration(text, error))
        };
        match (text.split_once('/'), text.split_once('@')) {
            (Some((number, every)), _) => Ok(Self::Steady { calls: calls(number)?, every: duration(every)? }),
            (None, Some((number, at))) => Ok(Self::Burst { calls: calls(number)?, at: duration(at)?.as_duration() }),
            (None, None) => Ok(Self::Burst { calls: calls(text)?, at: Duration::ZERO }),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, part) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str(", ")?;
            }
            match part {
                Part::Burst { calls, at: Duration::ZERO } => write!(f, "{calls} at once")?,
                Part::Burst { calls, at } => write!(f, "{calls} at once after {}", go_duration(at.as_nanos() as u64))?,
                Part::Steady { calls, every } => write!(f, "{calls} every {every}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Load {
        text.parse().expect("a load")
    }

    #[test]
    fn calls_come_when_the_text_says() {
        let secs = |text: &str, end| load(text).times(Duration::from_secs(end)).iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
        assert_eq!(secs("2", 10), [0.0, 0.0]);
        assert_eq!(secs("2@3s,1/s", 5), [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0]);
        assert_eq!(secs("4/m", 60), [0.0, 15.0, 30.0, 45.0], "the end is not in it");
        assert_eq!(secs("3/10s", 7).len(), 3);
        assert_eq!(secs("5@1h", 60).len(), 0);
    }

    #[test]
    fn what_is_counted_is_what_comes() {
        for text in ["7/m", "3/1s,10@10s", "1000/7s", "1/1h30m"] {
            let end = Duration::from_millis(61_234);
            assert_eq!(load(text).count(end), load(text).times(end).len() as u64, "{text}");
        }
        assert_eq!(load("4000000000/1ns").count(Duration::MAX), u64::MAX, "too many to make, not too many to count");
    }

    #[test]
    fn what_is_not_a_load_is_rejected() {
        for (text, reason) in [
            ("many", "not a number of calls"),
            ("0", "not a number of calls"),
            ("1/x", "not a duration"),
            ("1/0s", "not a duration"),
            ("", "not a number"),
        ] {
            let error = text.parse::<Load>().expect_err(text);
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
        assert_eq!(load("40,10@5m,1/s").to_string(), "40 at once, 10 at once after 5m0s, 1 every 1s");
    }
}
