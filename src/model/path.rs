//! Field paths in an object: `spec.rateLimiting.tools[2].perUser`.

use std::{borrow::Cow, fmt};

use serde_json::Value;

/// A path from the root of an object to one of its fields.
///
/// ```
/// use tollgate::model::path::FieldPath;
///
/// let path = FieldPath::new(["spec", "rateLimiting", "tools"]).index(2).key("perUser");
/// assert_eq!(path.to_string(), "spec.rateLimiting.tools[2].perUser");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

/// One step down: into a map by key, or into a list by position (from 0).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A key of a map. The names of our own fields need no memory of their own.
    Key(Cow<'static, str>),
    /// A position in a list.
    Index(usize),
}

impl FieldPath {
    /// A path made of keys only.
    pub fn new(keys: impl IntoIterator<Item: Into<Cow<'static, str>>>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.into())).collect())
    }

    /// This path, extended by a key.
    #[must_use]
    pub fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// This path, extended by a list position.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The field at this path, if the object has it; `null` counts as absent, as in the Kubernetes API.
    pub fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let found = self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.get(key.as_ref()),
            Step::Index(index) => value.get(index),
        })?;
        (!found.is_null()).then_some(found)
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl FromIterator<Step> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !plain(key) => write!(f, "[{key:?}]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_keys_are_quoted() {
        let path = FieldPath::new(["metadata", "annotations", "a.b/c~d"]);
        assert_eq!(path.to_string(), r#"metadata.annotations["a.b/c~d"]"#);
    }

    #[test]
    fn null_is_absent() {
        let object = json!({"spec": {"a": null, "b": [1]}});
        assert_eq!(FieldPath::new(["spec", "a"]).find(&object), None);
        assert_eq!(FieldPath::new(["spec", "b"]).index(0).find(&object), Some(&json!(1)));
        assert_eq!(FieldPath::new(["spec", "b"]).index(1).find(&object), None);
    }

    #[test]
    fn indexes_sort_as_numbers() {
        let tools = FieldPath::new(["tools"]);
        assert!(tools.index(2) < tools.index(10));
    }
}
