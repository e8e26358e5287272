//! A piece of text, and its lines.

use std::{
    cell::{OnceCell, RefCell},
    sync::Arc,
};

use super::Span;

/// A piece of a text that may have begun earlier.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    first_line: usize,
    offset: usize,
    index: OnceCell<Box<Index>>,
    /// The line that was asked for last; findings in one line come one after another.
    last_line: RefCell<Option<(usize, Arc<str>)>>,
}

/// Where lines begin, and how many characters come before every [`CHUNK`] bytes: a text may be a single line of any length.
#[derive(Clone, Debug)]
struct Index {
    line_starts: Vec<usize>,
    chars_before: Vec<usize>,
}

const CHUNK: usize = 1024;

/// A place for people: both numbers from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line in the whole text.
    pub line: usize,
    /// The column in that line.
    pub column: usize,
}

impl Text {
    /// A piece that begins in this line (from 1) and this many bytes into the whole text.
    pub fn new(text: String, first_line: usize, offset: usize) -> Self {
        Self { text, first_line, offset, index: OnceCell::new(), last_line: RefCell::new(None) }
    }

    /// The piece.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the piece begins in the whole text, in bytes.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line and column of a byte of the piece.
    pub fn position(&self, at: usize) -> Position {
        let (line, start) = self.line_at(at);
        let column = self.chars_before(at.min(self.text.len())) - self.chars_before(start);
        Position { line: self.first_line + line, column: column + 1 }
    }

    /// The bytes of the line around a byte of the piece, without the line's end.
    pub fn line_around(&self, at: usize) -> Span {
        let (line, start) = self.line_at(at);
        let end = self.index().line_starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default();
        start..start + line.trim_end_matches('\r').len()
    }

    /// The line around a byte of the piece.
    pub fn line(&self, at: usize) -> Arc<str> {
        let span = self.line_around(at);
        let mut last = self.last_line.borrow_mut();
        match &*last {
            Some((start, line)) if *start == span.start => line.clone(),
            _ => {
                let line: Arc<str> = self.text.get(span.clone()).unwrap_or_default().into();
                *last = Some((span.start, line.clone()));
                line
            }
        }
    }

    /// The number (from 0) and the start of the line of a byte.
    fn line_at(&self, at: usize) -> (usize, usize) {
        let starts = &self.index().line_starts;
        let line = starts.partition_point(|start| *start <= at).saturating_sub(1);
        (line, starts.get(line).copied().unwrap_or_default())
    }

    fn chars_before(&self, at: usize) -> usize {
        let chunk = at / CHUNK;
        let before = self.index().chars_before.get(chunk).copied().unwrap_or_default();
        before + chars(self.text.as_bytes().get(chunk * CHUNK..at).unwrap_or_default())
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            let line_starts = std::iter::once(0).chain(ends).collect();
            let chunks = self.text.as_bytes().chunks(CHUNK).scan(0, |sum, chunk| {
                *sum += chars(chunk);
                Some(*sum)
            });
            Box::new(Index { line_starts, chars_before: std::iter::once(0).chain(chunks).collect() })
        })
    }
}

/// How many characters begin in some bytes.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters_and_lines_from_the_whole() {
        let text = Text::new("a\r\n  käse: 1\nend".to_owned(), 7, 100);
        let at = text.as_str().find('1').expect("it is there");
        assert_eq!(text.position(at), Position { line: 8, column: 9 });
        assert_eq!(text.as_str().get(text.line_around(at)), Some("  käse: 1"));
        assert_eq!(text.as_str().get(text.line_around(0)), Some("a"));
        assert_eq!(text.position(text.as_str().len()), Position { line: 9, column: 4 });
        assert_eq!(text.position(10_000).line, 9, "past the end is at the end");
    }

    #[test]
    fn a_long_line_has_columns_to_its_end_and_is_copied_once() {
        let text = Text::new(format!("a\n{}", "ä-".repeat(5 * CHUNK)), 1, 0);
        for nth in [0, 1, CHUNK, 5 * CHUNK - 1, 5 * CHUNK] {
            assert_eq!(text.position(2 + 3 * nth), Position { line: 2, column: 2 * nth + 1 });
        }
        assert!(Arc::ptr_eq(&text.line(4), &text.line(5_000)));
        assert_eq!(&*text.line(0), "a");
    }
}
