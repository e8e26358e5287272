//! A CRD's own rules, written in CEL. Without the feature `cel` none is judged, and fields that the schema lacks are all that is found.

#[cfg(feature = "cel")]
pub(super) use with_cel::{Judge, Rules};
#[cfg(not(feature = "cel"))]
pub(super) use without_cel::{Judge, Rules};

#[cfg(feature = "cel")]
mod with_cel {
    use kube_cel::{CompiledSchema, ErrorKind, RootContext, ValidationError, Validator, compile_schema};
    use serde_json::Value;

    use crate::{
        model::{
            GROUP,
            path::{FieldPath, Step},
            problem::Problem,
            subject::Kind,
        },
        report::{Finding, Severity},
    };

    /// The rules of one version's schema.
    #[derive(Debug)]
    pub(in super::super) struct Rules(CompiledSchema);

    impl Rules {
        pub(in super::super) fn of(schema: &Value) -> Self {
            Self(compile_schema(schema))
        }
    }

    /// What evaluates rules.
    #[derive(Debug)]
    pub(in super::super) struct Judge(Validator);

    impl Default for Judge {
        fn default() -> Self {
            Self(Validator::new())
        }
    }

    impl Judge {
        /// Every rule that the object breaks.
        pub(in super::super) fn broken(&self, rules: &Rules, kind: Kind, version: &str, object: &Value) -> Vec<Finding> {
            let context =
                RootContext { api_version: format!("{GROUP}/{version}"), api_group: GROUP.to_owned(), kind: kind.name().to_owned() };
            let broken = self.0.validate_compiled_with_context(&rules.0, object, None, Some(&context)).err();
            broken.map(kube_cel::ValidationErrors::into_vec).unwrap_or_default().iter().map(refused).collect()
        }
    }

    fn refused(error: &ValidationError) -> Finding {
        let path = parsed(&error.field_path);
        match error.kind {
            ErrorKind::ValidationFailure => Finding::new("crd-rule", error.message.clone()).on(path),
            // The API server may know better.
            _ => {
                let problem = Problem::new(format!("the CRD's rule {:?} cannot be judged here", error.rule)).advice(error.message.clone());
                Finding { severity: Severity::Unreadable, ..Finding::new("crd-rule", problem).on(path) }
            }
        }
    }

    /// A path as `spec.tools[1].name`.
    fn parsed(path: &str) -> FieldPath {
        let steps = path.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
            let (key, indexes) = part.split_once('[').unwrap_or((part, ""));
            let indexes = indexes.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok().map(Step::Index));
            let key = (!key.is_empty()).then(|| Step::Key(key.to_owned().into()));
            key.into_iter().chain(indexes).collect::<Vec<_>>()
        });
        steps.collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn paths_have_keys_and_positions() {
            for path in ["spec.rateLimiting.tools[2].global", "spec", "a[0][1].b"] {
                assert_eq!(parsed(path).to_string(), path);
            }
            assert_eq!(parsed(""), FieldPath::default());
        }
    }
}

#[cfg(not(feature = "cel"))]
mod without_cel {
    use serde_json::Value;

    use crate::{model::subject::Kind, report::Finding};

    #[derive(Debug)]
    pub(in super::super) struct Rules;

    impl Rules {
        pub(in super::super) fn of(_: &Value) -> Self {
            Self
        }
    }

    #[derive(Debug, Default)]
    pub(in super::super) struct Judge;

    impl Judge {
        pub(in super::super) fn broken(&self, _: &Rules, _: Kind, _: &str, _: &Value) -> Vec<Finding> {
            Vec::new()
        }
    }
}
