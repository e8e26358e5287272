//! Rules about the shape of a block: TG002, TG003, TG004, TG005, TG010, TG011.

use std::collections::HashMap;

use serde_json::Value;

use super::{Context, Found, is_a};
use crate::model::{
    bucket::{FIELDS, quoted},
    path::FieldPath,
    problem::Problem,
    spelling::nearest,
    subject::{Block, ScopeKey, TOOLS},
};

const BLOCK_FIELDS: [&str; 4] = ["global", "shared", "perUser", TOOLS];
const TOOL_FIELDS: [&str; 4] = ["name", "global", "shared", "perUser"];

pub(super) fn per_user_without_sign_in(context: &Context<'_>) -> Vec<Found> {
    if context.subject.signs_in() {
        return Vec::new();
    }
    let per_user = context.limits.buckets.iter().filter(|bucket| bucket.scope == ScopeKey::PerUser);
    let problem = Problem::new("callers do not sign in, so there are no users to count")
        .advice(format!("{}, or use global", context.subject.sign_in_hint()));
    per_user.map(|bucket| Found::new(bucket.path.clone(), problem.clone())).collect()
}

pub(super) fn empty_block(context: &Context<'_>) -> Vec<Found> {
    let blocks = context.limits.blocks.iter();
    blocks
        .filter_map(|block| match block.value.as_object() {
            None => Some(Found::new(block.path.clone(), is_a(block.value).advice("write a map with global, perUser or tools"))),
            Some(_) if is_empty(block) => {
                let problem = Problem::new("limits nothing").advice("set global, perUser or tools, or remove rateLimiting");
                Some(Found::new(block.path.clone(), problem))
            }
            Some(_) => None,
        })
        .collect()
}

/// No bucket at the server level, and no tools; another rule reports unreadable tools.
fn is_empty(block: &Block<'_>) -> bool {
    let no_tools = match block.value.get(TOOLS) {
        None | Some(Value::Null) => true,
        Some(tools) => tools.as_array().is_some_and(Vec::is_empty),
    };
    no_tools && block.levels().iter().all(|level| level.buckets().is_empty())
}

pub(super) fn empty_tool(context: &Context<'_>) -> Vec<Found> {
    let entries = context.limits.blocks.iter().flat_map(tool_entries);
    entries
        .filter_map(|(at, entry)| match entry.as_object() {
            None => Some(Found::new(at.path(), is_a(entry).advice("write a map with name and global or perUser"))),
            Some(map) => {
                let has_bucket = ScopeKey::ALL.iter().any(|scope| map.get(scope.key()).is_some_and(|value| !value.is_null()));
                let problem = Problem::new("limits nothing").advice("set global or perUser, or remove the entry");
                (!has_bucket).then(|| Found::new(at.path(), problem))
            }
        })
        .collect()
}

pub(super) fn tool_names(context: &Context<'_>) -> Vec<Found> {
    context.limits.blocks.iter().flat_map(names_in).collect()
}

fn names_in(block: &Block<'_>) -> Vec<Found> {
    match block.value.get(TOOLS) {
        None | Some(Value::Null | Value::Array(_)) => {}
        Some(other) => {
            let problem = is_a(other).advice("write a list of entries, each with a name");
            return vec![Found::new(block.path.key(TOOLS), problem)];
        }
    }
    let mut first_seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (at, entry) in tool_entries(block) {
        let Some(map) = entry.as_object() else { continue };
        let advice = "write the tool's name";
        let problem = match map.get("name") {
            None | Some(Value::Null) => Some(Problem::new("is missing").advice(advice)),
            Some(Value::String(name)) if name.is_empty() => Some(Problem::new("is empty").advice(advice)),
            Some(Value::String(name)) => match *first_seen.entry(name).or_insert(at.index) {
                first if first == at.index => None,
                first => {
                    let fault = format!("{} is the name of tools[{first}] too", quoted(name));
                    Some(Problem::new(fault).advice("merge the two entries"))
                }
            },
            Some(other) => Some(is_a(other).advice(advice)),
        };
        found.extend(problem.map(|problem| Found::new(at.path().key("name"), problem).on(at.path())));
    }
    found
}

pub(super) fn two_places(context: &Context<'_>) -> Vec<Found> {
    match context.limits.blocks.as_slice() {
        [first, second, ..] => {
            let problem = Problem::new(format!("limits are also set at {}", first.path)).advice("keep one of the two");
            vec![Found::new(second.path.clone(), problem)]
        }
        _ => Vec::new(),
    }
}

pub(super) fn unknown_fields(context: &Context<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for block in &context.limits.blocks {
        found.extend(fields_outside(|| block.path.clone(), block.value, &BLOCK_FIELDS, "limits"));
        for (at, entry) in tool_entries(block) {
            found.extend(fields_outside(|| at.path(), entry, &TOOL_FIELDS, "a tool's limits"));
        }
    }
    for bucket in &context.limits.buckets {
        found.extend(fields_outside(|| bucket.path.clone(), bucket.value, &FIELDS, "a bucket"));
    }
    found
}

fn fields_outside(path: impl Fn() -> FieldPath, value: &Value, known: &[&str], what: &str) -> Vec<Found> {
    let keys = value.as_object().into_iter().flat_map(|map| map.keys());
    let unknown = keys.filter(|key| !known.contains(&key.as_str()));
    unknown
        .map(|key| {
            let advice = match nearest(key, known) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the fields are {}", known.join(", ")),
            };
            Found::new(path().key(key.clone()), Problem::new(format!("is not a field of {what}")).advice(advice))
        })
        .collect()
}

/// The place of a tool's entry, of whatever type.
struct ToolAt<'b> {
    block: &'b FieldPath,
    index: usize,
}

impl ToolAt<'_> {
    fn path(&self) -> FieldPath {
        self.block.key(TOOLS).index(self.index)
    }
}

fn tool_entries<'b, 'a>(block: &'b Block<'a>) -> impl Iterator<Item = (ToolAt<'b>, &'a Value)> + use<'b, 'a> {
    let entries = block.value.get(TOOLS).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().enumerate().map(|(index, entry)| (ToolAt { block: &block.path, index }, entry))
}
