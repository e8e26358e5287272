//! Rules that only warn: TG101 to TG107.

use std::time::Duration;

use serde_json::Value;

use super::{Context, Found};
use crate::model::{
    alias::Kept,
    bucket::{Bucket, quoted, same_meaning},
    period::go_duration,
    problem::Problem,
    subject::{Block, Kind, LevelOf, ScopeKey},
};

pub(super) fn shared_is_deprecated(context: &Context<'_>) -> Vec<Found> {
    let with_shared = context.limits.levels.iter().filter(|level| level.bucket(ScopeKey::Shared).is_some());
    with_shared
        .filter_map(|level| {
            let kept = context.kept.get(&level.path);
            let may_be_ours = kept.is_none() && context.is_read_by_published_operator() && is_mirrored(level);
            if may_be_ours || kept == Some(&Kept::Added) {
                return None;
            }
            // For an object without a cluster, the CRD is unknown.
            let why = kept.map_or_else(|| " once the installed CRD has it".to_owned(), |kept| format!(" ({kept})"));
            Some(Found::new(level.path.key(ScopeKey::Shared.key()), format!("deprecated, write global{why}")))
        })
        .collect()
}

fn is_mirrored(level: &LevelOf<'_>) -> bool {
    level.bucket(ScopeKey::Shared).zip(level.bucket(ScopeKey::Global)).is_some_and(|(shared, global)| same_meaning(shared, global))
}

pub(super) fn never_binds(context: &Context<'_>) -> Vec<Found> {
    context.limits.blocks.iter().flat_map(never_binding_in).collect()
}

fn never_binding_in(block: &Block<'_>) -> Vec<Found> {
    let read = |value: Option<&Value>| value.and_then(|value| Bucket::read(value).ok());
    let levels = block.levels();
    let Some(server) = levels.first() else { return Vec::new() };
    let (server_global, server_user) = (read(server.global()), read(server.bucket(ScopeKey::PerUser)));
    let mut found = Vec::new();
    for level in &levels {
        let (global, user) = (read(level.global()), read(level.bucket(ScopeKey::PerUser)));
        let is_tool = level.tool.is_some();
        let wider_than_global = [(is_tool, server_global, "the server's global")];
        let wider_than_user = [
            (true, global, if is_tool { "the tool's global" } else { "global" }),
            (is_tool, server_user, "the server's perUser"),
            (is_tool, server_global, "the server's global"),
        ];
        let global_name = if level.bucket(ScopeKey::Global).is_some() { ScopeKey::Global } else { ScopeKey::Shared };
        found.extend(first_wider(level, global_name, global, &wider_than_global));
        found.extend(first_wider(level, ScopeKey::PerUser, user, &wider_than_user));
    }
    found
}

fn first_wider(level: &LevelOf<'_>, scope: ScopeKey, bucket: Option<Bucket>, wider: &[(bool, Option<Bucket>, &str)]) -> Option<Found> {
    let bucket = bucket?;
    let (_, _, name) = wider.iter().find(|(applies, wider, _)| *applies && wider.is_some_and(|wider| bucket.never_binds_below(&wider)))?;
    Some(Found::new(level.path.key(scope.key()), Problem::new("never denies").advice(format!("{name} is as tight"))))
}

pub(super) fn odd_tool_name(context: &Context<'_>) -> Vec<Found> {
    let levels = context.limits.levels.iter();
    levels
        .filter_map(|level| {
            let name = level.tool.filter(|name| !name.is_empty())?;
            let plain = name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
            (!plain).then(|| Found::new(level.path.key("name"), format!("{} is not a tool name that MCP allows", quoted(name))))
        })
        .collect()
}

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn slow_bucket(context: &Context<'_>) -> Vec<Found> {
    let buckets = context.limits.buckets.iter();
    buckets
        .filter_map(|at| {
            let bucket = Bucket::read(at.value).ok()?;
            (bucket.interval() > HOUR).then(|| Found::new(at.path.clone(), Problem::new("is slow").advice(bucket.pace())))
        })
        .collect()
}

pub(super) fn keys_in_redis(context: &Context<'_>) -> Vec<Found> {
    context.limits.blocks.iter().filter_map(keys_of).collect()
}

/// The memory estimate, for the users' bucket that is kept longest, if that is two days (2 x 24h) or longer.
fn keys_of(block: &Block<'_>) -> Option<Found> {
    let per_user = block.buckets().filter(|at| at.scope == ScopeKey::PerUser);
    let read = per_user.filter_map(|at| Some((at.path, Bucket::read(at.value).ok()?.refill_period)));
    let (path, period) = read.max_by_key(|(_, period)| *period)?;
    if period.as_duration() < 24 * HOUR {
        return None;
    }
    let tools = block.tools().filter(|tool| tool.bucket(ScopeKey::PerUser).is_some()).count();
    let kept = go_duration(period.as_nanos().saturating_mul(2));
    Some(Found::new(path, format!("Redis holds (users seen in {kept}) x (1 + {tools}) keys")))
}

pub(super) fn missing_reference(context: &Context<'_>) -> Vec<Found> {
    let Some(cluster) = context.references else { return Vec::new() };
    let (false, Some(namespace)) = (context.limits.blocks.is_empty(), context.subject.namespace()) else { return Vec::new() };
    let missing = context.subject.references().into_iter().filter(|to| cluster.exists(to.kind, namespace, to.name) == Some(false));
    missing.map(|to| Found::new(to.path, format!("{} {} does not exist (yet)", to.kind.name(), quoted(to.name)))).collect()
}

/// What the published operator does not read: `global` without its `shared`, and the outer place of a VirtualMCPServer.
pub(super) fn unread_limits(context: &Context<'_>) -> Vec<Found> {
    if !context.is_read_by_published_operator() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for block in &context.limits.blocks {
        if context.subject.kind == Kind::VirtualMcpServer && block.place == 0 {
            let problem = Problem::new("ToolHive's operator does not read limits here, so they are not enforced");
            found.push(Found::new(block.path.clone(), problem.advice("write them at spec.config.rateLimiting")));
            continue;
        }
        let unread =
            block.levels().into_iter().filter(|level| level.bucket(ScopeKey::Global).is_some() && level.bucket(ScopeKey::Shared).is_none());
        found.extend(unread.map(|level| {
            let problem = Problem::new("ToolHive's operator reads only shared, so this limit is not enforced");
            Found::new(level.path.key(ScopeKey::Global.key()), problem.advice("write shared with the same limit too"))
        }));
    }
    found
}
