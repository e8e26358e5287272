//! From bytes to text.

use super::Broken;

/// The text that bytes are.
///
/// # Errors
/// When they are not UTF-8: what can be shown of them, and why they are no text. `kubectl` takes nothing else either, but Windows' shells
/// write UTF-16.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, (String, Broken)> {
    if let Some(text) = utf_16(&bytes) {
        return Err((text, Broken::new(0, "this is UTF-16 text: save it as UTF-8")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (String::from_utf8_lossy(error.as_bytes()).into_owned(), Broken::new(at, "this is no UTF-8 text"))
    })
}

/// UTF-16 shows by its byte order mark, or by the zeros beside its first two characters.
fn utf_16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let units = bytes.as_chunks().0.iter().map(|pair| unit(*pair));
    let text: String = char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_told_from_other_bytes() {
        let text = "kind: é\n";
        let encoded = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        let (little, big) = (encoded(u16::to_le_bytes), encoded(u16::to_be_bytes));
        for bytes in [[&[0xff, 0xfe], &*little].concat(), little, [&[0xfe, 0xff], &*big].concat(), big] {
            let (shown, broken) = decode(bytes).expect_err("not UTF-8");
            assert_eq!((shown.as_str(), broken.message.as_str()), (text, "this is UTF-16 text: save it as UTF-8"));
        }
        assert_eq!(decode(text.as_bytes().to_vec()).as_deref(), Ok(text));
        let (shown, broken) = decode(b"a: \xff\0\n".to_vec()).expect_err("not UTF-8");
        assert_eq!((shown.as_str(), broken.at, broken.message.as_str()), ("a: \u{fffd}\0\n", 3, "this is no UTF-8 text"));
    }
}
