//! JSON objects that stand one after another in a text, as `kubectl get -o json` prints them in a loop.

use serde::de::IgnoredAny;

use super::Span;

/// The objects of a text that is JSON throughout; `None` for any other, which is YAML or nothing.
pub(super) fn objects(text: &str) -> Option<Vec<Span>> {
    let mut from = text.strip_prefix('\u{feff}').map_or(0, |rest| text.len() - rest.len());
    // The line that ended the document before belongs to this one.
    if let Some((line, _)) = text.get(from..)?.split_once('\n').filter(|(line, _)| line.trim_end() == "---") {
        from += line.len() + 1;
    }
    let json = text.get(from..)?;
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let mut stream = serde_json::Deserializer::from_str(json).into_iter::<IgnoredAny>();
    let mut spans = Vec::new();
    while let Some(object) = stream.next() {
        object.ok()?;
        let end = from + stream.byte_offset();
        let start = spans.last().map_or(from, |last: &Span| last.end);
        spans.push(start..end);
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_follow_each_other_with_anything_blank_between() {
        let texts = |text: &'static str| {
            objects(text).map(|spans| spans.into_iter().filter_map(|span| text.get(span)).map(str::trim).collect::<Vec<_>>())
        };
        assert_eq!(texts("---\n{\"a\": \"}{\"}{\"b\": 2}\n\n{}\n"), Some(vec!["{\"a\": \"}{\"}", "{\"b\": 2}", "{}"]));
        assert_eq!(texts("\u{feff}{}"), Some(vec!["{}"]));
        for yaml in ["{a: 1}", "a: 1", "", "{} # c", "{}\n---\n{}", "{\"a\": 1,}"] {
            assert_eq!(texts(yaml), None, "{yaml}");
        }
    }
}
