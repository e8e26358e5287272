//! A stream of lines, cut into documents.

use super::{Broken, Text, decode::decode};

/// Cuts lines into pieces at `---`, as `kubectl` does, without looking further into them: by YAML's grammar such a line always begins a
/// document, and JSON has no such line.
///
/// ```
/// use tollgate::manifest::Splitter;
///
/// let mut splitter = Splitter::default();
/// assert!(splitter.line(b"a: 1\n").is_none());
/// let first = splitter.line(b"---\n").expect("a document ends here");
/// assert_eq!(first.text().expect("text").as_str(), "a: 1\n");
/// assert!(splitter.line(b"b: 2\n").is_none());
/// assert_eq!(splitter.end().text().expect("text").as_str(), "---\nb: 2\n");
/// ```
#[derive(Debug)]
pub struct Splitter {
    gathered: Vec<u8>,
    first_line: usize,
    offset: usize,
    lines: usize,
    /// Nothing but directives (`%YAML 1.2`), comments and blank lines so far: the `---` that comes belongs to them.
    is_preamble: bool,
    has_directive: bool,
    has_content: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self { gathered: Vec::new(), first_line: 1, offset: 0, lines: 0, is_preamble: true, has_directive: false, has_content: false }
    }
}

/// A piece as received, not known to be text.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The number of its first line in the stream, from 1.
    pub first_line: usize,
    /// Where it begins in the stream, in bytes.
    pub offset: usize,
}

impl Raw {
    /// The piece as text.
    ///
    /// # Errors
    /// When the bytes are not UTF-8: what can be shown of them, and why they are not text.
    pub fn text(self) -> Result<Text, (Text, Broken)> {
        let Self { bytes, first_line, offset } = self;
        match decode(bytes) {
            Ok(text) => Ok(Text::new(text, first_line, offset)),
            Err((shown, broken)) => Err((Text::new(shown, first_line, offset), broken)),
        }
    }
}

impl Splitter {
    /// Takes the next line, with its end; gives the piece that ended before it.
    pub fn line(&mut self, line: &[u8]) -> Option<Raw> {
        let begins = begins_document(line) && !self.gathered.is_empty() && !(self.is_preamble && self.has_directive);
        let ended = begins.then(|| self.take());
        self.has_content |= !is_blank_or_comment(line.strip_prefix(b"---").unwrap_or(line));
        if begins_document(line) {
            self.is_preamble = false;
        } else if line.first() == Some(&b'%') && self.is_preamble {
            self.has_directive = true;
        } else if !is_blank_or_comment(line) {
            self.is_preamble = false;
        }
        self.gathered.extend_from_slice(line);
        self.lines += 1;
        ended
    }

    /// Whether anything came so far but blank lines, comments and `---`.
    pub fn has_content(&self) -> bool {
        self.has_content
    }

    /// The last piece.
    pub fn end(mut self) -> Raw {
        self.take()
    }

    fn take(&mut self) -> Raw {
        let bytes = std::mem::take(&mut self.gathered);
        let raw = Raw { first_line: self.first_line, offset: self.offset, bytes };
        self.first_line += std::mem::take(&mut self.lines);
        self.offset += raw.bytes.len();
        (self.is_preamble, self.has_directive) = (true, false);
        raw
    }
}

/// `---`, and after it the end of the line or a blank.
fn begins_document(line: &[u8]) -> bool {
    line.strip_prefix(b"---").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

fn is_blank_or_comment(line: &[u8]) -> bool {
    let first = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|byte| *byte == b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(usize, usize, String)> {
        let mut splitter = Splitter::default();
        let mut pieces: Vec<_> = text.split_inclusive('\n').filter_map(|line| splitter.line(line.as_bytes())).collect();
        pieces.push(splitter.end());
        pieces.into_iter().map(|raw| (raw.first_line, raw.offset, String::from_utf8(raw.bytes).expect("text"))).collect()
    }

    #[test]
    fn pieces_are_the_text_and_know_where_they_begin() {
        let text = "# licence\n---\na: 1\n--- # two\r\nb: |\n  ---\n---x: 1\n---\n";
        let pieces = pieces(text);
        assert_eq!(pieces.iter().map(|(_, _, text)| text.as_str()).collect::<String>(), text);
        let begins: Vec<_> = pieces.iter().map(|(line, offset, _)| (*line, *offset)).collect();
        assert_eq!(begins, [(1, 0), (2, 10), (4, 19), (8, 49)]);
    }

    #[test]
    fn directives_stay_with_their_document() {
        let pieces = pieces("%YAML 1.2\n# c\n---\na: 1\n---\nb: 2\n");
        assert_eq!(pieces.iter().map(|(line, _, _)| *line).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn bytes_that_are_no_text_are_pointed_at() {
        let mut splitter = Splitter::default();
        assert!(splitter.line(b"a: \xff\0\n").is_none());
        let (text, broken) = splitter.end().text().expect_err("a control character");
        assert_eq!((text.as_str(), broken.at), ("a: \u{fffd}\0\n", 6));
    }
}
