//! When a certificate is valid.

use std::{
    cmp::Ordering,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use x509_parser::time::ASN1Time;

/// From when to when, in seconds since the epoch, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last.
    pub not_after: i64,
}

/// Why a certificate is not valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// No longer.
    #[error("it expired at {}", Time(*.0))]
    Expired(i64),
    /// Not yet.
    #[error("it is not valid before {}", Time(*.0))]
    Early(i64),
}

impl Validity {
    pub(super) fn at(&self, now: i64) -> Result<(), Invalid> {
        if now > self.not_after {
            Err(Invalid::Expired(self.not_after))
        } else if now < self.not_before {
            Err(Invalid::Early(self.not_before))
        } else {
            Ok(())
        }
    }

    /// Which of two is of more use: valid before soon valid before expired; of two expired ones the later.
    pub(super) fn compare(&self, other: &Self, now: i64) -> Ordering {
        let rank = |validity: &Self| match validity.at(now) {
            Ok(()) => (2, 0),
            Err(Invalid::Early(_)) => (1, 0),
            Err(Invalid::Expired(at)) => (0, at),
        };
        rank(self).cmp(&rank(other))
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// As in RFC 3339.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ASN1Time::from_timestamp(self.0) {
            Ok(time) => {
                let time = time.to_datetime();
                write!(f, "{}T{:02}:{:02}:{:02}Z", time.date(), time.hour(), time.minute(), time.second())
            }
            Err(_) => write!(f, "{} s since the epoch", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARCH: Validity = Validity { not_before: 1_772_323_200, not_after: 1_775_001_599 };

    #[test]
    fn both_ends_are_valid() {
        for (now, wanted) in [
            (MARCH.not_before - 1, Err("it is not valid before 2026-03-01T00:00:00Z".to_owned())),
            (MARCH.not_before, Ok(())),
            (MARCH.not_after, Ok(())),
            (MARCH.not_after + 1, Err("it expired at 2026-03-31T23:59:59Z".to_owned())),
        ] {
            assert_eq!(MARCH.at(now).map_err(|invalid| invalid.to_string()), wanted);
        }
    }

    #[test]
    fn valid_is_better_than_soon_and_soon_than_expired() {
        let now = MARCH.not_before;
        let of = |from: i64, until: i64| Validity { not_before: now + from, not_after: now + until };
        let (valid, soon, expired, long_expired) = (of(-10, 10), of(5, 10), of(-10, -1), of(-10, -5));
        for (better, worse) in [(valid, soon), (valid, expired), (soon, expired), (expired, long_expired)] {
            assert_eq!((better.compare(&worse, now), worse.compare(&better, now)), (Ordering::Greater, Ordering::Less));
        }
        // Of two valid ones, the new one was meant, even if it is shorter.
        assert_eq!(of(-10, 5).compare(&valid, now), Ordering::Equal);
    }
}
