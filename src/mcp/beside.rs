//! Request bodies at paths next to the MCP endpoint, such as an OAuth server's `/token`, which must not be messages.
//!
//! Such a body is forwarded without limits. If the server accepted messages there too, with whichever parser, limits would have no effect;
//! so a body that some parser could read as JSON-RPC is rejected, and so is one for which that cannot be determined.

use serde_json::value::RawValue;

use super::{
    headers::Headers,
    members::{for_each, pick},
    refusal::{Fault, Refusal},
    text,
};

/// Members that make an object a message. `jsonrpc` is required by the specification; some servers accept `method` alone.
const OF_MESSAGES: [&str; 2] = ["jsonrpc", "method"];

/// Checks that no parser reads this body as one or more messages.
///
/// # Errors
/// The reason why it could be one. The request must not be forwarded.
pub fn no_message(headers: &Headers<'_>, body: &[u8]) -> Result<(), Refusal> {
    headers.check_text()?;
    // In UTF-16 or UTF-32, half of the leading bytes are NUL; some parsers skip byte order marks and any kind of space.
    let start = body.iter().position(|byte| !matches!(byte, 0 | b'\t'..=b'\r' | b' ' | 0xEF | 0xBB | 0xBF | 0xFE | 0xFF | 0xC2 | 0xA0));
    match start.and_then(|start| body.get(start)) {
        Some(b'{' | b'[') => Ok(check(text::check(body)?)?),
        _ => Ok(()),
    }
}

fn check(json: &str) -> Result<(), Fault> {
    if json.trim_ascii_start().starts_with('[') { for_each(json, object_is_none) } else { is_none(json) }
}

fn object_is_none(entry: &RawValue) -> Result<(), Fault> {
    if entry.get().starts_with('{') { is_none(entry.get()) } else { Ok(()) }
}

fn is_none(object: &str) -> Result<(), Fault> {
    match pick(object, OF_MESSAGES) {
        Ok([None, None]) => Ok(()),
        Err(fault @ Fault::NotJson(_)) => Err(fault),
        Ok(_) | Err(_) => Err(Fault::Misplaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(content_type: &str, body: &[u8]) -> Result<(), Fault> {
        no_message(&Headers { content_type: Some(content_type), ..Headers::default() }, body).map_err(|refusal| refusal.fault)
    }

    #[test]
    fn what_oauth_sends_passes() {
        let registration = br#"{"client_name": "jsonrpc", "redirect_uris": ["http://localhost/"], "token_endpoint_auth_method": "none"}"#;
        assert_eq!(checked("application/json", registration), Ok(()));
        assert_eq!(checked("application/x-www-form-urlencoded", b"grant_type=authorization_code&code=%7B%22jsonrpc%22%7D"), Ok(()));
        assert_eq!(checked("multipart/form-data; boundary=x", b"--x\r\n\r\n{\"jsonrpc\":\"2.0\"}\r\n--x--"), Ok(()));
        for body in [&b""[..], b"  ", b"[]", b"[1, \"method\"]", b"{}", b"7", br#"{"a": {"method": "tools/call"}}"#] {
            assert_eq!(checked("application/json", body), Ok(()), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn messages_and_what_could_be_one_are_refused_whatever_they_say_they_are() {
        let call = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search"}}"#;
        for text in [
            call.to_owned(),
            format!("[{call}]"),
            format!("[1, {call}]"),
            format!("\n\t {call}"),
            r#"{"jsonrpc": "2.0", "id": 1, "result": {}}"#.to_owned(),
            r#"{"id": 1, "method": "tools/call"}"#.to_owned(),
            r#"{"JSONRPC": "2.0"}"#.to_owned(),
            r#"{"jsonrpc": 1, "jsonrpc": "2.0"}"#.to_owned(),
            r#"{"\u006asonrpc": "2.0"}"#.to_owned(),
            r#"{"__proto__": {"jsonrpc": "2.0"}}"#.to_owned(),
            "{\"j\u{17f}onrpc\": \"2.0\"}".to_owned(),
        ] {
            for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain", ""] {
                assert_eq!(checked(content_type, text.as_bytes()), Err(Fault::Misplaced), "{content_type}: {text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let call = r#"{"jsonrpc": "2.0"}"#;
        let utf16: Vec<u8> = call.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [b"\xff\xfe".to_vec(), call.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat();
        assert!(matches!(checked("application/json", &utf16), Err(Fault::NotJson(_))));
        assert_eq!(checked("application/json", &marked), Err(Fault::NotUtf8 { at: 0 }));
        assert_eq!(checked("application/json", format!("\u{feff}{call}").as_bytes()), Err(Fault::ByteOrderMark));
        assert!(matches!(checked("application/json", b"{\"jsonrpc\": \"2.0\", }"), Err(Fault::NotJson(_))));
        assert!(matches!(checked("application/json", b"{} {\"jsonrpc\": \"2.0\"}"), Err(Fault::NotJson(_))));
        assert!(matches!(checked("application/json; charset=utf-7", b"+AHs-"), Err(Fault::MediaType(_))));
        let zipped = Headers { content_encoding: Some("gzip"), ..Headers::default() };
        assert_eq!(no_message(&zipped, b"\x1f\x8b").map_err(|refusal| refusal.fault), Err(Fault::ContentEncoding("gzip".to_owned())));
    }
}
