//! Finds the id of a message that is not parsed as a whole: one that is too large to buffer, or that is rejected before its members are
//! parsed.
//!
//! A single pass over the bytes, in pieces as they arrive, in constant memory and without recursion. Only the members of the outermost
//! object matter. An id is returned only if it is certain: the object has one `id` and one `method`, each spelled exactly so, and no
//! `result` or `error`, since the id of a response is the server's. Whether the rest is JSON is not checked.

use super::{
    envelope::Id,
    members::{is_variant, not_json, string},
    refusal::{Fault, Refusal},
};

const NAMES: [&str; 4] = ["id", "method", "result", "error"];
const ID: usize = 0;
/// Longer names and ids are not tracked.
const LONGEST: usize = 256;

/// Scans for the id in a message that arrives in pieces.
///
/// ```
/// use tollgate::mcp::IdScan;
///
/// let mut scan = IdScan::default();
/// for piece in [r#"{"method": "tools/call", "params": {"id": [1, "#, r#""}"]}, "id": 1"#, "7}"] {
///     scan.feed(piece.as_bytes());
/// }
/// assert_eq!(scan.finish().map(|id| id.as_str().to_owned()).as_deref(), Some("17"));
/// ```
#[derive(Debug, Default)]
pub struct IdScan {
    at: At,
    /// Open brackets in the current member's value.
    depth: usize,
    is_escaped: bool,
    /// The current member, if it is one of the four relevant ones.
    member: Option<usize>,
    /// The current name, or the text of the id.
    token: Vec<u8>,
    id: Option<Vec<u8>>,
    has: [bool; NAMES.len()],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Start,
    /// Before a member's name; the object may end there when it has none.
    FirstName,
    NextName,
    InName,
    Colon,
    Value,
    InString,
    End,
    Lost,
}

impl IdScan {
    /// The id of a whole body.
    pub fn of(body: &[u8]) -> Option<Id> {
        let mut scan = Self::default();
        scan.feed(body);
        scan.finish()
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            self.at = self.next(*byte);
            if self.is_lost() {
                return;
            }
        }
    }

    /// Whether further pieces cannot change the result: the id is not certain.
    pub fn is_lost(&self) -> bool {
        self.at == At::Lost
    }

    /// The id, after all pieces were fed.
    pub fn finish(self) -> Option<Id> {
        let [id, method, result, error] = self.has;
        if self.at != At::End || !id || !method || result || error {
            return None;
        }
        let text = String::from_utf8(self.id?).ok()?;
        let raw = text.trim_ascii();
        // Half of a surrogate pair is not text that could be repeated.
        let is_text = !raw.starts_with('"') || string(raw).is_some();
        id_of(raw).ok().filter(|_| is_text)
    }

    fn next(&mut self, byte: u8) -> At {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match (self.at, byte) {
            (at @ (At::Start | At::FirstName | At::NextName | At::Colon | At::End), _) if is_space => at,
            (At::Start, b'{') => At::FirstName,
            (At::FirstName | At::NextName, b'"') => {
                self.token = vec![byte];
                At::InName
            }
            (At::FirstName, b'}') => At::End,
            (At::InName, _) => self.in_name(byte),
            (At::Colon, b':') => {
                self.token.clear();
                At::Value
            }
            (At::Value, _) => self.in_value(byte),
            (At::InString, _) => {
                let at = if self.ends_string(byte) { At::Value } else { At::InString };
                self.keep(byte, at)
            }
            _ => At::Lost,
        }
    }

    fn in_name(&mut self, byte: u8) -> At {
        if self.token.len() > LONGEST {
            return At::Lost;
        }
        self.token.push(byte);
        if self.ends_string(byte) { self.named() } else { At::InName }
    }

    /// Looks the name up.
    fn named(&mut self) -> At {
        let Ok(name) = serde_json::from_slice::<String>(&self.token) else { return At::Lost };
        self.member = NAMES.iter().position(|known| is_variant(&name, known));
        let Some(member) = self.member else { return if name == "__proto__" { At::Lost } else { At::Colon } };
        let is_certain = NAMES.get(member) == Some(&name.as_str());
        match self.has.get_mut(member) {
            Some(has) if is_certain && !*has => *has = true,
            _ => return At::Lost,
        }
        At::Colon
    }

    fn in_value(&mut self, byte: u8) -> At {
        match byte {
            b'"' => return self.keep(byte, At::InString),
            b'{' | b'[' => self.depth += 1,
            b'}' if self.depth == 0 => return self.end_of_value(At::End),
            b',' if self.depth == 0 => return self.end_of_value(At::NextName),
            b'}' | b']' if self.depth > 0 => self.depth -= 1,
            b']' => return At::Lost,
            _ => {}
        }
        self.keep(byte, At::Value)
    }

    fn end_of_value(&mut self, at: At) -> At {
        if self.member == Some(ID) {
            self.id = Some(std::mem::take(&mut self.token));
        }
        at
    }

    /// Appends a byte of the id.
    fn keep(&mut self, byte: u8, at: At) -> At {
        if self.member != Some(ID) {
            return at;
        }
        self.token.push(byte);
        if self.token.len() > LONGEST { At::Lost } else { at }
    }

    /// Whether a byte of a string ends it.
    fn ends_string(&mut self, byte: u8) -> bool {
        let was_escaped = self.is_escaped;
        self.is_escaped = byte == b'\\' && !was_escaped;
        byte == b'"' && !was_escaped
    }
}

/// An id as it appears in the text. Parsers disagree about values other than MCP's strings and numbers, but null is common.
pub(super) fn id_of(raw: &str) -> Result<Id, Fault> {
    match raw.bytes().next() {
        Some(b'"' | b'-' | b'0'..=b'9' | b'n') => Id::new(raw).map_err(not_json),
        _ => Err(Fault::NotJsonRpc("the id is neither a string nor a number")),
    }
}

impl Refusal {
    /// With the id of the message, if it is certain although the message is rejected.
    pub(super) fn with_id_from(self, body: &[u8]) -> Self {
        let id = self.id.or_else(|| if self.fault.leaves_id() { IdScan::of(body) } else { None });
        Self { id, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_in(body: &str) -> Option<String> {
        let whole = IdScan::of(body.as_bytes());
        let mut scan = IdScan::default();
        body.as_bytes().iter().for_each(|byte| scan.feed(&[*byte]));
        assert_eq!(scan.finish(), whole, "in pieces: {body}");
        whole.map(|id| id.as_str().to_owned())
    }

    #[test]
    fn an_id_is_found_wherever_it_stands() {
        for (body, id) in [
            (r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"id":2}}"#, "9007199254740993"),
            (r#" { "method" : "a" , "params" : [{"id": "}"}, "\"]\\"] , "id" : "s-7\"" } "#, r#""s-7\"""#),
            (r#"{"\u0069d":1.50,"m\u0065thod":"a"}"#, "1.50"),
            (r#"{"id":null,"method":"a"}"#, "null"),
            (r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"},"other":"\ud800"}"#, "1"),
        ] {
            assert_eq!(id_in(body).as_deref(), Some(id), "{body}");
        }
        let deep = format!(r#"{{"method":"a","params":{}{},"id":3}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(IdScan::of(deep.as_bytes()).map(|id| id.as_str().to_owned()).as_deref(), Some("3"));
    }

    #[test]
    fn an_id_that_is_not_certain_is_none() {
        for body in [
            "",
            "{}",
            "null",
            r#"[{"id":1,"method":"a"}]"#,
            r#"{"method":"a"}"#,
            r#"{"id":1}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"method":"a","error":{}}"#,
            r#"{"id":1,"id":1,"method":"a"}"#,
            r#"{"id":1,"ID":2,"method":"a"}"#,
            r#"{"id":1,"method":"a","Method":"b"}"#,
            r#"{"id":1,"method":"a","__proto__":{"id":2}}"#,
            r#"{"id":1,"method":"a""#,
            r#"{"id":1,"method":"a"} x"#,
            r#"{"id":1,"method":"a"]"#,
            r#"{"id":[1],"method":"a"}"#,
            r#"{"id":true,"method":"a"}"#,
            r#"{"id":1 2,"method":"a"}"#,
            r#"{"id":"\ud800","method":"a"}"#,
            r#"{"id":,"method":"a"}"#,
            r#"{"id" 1,"method":"a"}"#,
            r#"{,"id":1,"method":"a"}"#,
            r#"{"id":1,"method":"a",}"#,
        ] {
            assert_eq!(id_in(body), None, "{body}");
        }
        for long in [format!(r#"{{"id":"{}","method":"a"}}"#, "x".repeat(300)), format!(r#"{{"{}":1,"id":1}}"#, "x".repeat(300))] {
            assert_eq!(id_in(&long), None);
        }
    }
}
