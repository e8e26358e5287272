//! A piece of text, and its lines.

use std::cell::OnceCell;

use super::Span;

/// A piece of a text that may have begun earlier.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    first_line: usize,
    offset: usize,
    line_starts: OnceCell<Vec<usize>>,
}

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
        Self { text, first_line, offset, line_starts: OnceCell::new() }
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
        let before = self.text.get(start..at.min(self.text.len())).unwrap_or_default();
        Position { line: self.first_line + line, column: before.chars().count() + 1 }
    }

    /// The bytes of the line around a byte of the piece, without the line's end.
    pub fn line_around(&self, at: usize) -> Span {
        let (_, start) = self.line_at(at);
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        start..start + line.trim_end_matches('\r').len()
    }

    /// The number (from 0) and the start of the line of a byte.
    fn line_at(&self, at: usize) -> (usize, usize) {
        let starts = self.line_starts.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        });
        let line = starts.partition_point(|start| *start <= at).saturating_sub(1);
        (line, starts.get(line).copied().unwrap_or_default())
    }
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
}
