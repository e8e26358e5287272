//! What a plain scalar means to `kubectl`: YAML 1.1 as Go's libraries read it, then JSON.

use serde_json::{Number, Value};

/// The value of a scalar without quotes.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// With a base by prefix; a leading zero alone means eight.
fn integer(text: &str) -> Option<Number> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (base, digits) = match unsigned.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, unsigned.get(2..)?),
        Some("0o") => (8, unsigned.get(2..)?),
        Some("0b") => (2, unsigned.get(2..)?),
        Some(_) if unsigned.starts_with('0') => (8, unsigned.get(1..)?),
        _ => (10, unsigned),
    };
    // The parser would take a second sign.
    let digits = Some(digits).filter(|digits| digits.starts_with(|c: char| c.is_ascii_alphanumeric()))?;
    if !negative {
        return u64::from_str_radix(digits, base).ok().map(Number::from);
    }
    let value = i64::try_from(-i128::from(u64::from_str_radix(digits, base).ok()?)).ok()?;
    Some(Number::from(value))
}

/// A whole number in a float's clothes loses them on its way through JSON.
fn float(text: &str) -> Option<Number> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = text.parse().ok().filter(|value: &f64| is_plain && value.is_finite())?;
    whole(value).or_else(|| Number::from_f64(value))
}

#[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 is exact")]
fn whole(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() < EXACT).then(|| Number::from(value as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_bases_underscores_and_exponents() {
        for (text, value) in [
            ("010", json!(8)),
            ("08", json!(8)),
            ("1_000", json!(1000)),
            ("0x1F", json!(31)),
            ("-0x1", json!(-1)),
            ("0b11", json!(3)),
            ("1e3", json!(1000)),
            ("100.0", json!(100)),
            ("+.5", json!(0.5)),
            ("1.", json!(1)),
            ("-0", json!(0)),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in
            ["1:30", "1m0s", "2001-01-01", "_1", ".", "-", "+", "--1", "+-1", "0x", "1e", "1e400", "inf", ".inf", "nan", "0x-1", "e3"]
        {
            assert_eq!(plain(text), json!(text), "{text}");
        }
    }
}
