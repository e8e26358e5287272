//! Reads an ordinary message in a single pass: its text is checked and its members are picked on the way.
//!
//! A shortcut for what nearly all clients send. [`Outline::read`] gives up on anything that it does not expect, whether that is wrong or only
//! unusual: then [`text`](super::text) and [`members`](super::members) read the body, and know what to say about it. So what it accepts has
//! to be accepted by them as well, with the same members.
//!
//! It gives up on a name that is written with an escape or could be taken for another one, on a member that occurs twice, on half of a
//! surrogate pair, on deep nesting, and on all that is not JSON.

use super::{
    members::is_variant,
    text::{HIGH, LOW, escaped_unit},
};

/// The members of a message and of its `params`, as they appear in the text.
pub(super) struct Outline<'a, const M: usize, const P: usize> {
    pub(super) message: [Option<&'a str>; M],
    pub(super) params: [Option<&'a str>; P],
}

impl<'a, const M: usize, const P: usize> Outline<'a, M, P> {
    /// The named members of an object, and those of its member `params` if that is an object.
    pub(super) fn read(body: &'a [u8], names: [&str; M], of_params: [&str; P]) -> Option<Self> {
        let mut outline = Self { message: [None; M], params: [None; P] };
        let mut cursor = Cursor { text: std::str::from_utf8(body).ok()?, at: 0 };
        cursor.space();
        cursor.object(|cursor, name| {
            let Some(index) = among(&names, name)? else { return cursor.value() };
            let begin = cursor.at;
            if name == "params" && cursor.peek() == Some(b'{') {
                let params = &mut outline.params;
                cursor.object(|cursor, name| {
                    let Some(index) = among(&of_params, name)? else { return cursor.value() };
                    let begin = cursor.at;
                    cursor.value()?;
                    cursor.put(params.get_mut(index)?, begin)
                })?;
            } else {
                cursor.value()?;
            }
            cursor.put(outline.message.get_mut(index)?, begin)
        })?;
        cursor.space();
        (cursor.at == body.len()).then_some(outline)
    }
}

/// The index of a name, if it is one of those; gives up on one that some parser could take for one of them.
fn among(names: &[&str], name: &str) -> Option<Option<usize>> {
    let found = names.iter().position(|known| is_variant(name, known));
    let is_certain = name != "__proto__" && found.is_none_or(|index| names.get(index) == Some(&name));
    is_certain.then_some(found)
}

/// A place in a text. Each method moves it behind what it is named after, or gives up.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Stores the text from `begin` to here, as the first.
    fn put(&self, place: &mut Option<&'a str>, begin: usize) -> Option<()> {
        place.replace(self.text.get(begin..self.at)?).is_none().then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// An object, each of whose values is left to `member`.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.byte(b'{')?;
        self.space();
        if self.byte(b'}').is_some() {
            return Some(());
        }
        loop {
            let begin = self.at + 1;
            self.string()?;
            let name = self.text.get(begin..self.at - 1).filter(|name| !name.contains('\\'))?;
            self.colon()?;
            member(self, name)?;
            self.space();
            if self.byte(b'}').is_some() {
                return Some(());
            }
            self.byte(b',')?;
            self.space();
        }
    }

    /// The rest of a name: what is between it and its value.
    fn colon(&mut self) -> Option<()> {
        self.space();
        self.byte(b':')?;
        self.space();
        Some(())
    }

    /// Any value, without recursion.
    fn value(&mut self) -> Option<()> {
        // A bit for each open bracket behind a leading one; it is set for an object.
        let mut open = 1_u64;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    self.space();
                    let is_object = bracket == b'{';
                    // Both brackets end two after they begin.
                    if self.byte(bracket + 2).is_none() {
                        open = open.checked_mul(2)? | u64::from(is_object);
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return None,
            }
            if self.ends(&mut open)? {
                return Some(());
            }
        }
    }

    /// What follows a value: the ends of all that end there. Returns whether that was all; else the next value begins here.
    fn ends(&mut self, open: &mut u64) -> Option<bool> {
        while *open != 1 {
            self.space();
            let is_object = *open & 1 == 1;
            match self.peek()? {
                b'}' if is_object => *open >>= 1,
                b']' if !is_object => *open >>= 1,
                b',' => {
                    self.at += 1;
                    self.space();
                    if is_object {
                        self.name()?;
                    }
                    return Some(false);
                }
                _ => return None,
            }
            self.at += 1;
        }
        Some(true)
    }

    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.colon()
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let follows = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        follows.then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.byte(b'-');
        if self.byte(b'0').is_none() {
            self.digits()?;
        }
        if self.byte(b'.').is_some() {
            self.digits()?;
        }
        if self.byte(b'e').or_else(|| self.byte(b'E')).is_some() {
            let _ = self.byte(b'+').or_else(|| self.byte(b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begin).then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.byte(b'"')?;
        loop {
            self.at += plain(self.text.as_bytes().get(self.at..)?);
            match self.peek()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.text.as_bytes().get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let unit = self.unit()?;
                if HIGH.contains(&unit) {
                    self.unit().filter(|unit| LOW.contains(unit))?;
                } else if LOW.contains(&unit) {
                    return None;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A `\u` escape.
    fn unit(&mut self) -> Option<u32> {
        self.byte(b'\\')?;
        let (unit, next) = escaped_unit(self.text.as_bytes(), self.at);
        self.at = next;
        unit
    }
}

/// How many bytes from here are a string's plain text: neither a quote, nor a backslash, nor a control character.
///
/// Eight at a time: subtracting sets the highest bit of a byte that was less. A borrow may set it in those after the first such byte too,
/// but only the first counts.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word;
    let mut at = 0;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
        let found = (less(word, 0x20) | is(b'"') | is(b'\\')) & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, ..0x20 | b'"' | b'\\')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{
        super::{members::pick, text},
        *,
    };

    const NAMES: [&str; 3] = ["id", "method", "params"];
    const OF_PARAMS: [&str; 2] = ["name", "arguments"];

    type Picked<'a> = ([Option<&'a str>; 3], [Option<&'a str>; 2]);

    fn quickly(body: &str) -> Option<Picked<'_>> {
        Outline::read(body.as_bytes(), NAMES, OF_PARAMS).map(|outline| (outline.message, outline.params))
    }

    fn slowly(body: &str) -> Option<Picked<'_>> {
        let message = pick(text::check(body.as_bytes()).ok()?, NAMES).ok()?;
        let params = match message[2].filter(|params| params.starts_with('{')) {
            Some(params) => pick(params, OF_PARAMS).ok()?,
            None => [None; 2],
        };
        Some((message, params))
    }

    #[test]
    fn what_clients_send_is_read_at_once() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[{},[],-1.5e+3,0,true,false,null]}}}"#,
            " {\n\t\"id\" : \"\\u00e9\\ud83d\\ude00\" , \"params\" : { \"name\" : \"é\\\\\\\"\" , \"arguments\" : [ 1 , 2 ] } }\r\n",
            r#"{"result":{"id":1,"id":2},"params":[{"name":1,"name":2}]}"#,
            "{}",
            r#"{"params":{}}"#,
        ] {
            assert!(quickly(body).is_some(), "{body}");
            assert_eq!(quickly(body), slowly(body), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_or_unusual_is_left_to_others() {
        let (deep, control) = (format!(r#"{{"x":{}{}}}"#, "[".repeat(65), "]".repeat(65)), "{\"x\":\"a\u{1f}\"}");
        for body in [
            "",
            "[]",
            "{} {}",
            "{",
            r#"{"id":1,}"#,
            r#"{"id":1 "x":2}"#,
            r#"{"id" 1}"#,
            r#"{"id":01}"#,
            r#"{"id":1.}"#,
            r#"{"id":-}"#,
            r#"{"id":1e}"#,
            r#"{"id":nul}"#,
            r#"{"x":[1}}"#,
            r#"{"x":{"a":1]}"#,
            r#"{"x":[1,]}"#,
            r#"{"x":{"a"}}"#,
            r#"{"x":"\x"}"#,
            r#"{"x":"\u12g4"}"#,
            r#"{"x":"\ud800"}"#,
            r#"{"x":"\ud800\u0041"}"#,
            r#"{"x":"\ud800\\ude00"}"#,
            r#"{"x":"\ude00"}"#,
            r#"{"id":1,"id":1}"#,
            r#"{"ID":1}"#,
            r#"{"\u0069d":1}"#,
            r#"{"__proto__":1}"#,
            r#"{"params":{"name":1,"name":1}}"#,
            r#"{"params":{"Name":1}}"#,
            "{\"param\u{17f}\":1}",
            "\u{feff}{}",
            &deep,
            control,
        ] {
            assert_eq!(quickly(body), None, "{body}");
        }
        assert!(Outline::read(b"{\"x\":\"\xff\"}", NAMES, OF_PARAMS).is_none());
    }

    #[test]
    fn plain_text_ends_at_the_first_byte_that_is_not() {
        for length in 0..40 {
            for byte in 0..=255_u8 {
                let mut text = vec![b'x'; 40];
                text[length] = byte;
                let is_plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
                assert_eq!(plain(&text), if is_plain { 40 } else { length }, "{byte} at {length}");
                text.truncate(length);
                assert_eq!(plain(&text), length);
            }
        }
        assert_eq!(plain(b"\x80\xff\x7f!#[]\"\x00"), 7);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn what_is_read_at_once_is_what_others_read(
            pieces in vec(
                select(vec![
                    "{", "}", "[", "]", ",", ":", " ", "\n", "\"id\"", "\"method\"", "\"params\":{", "\"name\":", "\"arguments\":",
                    "\"\"", "\"a\\nb\"", "\"\\ud83d\\ude00\"", "\"\\ud83d", "\"Name\"", "\"x\":", "0", "-1.5", "1e9", "01", "true", "null", "é",
                    "\"", "\\", "\u{1}", "{\"id\":1,", "},", "{}", "[]", "\"id\":1,",
                ]),
                0..14,
            ),
            wrapped in any::<bool>(),
        ) {
            let inner = pieces.concat();
            let body = if wrapped { format!(r#"{{"id":1,"params":{{"name":{inner}}}}}"#) } else { inner };
            if let Some(picked) = quickly(&body) {
                prop_assert_eq!(Some(picked), slowly(&body), "{}", body);
            }
        }
    }
}
