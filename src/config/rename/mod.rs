//! `shared` becomes `global`, so that any sequence of requests ends as if every manifest had said `global` from the start.
//!
//! Renaming the value alone does not do it: the client's next request then carries both keys, and dropping `shared` from the manifest
//! leaves the limit behind for ever. So the ownership moves with the value, in the same patch: `f:shared` to `f:global` in
//! `metadata.managedFields`, and the key inside kubectl's last-applied annotation. After that the client itself removes or updates
//! `global`, an unchanged re-apply changes nothing, and other managers conflict as they would have.
//!
//! [`plan`] looks at each location (the server level and each tool, matched by name) and picks a row of the table in [`Case`]; the
//! files beside this one hold the parts: `decide` the table, `owners` managed fields, `last_applied` the annotation, [`edit`] the patch.

mod decide;
pub mod edit;
pub mod last_applied;
pub mod owners;
mod rewrite;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use serde_json::Value;

use self::{
    decide::{Evidence, Sides, Spot, Step, decide},
    edit::Edit,
    rewrite::Rewrite,
};
use super::{
    bucket::same_meaning,
    path::FieldPath,
    schema::{GlobalKey, Location, Schema},
    subject::{Block, Kind, LevelOf, Scope, Subject},
};

/// What is done about `shared`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `shared` becomes `global`.
    #[default]
    Rename,
    /// Both are kept, equal: the only mode in which Argo CD's default diff stays clean.
    Mirror,
    /// Nothing but a warning.
    Warn,
    /// Objects that say `shared` are refused.
    Deny,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Rename, Self::Mirror, Self::Warn, Self::Deny];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Mirror => "mirror",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|mode| mode.name() == text);
        known.ok_or_else(|| format!("there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The annotation that keeps an object's `shared` as it is, with the value `keep`.
pub const OPT_OUT_ANNOTATION: &str = "tollgate.dev/shared-alias";

/// One request, as far as the rename looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kind of the object.
    pub kind: Kind,
    /// The versions that have to know `global`: the object's own and, where it was converted, the one that the client sent.
    pub versions: &'a [&'a str],
    /// The object as it would be stored.
    pub object: &'a Value,
    /// The object as it is stored; none when it is being created.
    pub old: Option<&'a Value>,
    /// Who asks: `fieldManager` of the request's options.
    pub manager: Option<&'a str>,
    /// Whether an apply overrides other managers, where the options say so. API servers tell webhooks of a patch with update options,
    /// which do not: then an apply may take `global` from managers that merely updated it, as forced applies of GitOps tools do all day,
    /// and not from one that applied it too.
    pub force: Option<bool>,
}

/// The row of the table that a location falls in; row 0, an object on its way out, has no locations. In words: A is `shared`, G is `global`; A0 and G0 are those of the stored object; G is
/// *asserted* when the request says something about it that the stored object does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// `shared` may not be renamed here; [`Kept`] says why.
    NotRenamed,
    /// Who declared `shared` gave it up, and `global` is what the rename left of it: G removed.
    GivenUp,
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
    /// A and G as stored, different: an old conflict, left alone.
    OldConflict,
    /// A and an asserted G, equal: A removed.
    BothEqual,
    /// A as stored, G asserted: the user is moving over, A removed.
    MovingOver,
    /// A and an asserted G, different: for the validating webhook to refuse.
    Conflict,
}

impl Case {
    /// As in audit annotations and metrics: the row's number in the design's table.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotRenamed => "1",
            Self::GivenUp => "2a",
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

/// Why a `shared` is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The installed CRD would drop `global`.
    CrdLacksGlobal,
    /// The installed CRD could not be read.
    CrdUnread,
    /// The object carries [`OPT_OUT_ANNOTATION`].
    OptedOut,
    /// The mode renames nothing.
    Mode(Mode),
    /// `shared` and `global` disagree.
    Disagrees,
    /// It is no bucket.
    NotAMap,
    /// It could have been renamed; the mutating webhook was not asked, or failed.
    NotAsked,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrdLacksGlobal => f.write_str("not renamed: the installed CRD lacks global"),
            Self::CrdUnread => f.write_str("not renamed: the installed CRD is not read yet"),
            Self::OptedOut => write!(f, "not renamed: {OPT_OUT_ANNOTATION} is keep"),
            Self::Mode(Mode::Mirror) => f.write_str("kept equal to global"),
            Self::Mode(mode) => write!(f, "not renamed: --shared-alias is {}", mode.name()),
            Self::Disagrees => f.write_str("not renamed: global says otherwise"),
            Self::NotAMap => f.write_str("not renamed: it is not a map"),
            Self::NotAsked => f.write_str("not renamed: the mutating webhook did not run"),
        }
    }
}

/// What to do about one object.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The patch, in order.
    pub edits: Vec<Edit>,
    /// What was found, location by location; locations without `shared` and without news are not listed.
    pub outcomes: Vec<Outcome>,
}

/// What was found at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// `shared` is now `global`.
    Renamed,
    /// `shared` and `global` are now equal.
    Mirrored,
    /// `global` was removed.
    Removed,
    /// `shared` is still there.
    Kept(Kept),
}

/// One location's row and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The block or tool entry.
    pub path: FieldPath,
    /// The row.
    pub case: Case,
    /// What came of it.
    pub fate: Fate,
}

impl Plan {
    /// Why each `shared` that stays does so, by the path of its block or tool entry.
    pub fn kept(&self) -> BTreeMap<FieldPath, Kept> {
        let kept = self.outcomes.iter().filter_map(|outcome| match outcome.fate {
            Fate::Kept(why) => Some((outcome.path.clone(), why)),
            // The plan of an object that should have been through the mutating webhook already.
            Fate::Renamed | Fate::Mirrored => Some((outcome.path.clone(), Kept::NotAsked)),
            Fate::Removed => None,
        });
        kept.collect()
    }
}

/// Decides about every location of an object.
pub fn plan(request: &Request<'_>, mode: Mode, schema: &Schema) -> Plan {
    let subject = Subject::new(request.kind, request.object);
    let blocks = subject.blocks();
    if blocks.is_empty() && request.old.is_none() {
        return Plan::default();
    }
    if is_only_leaving(request) {
        return Plan::default();
    }
    let evidence = Evidence::new(request);
    let mut rewrite = Rewrite::new(request);
    let mut outcomes = Vec::new();
    for (place, keys) in request.kind.places().iter().enumerate() {
        let path = FieldPath::new(keys.iter().copied());
        let Some(block) = blocks.iter().find(|block| block.path == path) else { continue };
        let old = request.old.and_then(|old| path.find(old));
        let old = old.map(|value| Block { path: path.clone(), value }.levels()).unwrap_or_default();
        let old: HashMap<_, _> = old.iter().map(|level| (level.tool, level)).collect();
        let keys = [false, true].map(|in_tool| global_key(request, schema, Location { place, in_tool }));
        for level in block.levels() {
            let global_key = if level.tool.is_some() { keys[1] } else { keys[0] };
            let here = Here { request, mode, global_key, evidence: &evidence, place };
            outcomes.extend(here.outcome(&level, old.get(&level.tool).copied(), &mut rewrite));
        }
    }
    Plan { edits: rewrite.into_edits(), outcomes }
}

/// An object that waits for its finalizers, in a request that does not touch its spec.
fn is_only_leaving(request: &Request<'_>) -> bool {
    let leaving = FieldPath::new(["metadata", "deletionTimestamp"]).find(request.object).is_some();
    leaving && request.old.is_some_and(|old| old.get("spec") == request.object.get("spec"))
}

/// The worst answer of the versions that the object passes through.
fn global_key(request: &Request<'_>, schema: &Schema, at: Location) -> GlobalKey {
    let answers: Vec<_> = request.versions.iter().map(|version| schema.global_key(request.kind, version, at)).collect();
    let any = |key: GlobalKey| answers.contains(&key).then_some(key);
    any(GlobalKey::Dropped).or_else(|| any(GlobalKey::Unread)).unwrap_or(GlobalKey::Kept)
}

/// One location, with what decides about it.
struct Here<'a> {
    request: &'a Request<'a>,
    mode: Mode,
    global_key: GlobalKey,
    evidence: &'a Evidence<'a>,
    place: usize,
}

impl Here<'_> {
    fn outcome(&self, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>, rewrite: &mut Rewrite<'_>) -> Option<Outcome> {
        let told = |case, fate| Some(Outcome { path: level.path.clone(), case, fate });
        let sides = Sides {
            shared: level.bucket(Scope::Shared),
            global: level.bucket(Scope::Global),
            old_shared: old.and_then(|old| old.bucket(Scope::Shared)),
            old_global: old.and_then(|old| old.bucket(Scope::Global)),
        };
        if let Some(why) = self.forbidden(&sides) {
            return sides.shared.and_then(|_| told(Case::NotRenamed, Fate::Kept(why)));
        }
        let (case, step) = decide(&sides, self.evidence, Spot { place: self.place, level })?;
        match step {
            Step::Leave => {
                if case == Case::ApplyConflict {
                    rewrite.complete_global(level, old);
                }
                told(case, Fate::Kept(Kept::Disagrees))
            }
            Step::RemoveGlobal => {
                rewrite.remove_global(level);
                told(case, Fate::Removed)
            }
            Step::Settle(value) if self.mode == Mode::Mirror => {
                let both_equal = [sides.shared, sides.global].iter().all(|side| side.is_some_and(|side| same_meaning(side, &value)));
                if both_equal {
                    return told(Case::NotRenamed, Fate::Kept(Kept::Mode(Mode::Mirror)));
                }
                rewrite.mirror(level, &value);
                told(case, Fate::Mirrored)
            }
            Step::Settle(value) => {
                rewrite.rename(self.place, level, old, &value);
                told(case, Fate::Renamed)
            }
        }
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
