//! Checks the body's text before it is parsed as JSON: one pass over the bytes, without recursion.

use memchr::memchr2;

use super::refusal::Fault;

/// The maximum nesting of arrays and objects. Python stops at about the same depth, Node and Go at some thousands. Values are skipped without
/// recursion; only the few levels in which members are picked use the stack.
pub(super) const DEEPEST: usize = 1000;

pub(super) const HIGH: std::ops::RangeInclusive<u32> = 0xD800..=0xDBFF;
pub(super) const LOW: std::ops::RangeInclusive<u32> = 0xDC00..=0xDFFF;

/// The body as text: Unicode throughout, without a byte order mark, not nested too deep. Whether it is JSON is not checked yet.
pub(super) fn check(body: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| Fault::NotUtf8 { at: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::ByteOrderMark);
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = body.get(at) {
        match byte {
            b'{' | b'[' if depth == DEEPEST => return Err(Fault::TooDeep { at, limit: DEEPEST }),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(body, at + 1)?,
            _ => {}
        }
        at += 1;
    }
    Ok(text)
}

/// The end of the string whose text begins here: its quote, or the end of the body. Escapes for surrogates must come in pairs.
fn end_of_string(body: &[u8], mut at: usize) -> Result<usize, Fault> {
    // Where the text continues after half of a pair, and where that half is.
    let mut high: Option<(usize, usize)> = None;
    while let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)).map(|distance| at + distance) {
        let is_end = body.get(found) == Some(&b'"');
        let (unit, next) = if is_end { (None, found) } else { escaped_unit(body, found + 1) };
        match (high.take(), unit) {
            (Some((next_to, _)), Some(unit)) if next_to == found && LOW.contains(&unit) => {}
            (Some((_, at)), _) => return Err(Fault::LoneSurrogate { at }),
            (None, Some(unit)) if HIGH.contains(&unit) => high = Some((next, found)),
            (None, Some(unit)) if LOW.contains(&unit) => return Err(Fault::LoneSurrogate { at: found }),
            (None, _) if is_end => return Ok(found),
            (None, _) => {}
        }
        at = next;
    }
    Ok(body.len())
}

/// The UTF-16 unit of a `\u` escape, given the byte after the backslash; and where the text continues. Other escapes are left to the
/// parser.
pub(super) fn escaped_unit(body: &[u8], at: usize) -> (Option<u32>, usize) {
    let digits = body.get(at..at + 5).and_then(|escape| escape.strip_prefix(b"u"));
    let unit = digits.and_then(|digits| digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?)));
    (unit, if unit.is_some() { at + 5 } else { at + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_as_it_is() {
        for text in ["", "{}", r#"{"a":"\ud83d\ude00 \u00e9 \\ud800 \" [[["}"#, "\"\u{feff}\"", r#"["\\"]"#] {
            assert_eq!(check(text.as_bytes()), Ok(text));
        }
    }

    #[test]
    fn what_is_no_text_is_refused_wherever_it_stands() {
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(Fault::NotUtf8 { at: 6 }));
        assert_eq!(check(b"\"\xed\xa0\x80\""), Err(Fault::NotUtf8 { at: 1 }), "a surrogate in UTF-8's clothes");
        assert_eq!(check("\u{feff}{}".as_bytes()), Err(Fault::ByteOrderMark));
        for (text, at) in [
            (r#""\ud83d""#, 1),
            (r#""\ude00""#, 1),
            (r#""\ud83dx\ude00""#, 1),
            (r#""\ud83d\n""#, 1),
            (r#""\ud83d\ud83d\ude00""#, 1),
            (r#""\ud83d\\ude00""#, 1),
            (r#""\ud83d \"\ude00""#, 1),
            (r#""\ud83d\u00e9\ude00""#, 1),
            (r#"{"a":"ok\uDC00"}"#, 8),
        ] {
            assert_eq!(check(text.as_bytes()), Err(Fault::LoneSurrogate { at }), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_to_the_level() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(DEEPEST).as_bytes()).is_ok());
        assert_eq!(check(nested(DEEPEST + 1).as_bytes()), Err(Fault::TooDeep { at: DEEPEST, limit: DEEPEST }));
        assert_eq!(check("{\"a\":".repeat(100_000).as_bytes()), Err(Fault::TooDeep { at: 5 * DEEPEST, limit: DEEPEST }));
        assert!(check(format!("[{}]", "[],".repeat(100_000)).as_bytes()).is_ok(), "beside one another is not deep");
    }
}
