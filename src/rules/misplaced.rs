//! TG012: limits that are never read, because `rateLimiting` is misspelt or in the wrong place.

use serde_json::{Map, Value};

use super::{Context, Found};
use crate::model::{
    path::FieldPath,
    problem::Problem,
    spelling::nearest,
    subject::{Kind, RATE_LIMITING},
};

/// Maps in which limits end up by mistake: by wrong indentation, or at the place of the other kind. As [`plain`] gives them.
const PARENTS: [&str; 3] = ["metadata", SPEC, "status"];
const SPEC: &str = "spec";
const INSIDE_SPEC: [&str; 2] = [CONFIG, "sessionstorage"];
const CONFIG: &str = "config";

/// Names that differ from `rateLimiting` by more than a typo.
const OTHER_NAMES: [&str; 4] = ["ratelimit", "ratelimits", "ratelimiter", "ratelimiters"];

pub(super) fn misplaced_limits(context: &Context<'_>) -> Vec<Found> {
    let kind = context.subject.kind;
    let Some(root) = context.subject.object.as_object() else { return Vec::new() };
    let mut found = Vec::new();
    look(kind, &FieldPath::default(), root, &mut found);
    for (key, value) in maps_named(root, &PARENTS) {
        let path = FieldPath::new([key.to_owned()]);
        look(kind, &path, value, &mut found);
        if plain(key) == SPEC {
            maps_named(value, &INSIDE_SPEC).for_each(|(key, value)| look(kind, &path.key(key.to_owned()), value, &mut found));
        }
    }
    found
}

/// The maps under these plain names, in any spelling.
fn maps_named<'v>(map: &'v Map<String, Value>, names: &'static [&'static str]) -> impl Iterator<Item = (&'v str, &'v Map<String, Value>)> {
    let maps = map.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_object()?)));
    maps.filter(|(key, _)| names.contains(&plain(key).as_str()))
}

/// Finds fields of a map that are meant as limits but are not read.
fn look(kind: Kind, path: &FieldPath, map: &Map<String, Value>, found: &mut Vec<Found>) {
    for (key, _) in map.iter().filter(|(key, value)| !value.is_null() && is_meant(key)) {
        let here = path.key(key.clone());
        let mut places = kind.places().iter().map(|keys| FieldPath::new(keys.iter().copied()));
        if places.any(|place| place == here) {
            continue;
        }
        let is_in_config = path.steps().len() > 1 && kind == Kind::VirtualMcpServer;
        let meant = if is_in_config { FieldPath::new([SPEC, CONFIG, RATE_LIMITING]) } else { FieldPath::new([SPEC, RATE_LIMITING]) };
        found.push(Found::new(here, Problem::new("limits are not read here").advice(format!("did you mean {meant}?"))));
    }
}

fn is_meant(key: &str) -> bool {
    let plain = plain(key);
    OTHER_NAMES.contains(&plain.as_str()) || nearest(&plain, &[RATE_LIMITING]).is_some()
}

/// A key without what sets its spellings apart: case, `_` and `-`, and blanks that YAML does not take for indentation.
fn plain(key: &str) -> String {
    let is_part = |char: &char| !(char.is_whitespace() || matches!(char, '_' | '-' | '\u{200b}' | '\u{feff}'));
    // A hostile key may be long.
    key.chars().take(64).filter(is_part).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_the_key() {
        for meant in [
            "rateLimiting",
            "ratelimiting",
            "rateLimits",
            "rate_limiting",
            "rate-limit",
            "RateLimiting",
            "\u{a0}\u{a0}rateLimiting",
            "rateLimting",
        ] {
            assert!(is_meant(meant), "{meant}");
        }
        for other in ["resourceOverrides", "replicas", "telemetry", "retry", "limits", "image", "rating"] {
            assert!(!is_meant(other), "{other}");
        }
    }
}
