//! Collects the changes of a plan: values, managed fields, the last-applied annotation; and turns them into one patch.

use json_patch::PatchOperation;
use serde_json::Value;

use super::{
    Change, Request, Write,
    decide::Evidence,
    edit, last_applied,
    transfer::{Names, Table},
};
use crate::model::{
    bucket::{FIELDS, same_meaning},
    path::FieldPath,
    subject::{LevelOf, ScopeKey},
};

/// The changes so far.
pub(super) struct Rewrite<'e, 'a> {
    request: &'e Request<'a>,
    evidence: &'e Evidence<'a>,
    values: Vec<PatchOperation>,
    /// The managed fields, once something in them changes.
    owned: Option<Table<'e, 'a>>,
    /// The locations renamed to `global`, for the annotation: place and tool.
    renamed: Vec<(usize, Option<String>)>,
}

impl<'e, 'a> Rewrite<'e, 'a> {
    pub(super) fn new(request: &'e Request<'a>, evidence: &'e Evidence<'a>) -> Self {
        Self { request, evidence, values: Vec::new(), owned: None, renamed: Vec::new() }
    }

    pub(super) fn add(&mut self, change: &Change<'_, '_>) {
        let Change { level, old, write } = change;
        match write {
            Write::Rename(value) => self.rename(level, *old, value),
            Write::Mirror(value) => self.mirror(level, *old, value),
            Write::Remove => self.remove(level),
            Write::CompleteGlobal => self.complete_global(level, *old),
        }
    }

    /// Removes `shared`, sets `global` to `value`, and transfers ownership.
    fn rename(&mut self, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>, value: &Value) {
        let (shared_at, global_at) = (level.path.key(ScopeKey::Shared.key()), level.path.key(ScopeKey::Global.key()));
        if let Some(shared) = level.bucket(ScopeKey::Shared) {
            edit::guard(&shared_at, shared, &mut self.values);
            // A key with the value null exists for a patch, though not for the API.
            if level.bucket(ScopeKey::Global).is_some() {
                self.become_value(&global_at, level.bucket(ScopeKey::Global), value);
                self.values.push(edit::remove(&shared_at));
            } else {
                self.values.push(edit::relocate(&shared_at, &global_at));
                self.become_value(&global_at, Some(shared), value);
            }
        } else if level.value.get(ScopeKey::Shared.key()).is_some() {
            self.values.push(edit::remove(&shared_at));
        }
        self.owned().settle(level, value, old.and_then(LevelOf::global), Names::Global);
        self.renamed.push((level.place, level.tool.map(str::to_owned)));
    }

    /// Sets both keys to `value`, unless they mean it already, and shares ownership.
    fn mirror(&mut self, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>, value: &Value) {
        for scope in [ScopeKey::Shared, ScopeKey::Global] {
            let bucket = level.bucket(scope);
            if !bucket.is_some_and(|bucket| same_meaning(bucket, value)) {
                self.become_value(&level.path.key(scope.key()), bucket, value);
            }
        }
        self.owned().settle(level, value, old.and_then(LevelOf::global), Names::Both);
    }

    /// Restores the half of a `global` that server-side apply removed: the request is then rejected for the disagreement, by name, and not
    /// by the schema for half a bucket.
    fn complete_global(&mut self, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>) {
        let Some(Value::Object(global)) = level.bucket(ScopeKey::Global) else { return };
        let Some(Value::Object(stored)) = old.and_then(|old| old.bucket(ScopeKey::Global)) else { return };
        let at = level.path.key(ScopeKey::Global.key());
        let missing = FIELDS.iter().filter(|field| !global.contains_key(**field)).filter_map(|field| stored.get_key_value(*field));
        self.values.extend(missing.map(|(field, value)| edit::add(&at.key(field.clone()), value.clone())));
    }

    /// Removes both names, and the block with them if it would be empty.
    fn remove(&mut self, level: &LevelOf<'_>) {
        let names = [ScopeKey::Shared, ScopeKey::Global];
        let is_either = |key: &str| names.iter().any(|scope| scope.key() == key);
        let others = level.value.as_object().into_iter().flatten().any(|(key, value)| !is_either(key) && !value.is_null());
        if level.tool.is_none() && !others {
            self.values.push(edit::remove(&level.path));
        } else {
            let there = names.into_iter().filter(|scope| level.bucket(*scope).is_some());
            self.values.extend(there.map(|scope| edit::remove(&level.path.key(scope.key()))));
        }
        self.owned().remove(level);
    }

    fn become_value(&mut self, at: &FieldPath, before: Option<&Value>, after: &Value) {
        match (before, after) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => edit::between(at, before, after, &mut self.values),
            (Some(_), after) => self.values.push(edit::replace(at, after.clone())),
            (None, after) => self.values.push(edit::add(at, after.clone())),
        }
    }

    fn owned(&mut self) -> &mut Table<'e, 'a> {
        let (request, evidence): (&'e Request<'a>, &'e Evidence<'a>) = (self.request, self.evidence);
        self.owned
            .get_or_insert_with(|| Table::new(request.kind, request.object, evidence.owners(), evidence.owners_before(), request.manager))
    }

    /// The patch.
    pub(super) fn into_edits(mut self) -> Vec<PatchOperation> {
        let mut edits = std::mem::take(&mut self.values);
        if let Some(text) = last_applied::text(self.request.object)
            && let Some(renamed) = last_applied::rename(text, self.request.kind, &self.renamed)
        {
            // Not guarded: a guard would double the size of the patch, and a replace fails by itself without an annotation.
            edits.push(edit::replace(&last_applied::path(), renamed.into()));
        }
        edits.extend(self.owned.map(Table::into_edits).unwrap_or_default());
        edits
    }
}
