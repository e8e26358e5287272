//! Texts that give manifests, and are none themselves.

/// Where a text that is no YAML shows that it is a template of Go's, as Helm has them: at its first `{{` outside of quotes and comments.
pub fn template(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((before, _)) = line.split_once("{{")
            && !before.contains(['#', '"', '\''])
        {
            return Some(start + before.len());
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_or_a_comment_makes_no_template() {
        assert_eq!(template("a: 1\n{{- if .Values.a }}\n"), Some(5));
        assert_eq!(template("a: {{ include \"b\" . }}\n"), Some(3));
        assert_eq!(template("# {{ a }}\nb: \"{{ c }}\"\n\td: '{{ e }}'\n"), None);
    }
}
