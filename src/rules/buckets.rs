//! Rules about single buckets: TG006, TG007, TG008.

use std::cell::LazyCell;

use serde_json::Value;

use super::{Context, Found};
use crate::model::{
    bucket::{Bucket, BucketFault, MAX_TOKENS, REFILL_PERIOD, quoted, same_meaning},
    owners::Owners,
    path::FieldPath,
    problem::Problem,
    subject::{LevelOf, ScopeKey, Subject},
};

pub(super) fn max_tokens(context: &Context<'_>) -> Vec<Found> {
    faults(context, |bucket, fault| match fault {
        BucketFault::NotAMap(type_name) => {
            // The example belongs to the sentence: it is too wide to stand beside marked text.
            let example = r#"{"maxTokens": 60, "refillPeriod": "1m0s"}"#;
            Some(Found::new(bucket.clone(), format!("is {type_name}, not a bucket: write {example}")))
        }
        BucketFault::MaxTokens(fault) => {
            let problem = Problem::new(fault.clone()).advice("write a whole number from 1 to 2147483647");
            Some(Found::new(bucket.key(MAX_TOKENS), problem).on(bucket.clone()))
        }
        BucketFault::RefillPeriod(_) => None,
    })
}

pub(super) fn refill_period(context: &Context<'_>) -> Vec<Found> {
    faults(context, |bucket, fault| match fault {
        BucketFault::RefillPeriod(fault) => {
            let problem = Problem::new(fault.clone()).advice("write the time to refill all tokens, such as 1m0s, 1h30m or 500ms");
            Some(Found::new(bucket.key(REFILL_PERIOD), problem).on(bucket.clone()))
        }
        BucketFault::NotAMap(_) | BucketFault::MaxTokens(_) => None,
    })
}

fn faults(context: &Context<'_>, report: impl Fn(&FieldPath, &BucketFault) -> Option<Found>) -> Vec<Found> {
    let faulty = context.limits.buckets.iter().filter_map(|at| Some((&at.path, Bucket::read(at.value).err()?)));
    faulty.flat_map(|(path, faults)| faults.iter().filter_map(|fault| report(path, fault)).collect::<Vec<_>>()).collect()
}

pub(super) fn shared_and_global_disagree(context: &Context<'_>) -> Vec<Found> {
    let Subject { kind, object } = context.subject;
    let owners = LazyCell::new(|| Owners::of(kind, object));
    let levels = context.limits.levels.iter();
    levels
        .filter_map(|level| {
            let (shared, global) = (level.bucket(ScopeKey::Shared)?, level.bucket(ScopeKey::Global)?);
            (!same_meaning(shared, global)).then(|| disagreement(&owners, level, shared, global))
        })
        .collect()
}

/// How many managers are named for each of the two.
const MOST_MANAGERS: usize = 4;

fn disagreement(owners: &Owners<'_>, level: &LevelOf<'_>, shared: &Value, global: &Value) -> Found {
    let set_by = |scope: ScopeKey| {
        let managers = owners.of_bucket(level, scope);
        let named: Vec<_> = managers.iter().take(MOST_MANAGERS).map(|manager| plainly(manager)).collect();
        match managers.len() - named.len() {
            _ if named.is_empty() => String::new(),
            0 => format!(", set by {}", named.join(" and ")),
            more => format!(", set by {} and {more} more", named.join(", ")),
        }
    };
    let fault = format!(
        "shared ({}{}) and global ({}{}) disagree",
        brief(shared),
        set_by(ScopeKey::Shared),
        brief(global),
        set_by(ScopeKey::Global),
    );
    let problem = Problem::new(fault).advice("keep only global, with the limit you want");
    Found::new(level.path.key(ScopeKey::Shared.key()), problem).on(level.path.key(ScopeKey::Global.key()))
}

/// A manager's name unchanged, unless it would break the line.
fn plainly(manager: &str) -> String {
    if manager.chars().all(|c| c.is_ascii_graphic() || c == ' ') { manager.to_owned() } else { quoted(manager) }
}

/// A short description of a bucket, valid or not.
fn brief(value: &Value) -> String {
    match Bucket::read(value) {
        Ok(bucket) => format!("{} per {}", bucket.max_tokens, bucket.refill_period),
        Err(_) => quoted(&value.to_string()),
    }
}
