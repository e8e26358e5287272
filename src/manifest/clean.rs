//! What separates YAML 1.1, which `kubectl` reads, from the text that the parser takes: other line ends, and byte order marks on the way.

use std::borrow::Cow;

use super::Span;

const MARK: char = '\u{feff}';

/// The characters that end a line in YAML 1.1 and not in 1.2.
const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// A text for the parser, and the way back to the places of the original.
pub(super) struct Clean<'t> {
    pub(super) text: Cow<'t, str>,
    source: &'t str,
    /// Where in the clean text a mark was removed.
    removed: Vec<usize>,
}

impl<'t> Clean<'t> {
    /// Ends lines as YAML 1.1 does, each by a line feed with as many bytes as the original, and removes marks that begin a line.
    pub(super) fn yaml(text: &'t str) -> Self {
        if !text.contains(|char: char| char == MARK || LINE_ENDS.contains(&char)) {
            return Self::json(text);
        }
        let (mut clean, mut removed, mut begins_line) = (String::with_capacity(text.len()), Vec::new(), true);
        for char in text.chars() {
            if char == MARK && begins_line {
                removed.push(clean.len());
                continue;
            }
            begins_line = char == '\n' || char == '\r' || LINE_ENDS.contains(&char);
            if LINE_ENDS.contains(&char) {
                clean.extend(std::iter::repeat_n(' ', char.len_utf8() - 1));
                clean.push('\n');
            } else {
                clean.push(char);
            }
        }
        Self { text: Cow::Owned(clean), source: text, removed }
    }

    /// The text as it is: in JSON, those characters have no meaning.
    pub(super) fn json(text: &'t str) -> Self {
        Self { text: Cow::Borrowed(text), source: text, removed: Vec::new() }
    }

    /// Where some bytes of the clean text are in the original.
    pub(super) fn original(&self, span: &Span) -> Span {
        let start = self.at(span.start);
        start..self.at(span.end).max(start)
    }

    /// Where a byte of the clean text is in the original, moved back to the start of its character: a line end that was replaced is one.
    pub(super) fn at(&self, at: usize) -> usize {
        let at = at + self.removed.partition_point(|removed| *removed <= at) * MARK.len_utf8();
        (0..=at).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_back() {
        let text = "\u{feff}a: 1 # é\u{2028}b: 2\u{85}c: 3\n\u{feff}d: 4\u{2029}";
        let clean = Clean::yaml(text);
        assert_eq!(clean.text, "a: 1 # é  \nb: 2 \nc: 3\nd: 4  \n");
        for key in ["a: 1", "b: 2", "c: 3", "d: 4"] {
            let at = clean.text.find(key).expect("it is there");
            assert_eq!(text.get(clean.original(&(at..at + key.len()))), Some(key));
        }
    }

    #[test]
    fn places_in_a_line_end_are_before_it() {
        let text = "a: 1\u{2028}- é\u{85}";
        let clean = Clean::yaml(text);
        assert_eq!(clean.text, "a: 1  \n- é \n");
        assert_eq!([3, 4, 5, 6, 7, 9, 11, 12, 13].map(|at| clean.at(at)), [3, 4, 4, 4, 7, 9, 11, 11, 13]);
    }

    #[test]
    fn what_needs_no_cleaning_is_not_copied() {
        assert!(matches!(Clean::yaml("a: é\r\n").text, Cow::Borrowed(_)));
    }
}
