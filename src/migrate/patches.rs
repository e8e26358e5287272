//! Patches of objects of ours, as kustomize takes them, that a rename of the objects leaves behind.

use std::sync::Arc;

use crate::{
    manifest::{Span, Text},
    model::{
        VERSIONS,
        problem::Problem,
        schema::{GlobalKey, Location, Schema},
        subject::{Kind, RATE_LIMITING, ScopeKey},
    },
    report::{Finding, Place, Severity},
};

/// Where a text that is not an object of ours patches a `shared`: the paths of JSON patches, and patches in the text of a kustomization. Once the base
/// is renamed, they lead nowhere, or set the old name again.
pub(super) fn patched_places(file: &Arc<str>, text: &Text, schema: Option<&Schema>) -> Vec<Finding> {
    if schema.is_some_and(|schema| !keeps_global_somewhere(schema)) {
        return Vec::new();
    }
    let spans = shared_in_json_patches(text.as_str()).into_iter().chain(shared_in_kustomization(text.as_str()));
    let found = spans.map(|span| {
        let problem = Problem::new("a patch of shared leads nowhere once its object says global").advice("write global here by hand");
        Finding { severity: Severity::Error, ..Finding::new("TG101", problem) }.at(Place::new(file, text, &span))
    });
    found.collect()
}

fn keeps_global_somewhere(schema: &Schema) -> bool {
    let places = Kind::ALL.into_iter().flat_map(|kind| (0..kind.places().len()).map(move |place| (kind, place)));
    places.into_iter().any(|(kind, place)| {
        let at = Location { place, in_tool: false };
        VERSIONS.iter().any(|version| schema.global_key(kind, version, at) == GlobalKey::Kept)
    })
}

fn shared_in_json_patches(text: &str) -> Vec<Span> {
    let paths = text.match_indices("/rateLimiting/").filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let path = rest.split(|c: char| c.is_whitespace() || "\"',}#".contains(c)).next()?;
        path.split('/').any(|step| step == ScopeKey::Shared.key()).then(|| at..at + path.len())
    });
    paths.collect()
}

/// The lines of patches that a kustomization holds as text.
fn shared_in_kustomization(text: &str) -> Vec<Span> {
    let lists_patches = |line: &str| line.starts_with("patches:") || line.starts_with("patchesStrategicMerge:");
    if !(text.contains(RATE_LIMITING) && text.lines().any(lists_patches)) {
        return Vec::new();
    }
    let lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some(start..*at)
    });
    let shared = lines.filter_map(|line| {
        let inner = text.get(line.clone())?.trim_start();
        let start = line.end - inner.len();
        inner.starts_with("shared:").then(|| start..start + ScopeKey::Shared.key().len())
    });
    shared.collect()
}
