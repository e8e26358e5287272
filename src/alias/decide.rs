//! The decision table: which row a location falls in, and its effect. See [`Case`].

use std::{borrow::Cow, cell::OnceCell};

use serde_json::{Map, Value};

use super::{
    Case, Request,
    last_applied::{self, Declared},
};
use crate::model::{
    bucket::{FIELDS, same_meaning},
    owners::{Held, Others, Owners},
    subject::{LevelOf, ScopeKey},
};

/// Both keys of a location, now and as stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides<'a> {
    pub(super) shared: Option<&'a Value>,
    pub(super) global: Option<&'a Value>,
    pub(super) old_shared: Option<&'a Value>,
    pub(super) old_global: Option<&'a Value>,
}

impl Sides<'_> {
    /// Whether both exist and mean the same.
    pub(super) fn agree(&self) -> bool {
        self.shared.zip(self.global).is_some_and(|(shared, global)| same_meaning(shared, global))
    }
}

/// The effect of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// The limit is this; the mode decides where it is written.
    Settle(Value),
    /// The limit is removed, under either name.
    Remove,
    /// Nothing: both keys stay.
    Leave,
}

/// Facts that depend on the whole request.
pub(super) struct Evidence<'a> {
    request: &'a Request<'a>,
    owners: OnceCell<Owners<'a>>,
    owners_before: OnceCell<Owners<'a>>,
    /// What kubectl's annotation declares now, and declared before; parsed on first use.
    declared: OnceCell<Declared>,
    declared_before: OnceCell<Declared>,
    /// Whether the annotation differs from the stored one, so that this request wrote it.
    is_fresh: bool,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let is_fresh = request.old.is_none_or(|old| last_applied::text(old) != last_applied::text(request.object));
        Self {
            request,
            owners: OnceCell::new(),
            owners_before: OnceCell::new(),
            declared: OnceCell::new(),
            declared_before: OnceCell::new(),
            is_fresh,
        }
    }

    /// The owners in the object as requested.
    pub(super) fn owners(&self) -> &Owners<'a> {
        self.owners.get_or_init(|| Owners::of(self.request.kind, self.request.object))
    }

    /// The owners of the stored object.
    pub(super) fn owners_before(&self) -> Option<&Owners<'a>> {
        let old = self.request.old?;
        Some(self.owners_before.get_or_init(|| Owners::of(self.request.kind, old)))
    }

    /// Whether kubectl's annotation declares a name at a location.
    pub(super) fn annotation_says(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        self.declared.get_or_init(|| Declared::by(self.request.kind, self.request.object)).says(level, scope)
    }

    fn annotation_said(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        let Some(old) = self.request.old else { return false };
        self.declared_before.get_or_init(|| Declared::by(self.request.kind, old)).says(level, scope)
    }

    /// Whether a client-side apply writes an annotation that declares neither name, while the stored one declares `scope`. kubectl also
    /// keeps the annotation when it applies server-side; then ownership decides.
    fn annotation_drops(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        let is_server_side = || {
            let manager = self.request.manager.unwrap_or_default();
            self.owners().entries().iter().any(|entry| entry.is_apply_of(manager))
        };
        self.is_fresh
            && last_applied::text(self.request.object).is_some()
            && self.annotation_said(level, scope)
            && !self.annotation_says(level, ScopeKey::Shared)
            && !self.annotation_says(level, ScopeKey::Global)
            && !is_server_side()
    }

    /// Whether the requester itself declares `global`: by what it applies, or by the annotation that it writes.
    pub(super) fn declares_global(&self, level: &LevelOf<'_>) -> bool {
        self.applies(level, ScopeKey::Global) || (self.is_fresh && self.annotation_says(level, ScopeKey::Global))
    }

    fn applies(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        self.request.manager.is_some_and(|manager| self.owners().apply_entry_holds(manager, level, scope))
    }

    fn applied(&self, level: &LevelOf<'_>, scope: ScopeKey) -> bool {
        self.request.manager.zip(self.owners_before()).is_some_and(|(manager, owners)| owners.apply_entry_holds(manager, level, scope))
    }

    /// Whether the manager that declared `shared` stopped declaring it without declaring `global` instead, and no other manager declares
    /// `global`.
    fn gave_up_shared(&self, sides: &Sides<'_>, level: &LevelOf<'_>) -> bool {
        let is_leftover = sides.old_shared.is_none_or(|shared| sides.global.is_some_and(|global| same_meaning(shared, global)));
        let held = || self.owners().held(level).iter();
        let by_client = || self.annotation_drops(level, ScopeKey::Shared) && !held().any(|held| self.declares_anew(held, level));
        let by_server = || {
            let applied = self.applied(level, ScopeKey::Shared) && !self.applies(level, ScopeKey::Shared);
            applied && !held().any(|held| held.owns(ScopeKey::Global))
        };
        self.request.old.is_some() && is_leftover && (by_client() || by_server())
    }

    /// Whether the manager that declared `global` stopped declaring it, and only the `shared` that mirrored it is left.
    fn gave_up_global(&self, shared: &Value, sides: &Sides<'_>, level: &LevelOf<'_>) -> bool {
        let was_mirrored = sides.old_global.is_some_and(|global| same_meaning(shared, global));
        sides.old_shared == Some(shared) && was_mirrored && self.annotation_drops(level, ScopeKey::Global)
    }

    /// Whether an entry owns `global` other than together with `shared`, as in `mirror`.
    fn declares_anew(&self, held: &Held<'_>, level: &LevelOf<'_>) -> bool {
        let Some(entry) = self.owners().entry(held).filter(|_| held.owns(ScopeKey::Global)) else { return false };
        let Some(before) = self.owners_before() else { return true };
        let is_same = |was: &&Held<'_>| before.entry(was).is_some_and(|was| was.identity() == entry.identity());
        let was = before.held(level).iter().find(is_same);
        !was.is_some_and(|was| was.owns(ScopeKey::Shared) && was.owns(ScopeKey::Global))
    }

    /// Whether the requester's own manifest declares both keys, so that the `global` beside `shared` is intended.
    fn declares_both(&self, level: &LevelOf<'_>) -> bool {
        let both = [ScopeKey::Shared, ScopeKey::Global];
        (self.is_fresh && both.iter().all(|scope| self.annotation_says(level, *scope)))
            || both.iter().all(|scope| self.applies(level, *scope))
    }

    /// Whether this is an apply, not known to be forced, whose `shared` disagrees with what another manager owns of `global`.
    fn conflicts_with_another_manager(&self, shared: &Value, global: &Value, level: &LevelOf<'_>) -> bool {
        let others = match self.request.force {
            Some(true) => return false,
            Some(false) => Others::Any,
            None => Others::Appliers,
        };
        let Some(manager) = self.request.manager else { return false };
        let disagree = |field: &&&str| shared.get(**field).is_some_and(|value| Some(value) != global.get(**field));
        self.applies(level, ScopeKey::Shared)
            && FIELDS.iter().filter(disagree).any(|field| self.owners().others_hold(manager, others, level, field))
    }
}

/// The row of a location; `None` if nothing needs to be done. `mirrors` is whether both names are kept.
pub(super) fn decide(sides: &Sides<'_>, evidence: &Evidence<'_>, level: &LevelOf<'_>, mirrors: bool) -> Option<(Case, Step)> {
    let asserted = is_asserted(sides.global, sides.old_global);
    let (shared, global) = match (sides.shared, sides.global) {
        (None, None) => return None,
        (None, Some(global)) => return without_shared(global, asserted, sides, evidence, level, mirrors),
        (Some(shared), None) => return Some(without_global(shared, sides, evidence, level)),
        (Some(shared), Some(global)) => (shared, global),
    };
    // If server-side apply left half of a name because another manager owns the other half, that is not a statement: use the stored value.
    let left_of_shared = !is_partial(global) && is_remnant(shared, sides.old_shared);
    let unchanged = sides.old_shared == Some(shared) || left_of_shared;
    let is_whole = asserted || same_meaning(shared, global);
    let whole = if is_whole { Cow::Borrowed(global) } else { Cow::Owned(completed(global, sides.old_global)) };
    let (shared, global) = (if left_of_shared { sides.old_shared.unwrap_or(shared) } else { shared }, whole.as_ref());
    let equal = same_meaning(shared, global) || (is_partial(shared) && overlay(global, shared) == *global);
    Some(match (asserted, sides.old_shared) {
        (false, None) if evidence.declares_both(level) && equal => (Case::BothEqual, Step::Settle(global.clone())),
        (false, None) if evidence.declares_both(level) => (Case::Conflict, Step::Leave),
        (false, None) if evidence.conflicts_with_another_manager(shared, global, level) => {
            // Two managers that mean the same with different spellings must not take it from each other forever.
            if equal { (Case::Reapplied, Step::Settle(global.clone())) } else { (Case::ApplyConflict, Step::Leave) }
        }
        (false, None) => (Case::Reapplied, Step::Settle(overlay(global, shared))),
        (false, Some(_)) if !unchanged => (Case::Changed, Step::Settle(shared.clone())),
        (false, Some(_)) if equal => (Case::Redundant, Step::Settle(global.clone())),
        (false, Some(_)) => (Case::OldConflict, Step::Leave),
        (true, _) if equal => (Case::BothEqual, Step::Settle(global.clone())),
        (true, _) if unchanged => (Case::MovingOver, Step::Settle(global.clone())),
        (true, _) => (Case::Conflict, Step::Leave),
    })
}

/// Rows 2a to 2c.
fn without_shared(
    global: &Value,
    asserted: bool,
    sides: &Sides<'_>,
    evidence: &Evidence<'_>,
    level: &LevelOf<'_>,
    mirrors: bool,
) -> Option<(Case, Step)> {
    if !asserted && evidence.gave_up_shared(sides, level) {
        return Some((Case::GivenUp, Step::Remove));
    }
    // Server-side apply leaves a null if another manager owns the map itself; the schema would reject it.
    let is_null = sides.old_shared.is_some() && level.value.get(ScopeKey::Shared.key()).is_some_and(Value::is_null);
    let case = if mirrors { Case::Completed } else { Case::MovingOver };
    (global.is_object() && (mirrors || is_null)).then(|| (case, Step::Settle(global.clone())))
}

/// Rows 2a and 3.
fn without_global(shared: &Value, sides: &Sides<'_>, evidence: &Evidence<'_>, level: &LevelOf<'_>) -> (Case, Step) {
    if evidence.gave_up_global(shared, sides, level) {
        return (Case::GivenUp, Step::Remove);
    }
    let value = match sides.old_global {
        Some(old_global) if is_partial(shared) => overlay(old_global, shared),
        _ => shared.clone(),
    };
    (Case::Moved, Step::Settle(value))
}

/// Whether a request actually declares something about `global`: server-side apply may leave half of a bucket behind, which does not count.
fn is_asserted(global: Option<&Value>, old_global: Option<&Value>) -> bool {
    match (global, old_global) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Value::Object(new)), Some(Value::Object(old))) => !new.iter().all(|(field, value)| old.get(field) == Some(value)),
        (Some(new), Some(old)) => new != old,
    }
}

/// Whether a bucket is a part of the stored one.
fn is_remnant(bucket: &Value, stored: Option<&Value>) -> bool {
    is_partial(bucket) && !is_asserted(Some(bucket), stored)
}

/// A bucket completed with the stored fields that it lacks.
fn completed(bucket: &Value, stored: Option<&Value>) -> Value {
    stored.map_or_else(|| bucket.clone(), |stored| overlay(stored, bucket))
}

fn is_partial(bucket: &Value) -> bool {
    FIELDS.iter().any(|field| bucket.get(field).is_none_or(Value::is_null))
}

/// `over` merged onto `under`, field by field.
fn overlay(under: &Value, over: &Value) -> Value {
    let (Value::Object(under), Value::Object(over)) = (under, over) else { return over.clone() };
    let mut merged: Map<String, Value> = under.clone();
    merged.extend(over.iter().map(|(field, value)| (field.clone(), value.clone())));
    Value::Object(merged)
}
