//! What has to hold of the body's text before it is looked at as JSON: one walk over the bytes, with no recursion.

use super::refusal::Fault;

/// How deep arrays and objects may be nested. serde_json stops at as many; Python, Node and Go at some thousands.
pub(super) const DEEPEST: usize = 128;

const HIGH: std::ops::RangeInclusive<u32> = 0xD800..=0xDBFF;
const LOW: std::ops::RangeInclusive<u32> = 0xDC00..=0xDFFF;

/// The body as text: Unicode throughout, no byte order mark, not nested too deep. Whether it is JSON is not asked yet.
pub(super) fn check(body: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| Fault::NotUtf8 { at: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::ByteOrderMark);
    }
    let mut bytes = text.bytes().enumerate();
    let mut depth = 0_usize;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' if depth == DEEPEST => return Err(Fault::TooDeep { at, limit: DEEPEST }),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => check_string(&mut bytes)?,
            _ => {}
        }
    }
    Ok(text)
}

/// Walks to the end of a string. Escapes for surrogates have to come in pairs.
fn check_string(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Result<(), Fault> {
    let mut high = None;
    while let Some((at, byte)) = bytes.next() {
        let unit = if byte == b'\\' { escaped_unit(bytes) } else { None };
        match (high.take(), unit) {
            (None, Some(unit)) if HIGH.contains(&unit) => high = Some(at),
            (Some(_), Some(unit)) if LOW.contains(&unit) => {}
            (Some(at), _) => return Err(Fault::LoneSurrogate { at }),
            (None, Some(unit)) if LOW.contains(&unit) => return Err(Fault::LoneSurrogate { at }),
            (None, _) if byte == b'"' => break,
            (None, _) => {}
        }
    }
    Ok(())
}

/// The UTF-16 unit of a `\u` escape, after the backslash. Whether other escapes exist is for the parser.
fn escaped_unit(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Option<u32> {
    bytes.next().filter(|(_, byte)| *byte == b'u')?;
    (0..4).try_fold(0, |unit, _| {
        let digit = char::from(bytes.next()?.1).to_digit(16)?;
        Some(unit << 4 | digit)
    })
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
