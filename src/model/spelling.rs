//! "Did you mean": the known name that is most similar to an unknown one.

/// The known name that is closest to a mistyped one, if it is close enough to suggest.
pub fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = key.chars().count();
    // As many edits as the lengths differ by are needed in any case. It spares most keys the table, and hostile ones of any length.
    let may_be_close = known.iter().filter(|name| length.abs_diff(name.len()) <= name.len() / 3);
    let close = may_be_close.map(|name| (edits(&key.to_lowercase(), &name.to_lowercase()), *name));
    close.filter(|(distance, name)| *distance <= name.len() / 3).min().map(|(_, name)| name)
}

/// The Levenshtein distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, from) in a.chars().enumerate() {
        let mut next = vec![above + 1];
        let columns = row.iter().zip(row.iter().skip(1)).zip(&b);
        for ((diagonal, up), to) in columns {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(from != *to)).min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 5] = ["global", "shared", "perUser", "tools", "maxTokens"];

    #[test]
    fn a_typo_is_distinguished_from_an_invention() {
        assert_eq!(nearest("perUsers", &FIELDS), Some("perUser"));
        assert_eq!(nearest("PERUSER", &FIELDS), Some("perUser"));
        assert_eq!(nearest("maxToken", &FIELDS), Some("maxTokens"));
        assert_eq!(nearest("prompts", &FIELDS), None);
        assert_eq!(nearest(&"x".repeat(100_000), &FIELDS), None);
    }
}
