//! From bytes to text.

use super::Broken;
use crate::model::problem::Problem;

/// The text that bytes are, as `kubectl` decodes them: UTF-16 where a byte order mark says so, otherwise UTF-8, in which every byte that is
/// none becomes U+FFFD. So a comment in Latin-1 does no harm.
///
/// # Errors
/// When they are not text: what can be shown of them, and why.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, (String, Broken)> {
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        // Windows' tools leave out the mark at times; `kubectl` does not take that.
        [1..=255, 0, 1..=255, 0, ..] => return Err(unmarked(utf_16(&bytes, u16::from_le_bytes))),
        [0, 1..=255, 0, 1..=255, ..] => return Err(unmarked(utf_16(&bytes, u16::from_be_bytes))),
        _ => String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    };
    match text.bytes().position(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) {
        Some(at) => Err((text, Broken::new(at, Problem::new("a control character").advice("this is not YAML")))),
        None => Ok(text),
    }
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn unmarked(text: String) -> (String, Broken) {
    (text, Broken::new(0, Problem::new("this is UTF-16 text without a byte order mark").advice("save it as UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_read_where_it_is_marked() {
        let text = "kind: é\n";
        let encoded = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        let (little, big) = (encoded(u16::to_le_bytes), encoded(u16::to_be_bytes));
        for bytes in [[&[0xff, 0xfe], &*little].concat(), [&[0xfe, 0xff], &*big].concat(), text.as_bytes().to_vec()] {
            assert_eq!(decode(bytes).as_deref(), Ok(text));
        }
        for bytes in [little, big] {
            let (shown, broken) = decode(bytes).expect_err("kubectl does not take it");
            assert_eq!(
                (shown.as_str(), broken.to_string().as_str()),
                (text, "this is UTF-16 text without a byte order mark: save it as UTF-8")
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced_and_control_characters_are_refused() {
        assert_eq!(decode(b"a: 1 # caf\xe9\n".to_vec()).as_deref(), Ok("a: 1 # caf\u{fffd}\n"));
        let (shown, broken) = decode(b"a: \xff\0\n".to_vec()).expect_err("kubectl does not take it");
        assert_eq!(
            (shown.as_str(), broken.at, broken.to_string().as_str()),
            ("a: \u{fffd}\0\n", 6, "a control character: this is not YAML")
        );
    }
}
