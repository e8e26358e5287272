//! Go duration strings (`1m0s`, `1h30m`, `500ms`), to the nanosecond.
//!
//! ToolHive parses `refillPeriod` with Go's `time.ParseDuration`; this is the same grammar with the same results, and never panics. Other
//! crates' parsers accept `""`, round through floats or panic on `1s-5s`.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use thiserror::Error;

/// A refill period: greater than zero, at most 2^63 - 1 ns (about 292 years).
///
/// ```
/// use tollgate::model::period::Period;
///
/// let period: Period = "90s".parse()?;
/// assert_eq!(period.as_nanos(), 90_000_000_000);
/// assert_eq!(period.to_string(), "1m30s");
/// # Ok::<(), tollgate::model::period::BadPeriod>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(NonZeroU64);

/// Why a text is not a refill period.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadPeriod {
    /// Not a sequence of numbers with units.
    #[error("is not a duration")]
    Syntax,
    /// A number without a unit, like `60`.
    #[error("lacks a unit")]
    MissingUnit,
    /// A unit that Go does not have, like `d`.
    #[error("has the unknown unit {0:?} (valid units are ns, us, ms, s, m and h)")]
    UnknownUnit(String),
    /// Longer than 2^63 - 1 ns.
    #[error("is longer than 292 years")]
    TooLong,
    /// Zero or less.
    #[error("must be longer than zero")]
    NotPositive,
}

impl Period {
    /// `1s`.
    pub const SECOND: Self = Self(NonZeroU64::new(1_000_000_000).unwrap());
    /// `1m0s`.
    pub const MINUTE: Self = Self(NonZeroU64::new(60 * 1_000_000_000).unwrap());
    /// `1h0m0s`.
    pub const HOUR: Self = Self(NonZeroU64::new(3600 * 1_000_000_000).unwrap());

    /// Nanoseconds.
    pub fn as_nanos(self) -> u64 {
        self.0.get()
    }

    /// As a [`Duration`].
    pub fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let nanos = parse_go_duration(text)?;
        u64::try_from(nanos).ok().and_then(NonZeroU64::new).map(Self).ok_or(BadPeriod::NotPositive)
    }
}

/// ```
/// use std::time::Duration;
/// use tollgate::model::period::{BadPeriod, Period};
///
/// assert_eq!(Period::try_from(Duration::from_secs(90)), "1m30s".parse());
/// assert_eq!(Period::try_from(Duration::ZERO), Err(BadPeriod::NotPositive));
/// ```
impl TryFrom<Duration> for Period {
    type Error = BadPeriod;

    fn try_from(duration: Duration) -> Result<Self, BadPeriod> {
        let nanos = i64::try_from(duration.as_nanos()).map_err(|_| BadPeriod::TooLong)?;
        NonZeroU64::new(nanos.unsigned_abs()).map(Self).ok_or(BadPeriod::NotPositive)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_duration(self.0.get()))
    }
}

/// The largest magnitude that Go's parser accepts before it applies the sign.
const LIMIT: u64 = 1 << 63;

/// Parses a Go duration: nanoseconds, including negative ones.
///
/// # Errors
/// As Go's `time.ParseDuration`; never [`BadPeriod::NotPositive`].
pub fn parse_go_duration(text: &str) -> Result<i64, BadPeriod> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(BadPeriod::Syntax);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let term;
        (term, rest) = parse_term(rest)?;
        total = total.checked_add(term).filter(|sum| *sum <= LIMIT).ok_or(BadPeriod::TooLong)?;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(nanos)) => Ok(nanos),
        (true, Ok(nanos)) => Ok(-nanos),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(BadPeriod::TooLong),
    }
}

/// One number with its unit, and the rest of the text.
fn parse_term(text: &str) -> Result<(u64, &str), BadPeriod> {
    let (whole_digits, rest) = split_digits(text);
    let (fraction_digits, rest) = match rest.strip_prefix('.') {
        Some(after) => split_digits(after),
        None => ("", rest),
    };
    if whole_digits.is_empty() && fraction_digits.is_empty() {
        return Err(BadPeriod::Syntax);
    }
    let end = rest.bytes().position(|b| b == b'.' || b.is_ascii_digit()).unwrap_or(rest.len());
    let (unit_name, rest) = rest.split_at(end);
    let unit: u64 = match unit_name {
        "" => return Err(BadPeriod::MissingUnit),
        "ns" => 1,
        // ASCII, U+00B5 (micro sign) and U+03BC (Greek mu), as in Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        other => return Err(BadPeriod::UnknownUnit(other.to_owned())),
    };
    let whole = whole_digits.bytes().try_fold(0_u64, push_digit).ok_or(BadPeriod::TooLong)?;
    let whole = whole.checked_mul(unit).filter(|nanos| *nanos <= LIMIT).ok_or(BadPeriod::TooLong)?;
    let nanos = whole.checked_add(fraction_nanos(fraction_digits, unit)).filter(|nanos| *nanos <= LIMIT).ok_or(BadPeriod::TooLong)?;
    Ok((nanos, rest))
}

/// The nanoseconds of a decimal fraction of `unit`; digits past what 63 bits hold are dropped.
///
/// Go computes this one product in float64, so `0.3333333333333333333h` is exactly 20 minutes there; doing the same keeps both sides equal
/// to the nanosecond. The result stays below `unit`, far inside what a float64 represents exactly.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    let mut numerator = 0_u64;
    let mut scale = 1.0_f64;
    for digit in digits.bytes() {
        match push_digit(numerator, digit) {
            Some(longer) => numerator = longer,
            None => break,
        }
        scale *= 10.0;
    }
    (numerator as f64 * (unit as f64 / scale)) as u64
}

/// `number` with one more decimal digit, while it stays within 2^63.
fn push_digit(number: u64, digit: u8) -> Option<u64> {
    if number > LIMIT / 10 {
        return None;
    }
    let longer = number * 10 + u64::from(digit - b'0');
    (longer <= LIMIT).then_some(longer)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// Nanoseconds in Go's own notation, as `time.Duration.String` prints it: `1m30s`, `1.5ms`, `2h0m0s`.
pub fn go_duration(nanos: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < SECOND {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let minutes = nanos / (60 * SECOND);
    let seconds = decimal(nanos % (60 * SECOND), SECOND);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// `nanos / unit` in decimal, without trailing zeros.
fn decimal(nanos: u64, unit: u64) -> String {
    let whole = nanos / unit;
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", nanos % unit);
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("1m0s", 60_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("500ms", 500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.100000000000000000000h", 360_000_000_000),
        ] {
            assert_eq!(parse_go_duration(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (text, why) in [
            ("", BadPeriod::Syntax),
            ("-", BadPeriod::Syntax),
            ("s", BadPeriod::Syntax),
            (".", BadPeriod::Syntax),
            (".s", BadPeriod::Syntax),
            ("1s-5s", BadPeriod::UnknownUnit("s-".to_owned())),
            ("60", BadPeriod::MissingUnit),
            ("1h60", BadPeriod::MissingUnit),
            ("1d", BadPeriod::UnknownUnit("d".to_owned())),
            (" 1s", BadPeriod::Syntax),
            ("1 s", BadPeriod::UnknownUnit(" s".to_owned())),
            ("9223372036854775808ns", BadPeriod::TooLong),
            ("99999999999999999999h", BadPeriod::TooLong),
            ("2562048h", BadPeriod::TooLong),
        ] {
            assert_eq!(parse_go_duration(text), Err(why), "{text}");
        }
        assert_eq!("0s".parse::<Period>(), Err(BadPeriod::NotPositive));
        assert_eq!("-1s".parse::<Period>(), Err(BadPeriod::NotPositive));
    }

    #[test]
    fn prints_as_go_prints() {
        for (nanos, text) in [
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in ".{0,40}") {
            let _ = parse_go_duration(&text);
        }

        #[test]
        fn durationlike_text_gets_an_answer(text in "[-+0-9.nums\u{b5}h]{0,24}") {
            let _ = parse_go_duration(&text);
        }

        #[test]
        fn what_is_printed_reads_back(nanos in 1..=i64::MAX as u64) {
            prop_assert_eq!(go_duration(nanos).parse::<Period>().map(Period::as_nanos), Ok(nanos));
        }
    }
}
