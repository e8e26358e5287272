//! Recovers the uid of a review that cannot be decoded: truncated, nested too deep, or of the wrong types.
//!
//! A response without the request's uid counts as a failed call, so that `failurePolicy` decides instead of tollgate. This makes a single
//! pass over the bytes, without a tree or recursion, and finds `request.uid` even if what follows is broken.

/// The non-empty string at `request.uid`, if the bytes reach that far.
pub(super) fn find(body: &[u8]) -> Option<String> {
    let mut walk = Walk { bytes: body, at: 0 };
    walk.enter(b'{')?;
    walk.find_key("request")?;
    walk.enter(b'{')?;
    walk.find_key("uid")?;
    walk.string().filter(|uid| !uid.is_empty())
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn enter(&mut self, open: u8) -> Option<()> {
        (self.peek()? == open).then(|| self.at += 1)
    }

    /// Moves to the value of a member of the current object.
    fn find_key(&mut self, wanted: &str) -> Option<()> {
        loop {
            if self.peek()? == b',' {
                self.at += 1;
            }
            let key = self.string()?;
            self.enter(b':')?;
            if key == wanted {
                return Some(());
            }
            self.skip_value()?;
        }
    }

    /// Reads a string and moves past it.
    fn string(&mut self) -> Option<String> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at;
        self.skip_string()?;
        serde_json::from_slice(self.bytes.get(start..self.at)?).ok()
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Moves past one value, counting brackets.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    while self.bytes.get(self.at).is_some_and(|byte| !b",:{}[]\" \t\r\n".contains(byte)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn found_before_the_break() {
        for body in [
            r#"{"request":{"uid":"a-b","object":{"#,
            r#"{ "kind" : 7, "x" : [ {"request":1} , "\"}" ] , "request" : { "kind":{"uid":"no"}, "uid" : "a-b""#,
            r#"{"request":{"uid":"a-b"}} trailing"#,
        ] {
            assert_eq!(find(body.as_bytes()).as_deref(), Some("a-b"), "{body}");
        }
        let deep = format!(r#"{{"request":{{"object":{}{},"uid":"a-b"}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(find(deep.as_bytes()).as_deref(), Some("a-b"));
    }

    #[test]
    fn not_found_elsewhere() {
        for body in ["", "{", "[]", "null", r#"{"uid":"a"}"#, r#"{"request":"uid"}"#, r#"{"request":{"uid":7}}"#, r#"{"request":{"uid":"a"#]
        {
            assert_eq!(find(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&body);
        }
    }
}
