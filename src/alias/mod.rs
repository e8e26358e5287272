//! Renames `shared` to `global`, so that any sequence of requests ends as if every manifest had used `global` from the start.
//!
//! Renaming the value alone is not enough: the client's next request then contains both keys, and removing `shared` from the manifest
//! leaves the limit behind forever. So ownership moves with the value, in the same patch: `f:shared` to `f:global` in
//! `metadata.managedFields`, and the key inside kubectl's last-applied annotation. After that the client itself removes or updates
//! `global`, an unchanged re-apply changes nothing, and other managers conflict as they would have.
//!
//! ToolHive's published operator reads only `shared`, whatever the CRD has. Where it is running, both names are kept instead, equal and
//! with the same owners, so that what is stored is enforced ([`Mode::Mirror`]).
//!
//! [`plan`] visits each location (the server level and each tool, matched by name) and picks a row of the table in [`Case`]. The other
//! files of this module contain the parts: `policy` the modes, `decide` the table, `owners` the ownership, `transfer` how it moves,
//! `last_applied` the annotation, `edit` the patch. Time and memory are linear in the tools and the owned fields.

mod decide;
mod edit;
pub mod last_applied;
mod rewrite;
mod transfer;

use std::collections::{BTreeMap, HashMap};

use json_patch::PatchOperation;
use serde_json::Value;

use self::{
    decide::{Evidence, Sides, Step, decide},
    rewrite::Rewrite,
};
use crate::model::{
    alias::{AliasPolicy, Because, Kept, Mode, OPT_OUT_ANNOTATION},
    path::FieldPath,
    schema::{GlobalKey, Location, Schema},
    subject::{Block, Kind, LevelOf, ScopeKey, Subject},
};

/// A request, as far as the rename uses it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kind of the object.
    pub kind: Kind,
    /// The versions that must know `global`: the object's own and, if it was converted, the one that the client sent.
    pub versions: &'a [&'a str],
    /// The object as it would be stored.
    pub object: &'a Value,
    /// The stored object; `None` on create.
    pub old: Option<&'a Value>,
    /// The requesting manager: `fieldManager` of the request's options.
    pub manager: Option<&'a str>,
    /// Whether an apply overrides other managers, if the options include that. API servers send webhooks update options for a patch, which
    /// do not: then an apply may take `global` from managers that merely updated it, as forced applies of GitOps tools do all the time, but
    /// not from one that applied it too.
    pub force: Option<bool>,
}

/// The row of the table that a location falls in; row 0, an object that is being deleted, is not considered. In words: A is `shared`, G is
/// `global`; A0 and G0 are those of the stored object; G is *asserted* when the request declares something about it that the stored object
/// does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Case {
    /// `shared` may not be renamed here; [`Kept`] gives the reason.
    NotRenamed,
    /// The manager that declared one name removed it, and the other is tollgate's copy: both are removed.
    GivenUp,
    /// G, no A, where both are kept: A := G.
    Completed,
    /// A, no G: G := A, over G0 where A is partial.
    Moved,
    /// A beside an unasserted G, no A0: G := A over G.
    Reapplied,
    /// The same, but an apply without force disagrees with another manager.
    ApplyConflict,
    /// A beside an unasserted G, A changed: G := A.
    Changed,
    /// A and G as stored, equal: A removed.
    Redundant,
    /// A and G as stored, different: an old conflict, left unchanged.
    OldConflict,
    /// A and an asserted G, equal: A removed.
    BothEqual,
    /// A as stored, G asserted: the user is migrating, A removed.
    MovingOver,
    /// A and an asserted G, different: the validating webhook rejects it.
    Conflict,
}

impl Case {
    /// The name in audit annotations and metrics: the row's number in the design's table.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotRenamed => "1",
            Self::GivenUp => "2a",
            Self::Completed => "2c",
            Self::Moved => "3",
            Self::Reapplied => "4a",
            Self::ApplyConflict => "4a-conflict",
            Self::Changed => "4b",
            Self::Redundant => "4c",
            Self::OldConflict => "4c-conflict",
            Self::BothEqual => "5a",
            Self::MovingOver => "5b",
            Self::Conflict => "5c",
        }
    }
}

/// What to do with an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AliasPlan {
    /// The patch, in order.
    pub edits: Vec<PatchOperation>,
    /// The outcome of each location; locations without `shared` and without changes are not listed.
    pub outcomes: Vec<Outcome>,
}

/// The outcome at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// `shared` is now `global`.
    Renamed(Because),
    /// `shared` and `global` are now equal.
    Mirrored(Because),
    /// `global` got its `shared`, or lost the null left by server-side apply: no manifest needs to change.
    Completed,
    /// The same, but this request removed `shared`.
    Restored(Because),
    /// The limit was removed, under the remaining name.
    Removed(ScopeKey),
    /// `shared` is still there.
    Kept(Kept),
}

/// The row and outcome of one location.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The block or tool entry.
    pub path: FieldPath,
    /// The row.
    pub case: Case,
    /// The outcome.
    pub fate: Fate,
}

impl AliasPlan {
    /// The reason for each remaining `shared`, by the path of its block or tool entry.
    pub fn kept(&self) -> BTreeMap<FieldPath, Kept> {
        let kept = self.outcomes.iter().filter_map(|outcome| match outcome.fate {
            Fate::Kept(why) => Some((outcome.path.clone(), why)),
            // The plan of an object that should have passed the mutating webhook already.
            Fate::Renamed(_) | Fate::Mirrored(_) => Some((outcome.path.clone(), Kept::NotAsked)),
            Fate::Completed | Fate::Restored(_) | Fate::Removed(_) => None,
        });
        kept.collect()
    }
}

/// Decides about every location of an object, and builds the patch.
pub fn plan(request: &Request<'_>, policy: AliasPolicy, schema: &Schema) -> AliasPlan {
    let evidence = Evidence::new(request);
    let mut rewrite = Rewrite::new(request, &evidence);
    let outcomes = walk(request, policy, schema, &evidence, |change| rewrite.add(&change));
    AliasPlan { edits: rewrite.into_edits(), outcomes }
}

/// Decides about every location of an object, as [`plan`] does, without building a patch.
pub fn judge(request: &Request<'_>, policy: AliasPolicy, schema: &Schema) -> AliasPlan {
    let outcomes = walk(request, policy, schema, &Evidence::new(request), |_| {});
    AliasPlan { edits: Vec::new(), outcomes }
}

fn walk<'a>(
    request: &Request<'a>,
    policy: AliasPolicy,
    schema: &Schema,
    evidence: &Evidence<'_>,
    mut write: impl FnMut(Change<'_, 'a>),
) -> Vec<Outcome> {
    let subject = Subject::new(request.kind, request.object);
    let mut outcomes = Vec::new();
    let (mode, because) = policy.for_object(request.object, request.old);
    for block in subject.blocks() {
        let old = request.old.and_then(|old| block.path.find(old));
        let old = old.map(|value| Block { value, ..block.clone() }.levels()).unwrap_or_default();
        let old: HashMap<_, _> = old.iter().map(|level| (level.tool, level)).collect();
        let keys = [false, true].map(|in_tool| global_key(request, schema, Location { place: block.place, in_tool }));
        for level in block.levels() {
            let global_key = if level.tool.is_some() { keys[1] } else { keys[0] };
            let here = Here { request, mode, because, global_key, evidence };
            outcomes.extend(here.outcome(&level, old.get(&level.tool).copied(), &mut write));
        }
    }
    outcomes
}

/// The worst result among the versions that the object passes through.
fn global_key(request: &Request<'_>, schema: &Schema, at: Location) -> GlobalKey {
    let answers: Vec<_> = request.versions.iter().map(|version| schema.global_key(request.kind, version, at)).collect();
    let any = |key: GlobalKey| answers.contains(&key).then_some(key);
    any(GlobalKey::Dropped).or_else(|| any(GlobalKey::Unread)).unwrap_or(GlobalKey::Kept)
}

/// What to write at one location.
struct Change<'c, 'a> {
    level: &'c LevelOf<'a>,
    old: Option<&'c LevelOf<'a>>,
    write: Write,
}

enum Write {
    /// Only `global` has the value.
    Rename(Value),
    /// Both names have the value.
    Mirror(Value),
    /// Both names are removed.
    Remove,
    /// `global` gets back the half that server-side apply removed.
    CompleteGlobal,
}

/// One location, with the facts that decide about it.
struct Here<'e, 'r, 'a> {
    request: &'e Request<'a>,
    mode: Mode,
    because: Because,
    global_key: GlobalKey,
    evidence: &'e Evidence<'r>,
}

impl<'a> Here<'_, '_, 'a> {
    fn outcome(&self, level: &LevelOf<'a>, old: Option<&LevelOf<'a>>, write: &mut impl FnMut(Change<'_, 'a>)) -> Option<Outcome> {
        let found = |case, fate| Some(Outcome { path: level.path.clone(), case, fate });
        let sides = Sides {
            shared: level.bucket(ScopeKey::Shared),
            global: level.bucket(ScopeKey::Global),
            old_shared: old.and_then(|old| old.bucket(ScopeKey::Shared)),
            old_global: old.and_then(|old| old.bucket(ScopeKey::Global)),
        };
        if let Some(why) = self.forbidden(&sides) {
            return sides.shared.and_then(|_| found(Case::NotRenamed, Fate::Kept(why)));
        }
        let (case, step) = decide(&sides, self.evidence, level, self.mode == Mode::Mirror)?;
        let mut change = |what| write(Change { level, old, write: what });
        let fate = match step {
            Step::Leave => {
                if matches!(case, Case::ApplyConflict | Case::OldConflict) {
                    change(Write::CompleteGlobal);
                }
                Fate::Kept(Kept::Disagrees)
            }
            Step::Remove => {
                change(Write::Remove);
                Fate::Removed(if sides.shared.is_some() { ScopeKey::Shared } else { ScopeKey::Global })
            }
            Step::Settle(value) if self.mode == Mode::Mirror => {
                change(Write::Mirror(value));
                let fate = self.mirrored(case, &sides, level);
                return found(if matches!(fate, Fate::Kept(_)) { Case::NotRenamed } else { case }, fate);
            }
            Step::Settle(value) => {
                change(Write::Rename(value));
                // A null left by server-side apply is removed silently: no manifest contains it.
                if sides.shared.is_some() { Fate::Renamed(self.because) } else { Fate::Completed }
            }
        };
        found(case, fate)
    }

    /// The outcome for a location that keeps both names.
    fn mirrored(&self, case: Case, sides: &Sides<'_>, level: &LevelOf<'_>) -> Fate {
        if case == Case::Completed {
            let is_dropped = sides.old_shared.is_some() && !self.evidence.declares_global(level);
            return if is_dropped { Fate::Restored(self.because) } else { Fate::Completed };
        }
        if !sides.agree() {
            return Fate::Mirrored(self.because);
        }
        let is_declared = self.evidence.annotation_says(level, ScopeKey::Shared);
        Fate::Kept(if is_declared { Kept::Mirrored(self.because) } else { Kept::Added })
    }

    /// Why nothing may be done here.
    fn forbidden(&self, sides: &Sides<'_>) -> Option<Kept> {
        let annotation = FieldPath::new(["metadata", "annotations", OPT_OUT_ANNOTATION]).find(self.request.object);
        if matches!(self.mode, Mode::Warn | Mode::Deny) {
            Some(Kept::Mode(self.mode))
        } else if annotation.and_then(Value::as_str) == Some("keep") {
            Some(Kept::OptedOut)
        } else if sides.shared.is_some_and(|shared| !shared.is_object()) {
            Some(Kept::NotAMap)
        } else {
            match self.global_key {
                GlobalKey::Kept => None,
                GlobalKey::Dropped => Some(Kept::CrdLacksGlobal),
                GlobalKey::Unread => Some(Kept::CrdUnread),
            }
        }
    }
}
