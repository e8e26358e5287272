//! Picks members of an object so that no other parser could pick different ones.
//!
//! Of two members with one name, parsers take the first, the last, or neither. Some also accept `METHOD` for `method`: Go's encoding/json
//! folds case as Unicode does, so that `paramſ` with a long s is `params`; others lowercase, or uppercase, or skip `_` and `-`. So a
//! relevant name that appears twice, or in any such variant, is rejected, whatever its value.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::{Fault, clip};

/// The values of the named members, as they appear in the text. A value that is not an object has none.
pub(super) fn pick<'a, const N: usize>(object: &'a str, names: [&'static str; N]) -> Result<[Option<&'a str>; N], Fault> {
    let mut json = serde_json::Deserializer::from_str(object);
    let picked = json.deserialize_map(Picker { names }).map_err(not_json)?;
    json.end().map_err(not_json)?;
    Ok(picked?.map(|value| value.map(RawValue::get)))
}

/// Passes each entry of an array as it appears in the text to `visit`, up to the first that is rejected.
pub(super) fn for_each<'a>(array: &'a str, visit: impl FnMut(&'a RawValue) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut json = serde_json::Deserializer::from_str(array);
    let visited = json.deserialize_seq(Entries(visit)).map_err(not_json)?;
    json.end().map_err(not_json)?;
    visited
}

/// A JSON string's text; `None` for other values.
pub(super) fn string(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// The message contains line and column, but none of the text: only names are decoded before the grammar is checked.
pub(super) fn not_json(error: serde_json::Error) -> Fault {
    Fault::NotJson(error.to_string())
}

struct Picker<const N: usize> {
    names: [&'static str; N],
}

/// An ambiguity is returned as the value, not as the error, so that the rest still has to be valid JSON.
impl<'de, const N: usize> Visitor<'de> for Picker<N> {
    type Value = Result<[Option<&'de RawValue>; N], Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut picked, mut fault) = ([None; N], None);
        while let Some(name) = map.next_key_seed(NameAmong(self.names))? {
            let Some(name) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            let twice = || Fault::Ambiguous(name.known.to_owned(), name.known);
            match (name.variant, picked.get_mut(name.index)) {
                (None, Some(place)) => fault = fault.or(place.replace(value).map(|_| twice())),
                (variant, _) => fault = fault.or(variant),
            }
        }
        Ok(fault.map_or(Ok(picked), Err))
    }
}

/// Looks up a member's name; `None` for an irrelevant one.
struct NameAmong<const N: usize>([&'static str; N]);

struct Name {
    known: &'static str,
    index: usize,
    variant: Option<Fault>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for NameAmong<N> {
    type Value = Option<Name>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for NameAmong<N> {
    type Value = Option<Name>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        if name == "__proto__" {
            return Ok(Some(Name { known: "", index: N, variant: Some(Fault::Prototype) }));
        }
        let found = self.0.into_iter().enumerate().find(|(_, known)| is_variant(name, known));
        Ok(found.map(|(index, known)| {
            let variant = (name != known).then(|| Fault::Ambiguous(clip(name), known));
            Name { known, index, variant }
        }))
    }
}

/// Whether some parser may take `name` for `known`, which is in lower case ASCII.
pub(super) fn is_variant(name: &str, known: &str) -> bool {
    // Nearly all names are ASCII, where case folding is simple.
    if name.is_ascii() {
        let folded = name.bytes().take_while(|byte| *byte != 0).filter(|byte| !matches!(byte, b'_' | b'-'));
        return folded.map(|byte| byte.to_ascii_lowercase()).eq(known.bytes().filter(|byte| *byte != b'_'));
    }
    let folded = name.chars().take_while(|c| *c != '\0').filter(|c| !matches!(c, '_' | '-')).flat_map(fold);
    folded.eq(known.chars().filter(|c| *c != '_'))
}

/// One letter for all of its cases: ſ is s, K (Kelvin) is k, and the Turkish ı and İ are i.
fn fold(letter: char) -> impl Iterator<Item = char> {
    let letter = if letter == 'İ' { 'i' } else { letter };
    letter.to_uppercase().flat_map(char::to_lowercase)
}

struct Entries<F>(F);

impl<'de, F: FnMut(&'de RawValue) -> Result<(), Fault>> Visitor<'de> for Entries<F> {
    type Value = Result<(), Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        while let Some(entry) = entries.next_element()? {
            if let Err(fault) = (self.0)(entry) {
                while entries.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(object: &str) -> Result<[Option<&str>; 2], Fault> {
        pick(object, ["method", "params"])
    }

    #[test]
    fn values_stay_as_they_are_written() {
        assert_eq!(
            picked(r#"{ "params" : [1e400, {}] , "x":{"method":1}, "m\u0065thod": "a\/b" }"#),
            Ok([Some(r#""a\/b""#), Some("[1e400, {}]")])
        );
        assert_eq!(picked("{}"), Ok([None, None]));
    }

    #[test]
    fn what_comes_twice_or_in_another_case_is_ambiguous() {
        let twice = Fault::Ambiguous("method".to_owned(), "method");
        assert_eq!(picked(r#"{"method":"a","method":"a"}"#), Err(twice.clone()));
        assert_eq!(picked(r#"{"method":"a","\u006dethod":null}"#), Err(twice));
        for variant in ["METHOD", "Method", "_method", "me-thod", "method\\u0000", "method\\u0000x"] {
            let name: String = serde_json::from_str(&format!("\"{variant}\"")).expect("a string");
            assert_eq!(picked(&format!(r#"{{"{variant}":1}}"#)), Err(Fault::Ambiguous(name, "method")), "{variant}");
        }
        assert_eq!(picked("{\"param\u{17f}\":1}"), Err(Fault::Ambiguous("param\u{17f}".to_owned(), "params")));
        assert_eq!(picked(r#"{"__proto__":{"method":"tools/call"}}"#), Err(Fault::Prototype));
    }

    #[test]
    fn letters_fold_as_in_any_parser() {
        for (name, known) in [("\u{212a}ey", "key"), ("ıd", "id"), ("İd", "id"), ("TOOL_NAME", "tool_name"), ("toolName", "tool_name")] {
            assert!(is_variant(name, known), "{name}");
        }
        for (name, known) in [("method ", "method"), ("methods", "method"), ("metho", "method"), ("ıdd", "id"), ("mé", "me")] {
            assert!(!is_variant(name, known), "{name}");
        }
    }

    #[test]
    fn ascii_folds_as_other_letters_do() {
        for letter in (0..128).map(char::from) {
            assert!(fold(letter).eq([letter.to_ascii_lowercase()]), "{letter:?}");
        }
    }

    #[test]
    fn what_follows_an_ambiguity_still_has_to_be_json() {
        for broken in [r#"{"method":1,"method":1,}"#, r#"{"method":1"#, r#"{"method":01}"#, r#"{"x":nul}"#, "{} {}", r#"{"a":"tab	"}"#] {
            assert!(matches!(picked(broken), Err(Fault::NotJson(_))), "{broken}");
        }
    }

    #[test]
    fn entries_are_handed_over_until_one_is_refused() {
        let mut seen = Vec::new();
        let visited = for_each("[1, [2], 3]", |entry| {
            seen.push(entry.get().to_owned());
            if entry.get() == "[2]" { Err(Fault::Prototype) } else { Ok(()) }
        });
        assert_eq!((visited, seen), (Err(Fault::Prototype), vec!["1".to_owned(), "[2]".to_owned()]));
        assert!(matches!(for_each("[1,,]", |_| Ok(())), Err(Fault::NotJson(_))));
    }
}
