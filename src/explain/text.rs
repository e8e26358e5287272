//! Paragraphs, numbers with thousands apart, durations for people.

/// As wide as a paragraph gets.
const WIDTH: usize = 100;

/// A paragraph, each of its lines indented.
pub(super) fn paragraph(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = lines.last().is_none_or(|line| line.is_empty() || indent + line.len() + 1 + word.len() <= WIDTH);
        if !fits {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// 1234567 as 1,234,567.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let words = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(words, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn paragraphs_are_broken_between_words() {
        let text = paragraph(&"word ".repeat(30), 2);
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  word") && line.ends_with("word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 30);
    }
}
