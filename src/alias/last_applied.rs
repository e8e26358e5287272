//! kubectl's `last-applied-configuration` annotation: the user's manifest, as JSON text inside the object.
//!
//! The key is renamed in the text, which stays byte for byte the same elsewhere: kubectl compares what it wrote with what it will write.

use std::collections::{HashMap, HashSet};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

use crate::model::{
    path::FieldPath,
    subject::{Block, Kind, LevelOf, ScopeKey, TOOLS},
};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The path of the annotation.
pub(super) fn path() -> FieldPath {
    FieldPath::new(["metadata", "annotations", ANNOTATION])
}

/// The annotation's text.
pub(super) fn text(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()
}

/// The manifest in an object's annotation, if it can be parsed.
pub fn manifest(object: &Value) -> Option<Value> {
    serde_json::from_str(text(object)?).ok()
}

/// Which of the two names the annotation declares, by location.
#[derive(Debug, Default)]
pub(super) struct Declared(HashMap<(usize, Option<String>), [bool; 2]>);

impl Declared {
    /// Parses an object's annotation; a missing or invalid one declares nothing.
    pub(super) fn by(kind: Kind, object: &Value) -> Self {
        let Some(manifest) = manifest(object) else { return Self::default() };
        let mut declared = HashMap::new();
        for (place, keys) in kind.places().iter().enumerate() {
            let path = FieldPath::new(keys.iter().copied());
            let Some(value) = path.find(&manifest) else { continue };
            for level in (Block { place, path: path.clone(), value }).levels() {
                let both = [ScopeKey::Shared, ScopeKey::Global].map(|scope| level.bucket(scope).is_some());
                declared.insert((place, level.tool.map(str::to_owned)), both);
            }
        }
        Self(declared)
    }

    /// Whether the manifest declares a bucket at a location.
    pub(super) fn says(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        let [shared, global] = self.0.get(&(level.place, level.tool.map(str::to_owned))).copied().unwrap_or_default();
        if scope == ScopeKey::Shared { shared } else { global }
    }
}

/// The text with `shared` renamed to `global` at the given locations; if both exist, `shared` is removed. `None` if nothing changes.
pub(super) fn rename(text: &str, kind: Kind, locations: &[(usize, Option<String>)]) -> Option<String> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    let mut cuts = Vec::new();
    for (place, keys) in kind.places().iter().enumerate() {
        let wanted: HashSet<Option<&str>> = locations.iter().filter(|(at, _)| *at == place).map(|(_, tool)| tool.as_deref()).collect();
        if wanted.is_empty() {
            continue;
        }
        let block = keys.iter().try_fold(root, |node, key| find(members(node)?, key));
        let Some(block) = block else { continue };
        if wanted.contains(&None) {
            cuts.extend(cut(text, block));
        }
        let tools = members(block).and_then(|members| find(members, TOOLS));
        let tools: Vec<&RawValue> = tools.and_then(|tools| serde_json::from_str(tools.get()).ok()).unwrap_or_default();
        for tool in tools {
            let name =
                members(tool).and_then(|members| find(members, "name")).and_then(|name| serde_json::from_str::<String>(name.get()).ok());
            if name.is_some() && wanted.contains(&name.as_deref()) {
                cuts.extend(cut(text, tool));
            }
        }
    }
    splice(text, cuts)
}

/// A member of a JSON object, both parts as they appear in the text.
type Member<'a> = (&'a RawValue, &'a RawValue);

/// The members of an object, in order; `None` for anything else.
fn members(object: &RawValue) -> Option<Vec<Member<'_>>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    serde_json::Deserializer::from_str(object.get()).deserialize_map(Members).ok()
}

/// The value of the last member with this key, which is the one that decoders use.
fn find<'a>(members: Vec<Member<'a>>, key: &str) -> Option<&'a RawValue> {
    members.into_iter().rev().find(|(name, _)| is_key(name, key)).map(|(_, value)| value)
}

fn is_key(raw: &RawValue, key: &str) -> bool {
    let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    if quoted.contains('\\') { serde_json::from_str::<String>(raw.get()).is_ok_and(|name| name == key) } else { quoted == key }
}

/// A range of bytes and its replacement.
type Cut = (std::ops::Range<usize>, &'static str);

/// How `shared` is removed from one level.
fn cut(text: &str, level: &RawValue) -> Option<Cut> {
    let members = members(level)?;
    let shared = members.iter().position(|(key, _)| is_key(key, ScopeKey::Shared.key()))?;
    let (key, value) = members.get(shared)?;
    let start = offset(text, key);
    if !members.iter().any(|(key, _)| is_key(key, ScopeKey::Global.key())) {
        return Some((start..start + key.get().len(), "\"global\""));
    }
    let end = offset(text, value) + value.get().len();
    // With the comma after it, or the one before it if it is the last.
    let before = shared.checked_sub(1).and_then(|before| members.get(before));
    Some(match (members.get(shared + 1), before) {
        (Some((next, _)), _) => (start..offset(text, next), ""),
        (None, Some((_, previous))) => (offset(text, previous) + previous.get().len()..end, ""),
        (None, None) => (start..end, ""),
    })
}

/// Where a borrowed part of `text` starts in it.
fn offset(text: &str, part: &RawValue) -> usize {
    part.get().as_ptr() as usize - text.as_ptr() as usize
}

fn splice(text: &str, mut cuts: Vec<Cut>) -> Option<String> {
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, instead) in cuts {
        out.push_str(text.get(from..range.start)?);
        out.push_str(instead);
        from = range.end;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Option<String> {
        rename(text, Kind::McpServer, &[(0, None)])
    }

    #[test]
    fn only_the_key_changes() {
        let text = r#"{"z": 1.0, "spec":{"a":"\u003c","rateLimiting":{ "perUser":{"x":1}, "shared" : {"maxTokens":1e2}}},"shared":{}}"#;
        let renamed = r#"{"z": 1.0, "spec":{"a":"\u003c","rateLimiting":{ "perUser":{"x":1}, "global" : {"maxTokens":1e2}}},"shared":{}}"#;
        assert_eq!(server(text).as_deref(), Some(renamed));
        assert_eq!(server(renamed), None);
    }

    #[test]
    fn beside_global_the_member_goes_with_its_comma() {
        for (text, want) in [
            (r#"{"spec":{"rateLimiting":{"shared":{},"global":{}}}}"#, r#"{"spec":{"rateLimiting":{"global":{}}}}"#),
            (r#"{"spec":{"rateLimiting":{"global":{},"shared":{}}}}"#, r#"{"spec":{"rateLimiting":{"global":{}}}}"#),
            (r#"{"spec":{"rateLimiting":{"global":{}, "shared":{}, "p":1}}}"#, r#"{"spec":{"rateLimiting":{"global":{}, "p":1}}}"#),
        ] {
            assert_eq!(server(text).as_deref(), Some(want));
        }
    }

    #[test]
    fn tools_are_found_by_name() {
        let text = r#"{"spec":{"rateLimiting":{"shared":{},"tools":[{"name":"a/~\u00e9","shared":{}},{"shared":{},"name":"b"},7]}}}"#;
        let renamed = rename(text, Kind::McpServer, &[(0, Some("a/~é".to_owned()))]).expect("the tool is there");
        assert_eq!(renamed, text.replacen(r#"é","shared""#, "", 0).replace(r#"u00e9","shared""#, r#"u00e9","global""#));
        assert!(rename(text, Kind::McpServer, &[(0, Some("c".to_owned()))]).is_none());
    }

    #[test]
    fn what_is_not_json_is_left_alone() {
        for text in ["", "{", "[]", "\"shared\"", r#"{"spec":[]}"#, r#"{"spec":{"rateLimiting":"shared"}}"#] {
            assert_eq!(server(text), None, "{text}");
        }
    }
}
