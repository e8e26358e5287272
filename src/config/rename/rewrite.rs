//! Collects what a plan changes: values, managed fields, the last-applied annotation; and turns it into one patch.

use serde_json::{Map, Value};

use super::{
    Request,
    edit::{self, Edit},
    last_applied, owners,
};
use crate::config::{
    bucket::FIELDS,
    path::FieldPath,
    subject::{LevelOf, Scope},
};

/// The changes so far.
pub(super) struct Rewrite<'a> {
    request: &'a Request<'a>,
    values: Vec<Edit>,
    /// The managed fields, once something in them changes.
    owned: Option<owners::Table<'a>>,
    /// The locations that are called `global` from now on, for the annotation: place and tool.
    renamed: Vec<(usize, Option<String>)>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        Self { request, values: Vec::new(), owned: None, renamed: Vec::new() }
    }

    /// `shared` goes, `global` becomes `value`, and whoever owned the one owns the other.
    pub(super) fn rename(&mut self, place: usize, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>, value: &Value) {
        let (shared_at, global_at) = (level.path.key(Scope::Shared.key()), level.path.key(Scope::Global.key()));
        if let Some(shared) = level.bucket(Scope::Shared) {
            edit::guard(shared_at.pointer(), shared, &mut self.values);
            // A key whose value is null is there for a patch, though not for the API.
            if level.bucket(Scope::Global).is_some() {
                self.become_value(&global_at, level.bucket(Scope::Global), value);
                self.values.push(Edit::Remove { path: shared_at.pointer() });
            } else {
                self.values.push(Edit::Move { from: shared_at.pointer(), path: global_at.pointer() });
                self.become_value(&global_at, Some(shared), value);
            }
        }
        self.owned().rename(level, value, old.and_then(LevelOf::global));
        self.renamed.push((place, level.tool.map(str::to_owned)));
    }

    /// Both keys become `value`.
    pub(super) fn mirror(&mut self, level: &LevelOf<'_>, value: &Value) {
        for scope in [Scope::Shared, Scope::Global] {
            self.become_value(&level.path.key(scope.key()), level.bucket(scope), value);
        }
    }

    /// Of a `global` that server-side apply left half of, the other half comes back: what is refused is then the disagreement, by name, and
    /// not half a bucket, by the schema.
    pub(super) fn complete_global(&mut self, level: &LevelOf<'_>, old: Option<&LevelOf<'_>>) {
        let Some(Value::Object(global)) = level.bucket(Scope::Global) else { return };
        let Some(Value::Object(stored)) = old.and_then(|old| old.bucket(Scope::Global)) else { return };
        let at = level.path.key(Scope::Global.key());
        let missing = FIELDS.iter().filter(|field| !global.contains_key(**field)).filter_map(|field| stored.get_key_value(*field));
        self.values.extend(missing.map(|(field, value)| Edit::Add { path: at.key(field).pointer(), value: value.clone() }));
    }

    /// `global` goes, and the block with it when nothing else is in it.
    pub(super) fn remove_global(&mut self, level: &LevelOf<'_>) {
        let others = level.value.as_object().into_iter().flatten().any(|(key, value)| key != Scope::Global.key() && !value.is_null());
        let path = if level.tool.is_none() && !others { level.path.clone() } else { level.path.key(Scope::Global.key()) };
        self.values.push(Edit::Remove { path: path.pointer() });
    }

    fn become_value(&mut self, at: &FieldPath, before: Option<&Value>, after: &Value) {
        match (before, after) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => edit::between(at, before, after, &mut self.values),
            (Some(_), after) => self.values.push(Edit::Replace { path: at.pointer(), value: after.clone() }),
            (None, after) => self.values.push(Edit::Add { path: at.pointer(), value: after.clone() }),
        }
    }

    fn owned(&mut self) -> &mut owners::Table<'a> {
        let Self { owned, request, .. } = self;
        owned.get_or_insert_with(|| owners::Table::of(request.object, request.old, request.manager))
    }

    /// The patch.
    pub(super) fn into_edits(mut self) -> Vec<Edit> {
        let mut edits = std::mem::take(&mut self.values);
        if let Some(text) = last_applied::text(self.request.object)
            && let Some(renamed) = last_applied::rename(text, self.request.kind, &self.renamed)
        {
            // No guard: it would double the patch with the text, and a replace fails by itself where nothing is.
            edits.push(Edit::Replace { path: last_applied::path().pointer(), value: renamed.into() });
        }
        edits.extend(self.owned.map(owners::Table::into_edits).unwrap_or_default());
        edits
    }
}

/// A map, or the empty one.
pub(super) fn map_of(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}
