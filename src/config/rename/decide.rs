//! The table: which row a location falls in, and what that row does. See [`Case`].

use std::cell::OnceCell;

use serde_json::{Map, Value};

use super::{
    Case, Request,
    last_applied::{self, Declared},
    owners::{self, Others},
};
use crate::config::{
    bucket::{FIELDS, same_meaning},
    subject::{LevelOf, Scope},
};

/// Both keys of a location, now and as stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides<'a> {
    pub(super) shared: Option<&'a Value>,
    pub(super) global: Option<&'a Value>,
    pub(super) old_shared: Option<&'a Value>,
    pub(super) old_global: Option<&'a Value>,
}

/// What a row does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// The limit is this; where it is written depends on the mode.
    Settle(Value),
    /// The limit is gone.
    RemoveGlobal,
    /// Nothing: both keys stay.
    Leave,
}

/// A location, by place and level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    /// Index into the kind's places.
    pub(super) place: usize,
    pub(super) level: &'a LevelOf<'a>,
}

/// What only the whole request can tell.
pub(super) struct Evidence<'a> {
    request: &'a Request<'a>,
    /// What kubectl's annotation declares now, and declared before; read when first asked for.
    declared: OnceCell<Declared>,
    declared_before: OnceCell<Declared>,
    /// Whether the annotation differs from the stored one, so that this very request wrote it.
    is_fresh: bool,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let is_fresh = request.old.is_none_or(|old| last_applied::text(old) != last_applied::text(request.object));
        Self { request, declared: OnceCell::new(), declared_before: OnceCell::new(), is_fresh }
    }

    /// Whether whoever declared `shared` gave it up and did not declare `global` instead, and nobody else declares `global`.
    fn gave_up_shared(&self, sides: &Sides<'_>, spot: Spot<'_>) -> bool {
        let Some(old) = self.request.old else { return false };
        let is_leftover = sides.old_shared.is_none_or(|shared| sides.global.is_some_and(|global| same_meaning(shared, global)));
        if !is_leftover || owners::anyone_holds(self.request.object, spot.level, Scope::Global) {
            return false;
        }
        if self.is_fresh && last_applied::text(self.request.object).is_some() {
            let was = self.declared_before.get_or_init(|| Declared::by(self.request.kind, old));
            let is = self.declared.get_or_init(|| Declared::by(self.request.kind, self.request.object));
            let says = |declared: &Declared, scope| declared.says(spot.place, spot.level.tool, scope);
            if says(was, Scope::Shared) && !says(is, Scope::Shared) && !says(is, Scope::Global) {
                return true;
            }
        }
        let Some(manager) = self.request.manager else { return false };
        let holds = |object, scope| owners::apply_entry_holds(object, manager, spot.level, scope);
        holds(old, Scope::Shared) && !holds(self.request.object, Scope::Shared)
    }

    /// Whether the requester's own manifest says both keys, so that the `global` beside `shared` is no leftover.
    fn declares_both(&self, spot: Spot<'_>) -> bool {
        let both = [Scope::Shared, Scope::Global];
        let by_annotation = self.is_fresh && {
            let is = self.declared.get_or_init(|| Declared::by(self.request.kind, self.request.object));
            both.iter().all(|scope| is.says(spot.place, spot.level.tool, *scope))
        };
        by_annotation
            || self
                .request
                .manager
                .is_some_and(|manager| both.iter().all(|scope| owners::apply_entry_holds(self.request.object, manager, spot.level, *scope)))
    }

    /// Whether this is an apply, not known to be forced, whose `shared` disagrees with what another manager owns of `global`.
    fn conflicts_with_another_manager(&self, shared: &Value, global: &Value, spot: Spot<'_>) -> bool {
        let others = match self.request.force {
            Some(true) => return false,
            Some(false) => Others::Any,
            None => Others::Appliers,
        };
        let Some(manager) = self.request.manager else { return false };
        let disagree = |field: &&&str| shared.get(**field).is_some_and(|value| Some(value) != global.get(**field));
        owners::apply_entry_holds(self.request.object, manager, spot.level, Scope::Shared)
            && FIELDS.iter().filter(disagree).any(|field| owners::others_hold(self.request.object, manager, others, spot.level, field))
    }
}

/// The row of a location; `None` where there is nothing to say.
pub(super) fn decide(sides: &Sides<'_>, evidence: &Evidence<'_>, spot: Spot<'_>) -> Option<(Case, Step)> {
    let asserted = is_asserted(sides.global, sides.old_global);
    let Some(shared) = sides.shared else {
        let given_up = sides.global.is_some() && !asserted && evidence.gave_up_shared(sides, spot);
        return given_up.then_some((Case::GivenUp, Step::RemoveGlobal));
    };
    let Some(global) = sides.global else {
        let value = match sides.old_global {
            Some(old_global) if is_partial(shared) => overlay(old_global, shared),
            _ => shared.clone(),
        };
        return Some((Case::Moved, Step::Settle(value)));
    };
    let unchanged = sides.old_shared == Some(shared);
    let equal = same_meaning(shared, global) || (is_partial(shared) && overlay(global, shared) == *global);
    Some(match (asserted, sides.old_shared) {
        (false, None) if evidence.declares_both(spot) && equal => (Case::BothEqual, Step::Settle(global.clone())),
        (false, None) if evidence.declares_both(spot) => (Case::Conflict, Step::Leave),
        (false, None) if evidence.conflicts_with_another_manager(shared, &completed(global, sides.old_global), spot) => {
            // Two managers that mean the same in other words do not take it from each other for ever.
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

/// Whether a request really says something about `global`: server-side apply may leave half of a bucket behind, which says nothing.
fn is_asserted(global: Option<&Value>, old_global: Option<&Value>) -> bool {
    match (global, old_global) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Value::Object(new)), Some(Value::Object(old))) => !new.iter().all(|(field, value)| old.get(field) == Some(value)),
        (Some(new), Some(old)) => new != old,
    }
}

/// A bucket with what the stored one has and it lacks.
fn completed(bucket: &Value, stored: Option<&Value>) -> Value {
    stored.map_or_else(|| bucket.clone(), |stored| overlay(stored, bucket))
}

fn is_partial(bucket: &Value) -> bool {
    FIELDS.iter().any(|field| bucket.get(field).is_none_or(Value::is_null))
}

/// `over` laid on `under`, field by field.
fn overlay(under: &Value, over: &Value) -> Value {
    let (Value::Object(under), Value::Object(over)) = (under, over) else { return over.clone() };
    let mut merged: Map<String, Value> = under.clone();
    merged.extend(over.iter().map(|(field, value)| (field.clone(), value.clone())));
    Value::Object(merged)
}
