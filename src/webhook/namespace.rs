//! Whose review it is, from the first bytes of its body: enough to share time fairly before anything is judged.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// API servers write the namespace before the objects, within some 500 bytes.
const WITHIN: usize = 4096;

/// `request.namespace`; empty if the first 4 KiB do not contain it.
pub(super) fn namespace(body: &[u8]) -> String {
    let mut found = String::new();
    let mut json = serde_json::Deserializer::from_slice(body.get(..WITHIN).unwrap_or(body));
    // Ends with an error, of ours as soon as it is found.
    let _ = Member { path: &["request", "namespace"], found: &mut found }.deserialize(&mut json);
    found
}

/// The string at a path of keys.
struct Member<'a> {
    path: &'a [&'static str],
    found: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a namespace")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.path.is_empty() {
            text.clone_into(self.found);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, path)) = self.path.split_first() else { return Err(A::Error::custom("not a string")) };
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == *wanted {
                map.next_value_seed(Member { path, found: self.found })?;
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_before_the_objects() {
        let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{"group":"g"},"#;
        let long = "x".repeat(10_000);
        for (rest, wanted) in [
            (r#""namespace":"team-a","object":{"#, "team-a"),
            (r#""namespace":"\u0061","object":{"#, "a"),
            (r#""name":{"namespace":"other"},"namespace":"team-a"}}"#, "team-a"),
            (r#""object":{"metadata":{"namespace":"other"}}}}"#, ""),
            (r#""namespace":{"namespace":"other"}}}"#, ""),
            (r#""namespace":7}}"#, ""),
            ("", ""),
            (&format!(r#""object":{{"x":"{long}"}},"namespace":"late"}}}}"#), ""),
        ] {
            assert_eq!(namespace(format!("{head}{rest}").as_bytes()), wanted, "{rest:.80}");
        }
        for body in ["", "null", "[{}]", r#"{"namespace":"outside"}"#, r#"{"request":[]}"#, "\u{0}"] {
            assert_eq!(namespace(body.as_bytes()), "", "{body}");
        }
    }
}
