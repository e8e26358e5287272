//! An audit under way: each object as it was judged, and the totals of its namespace.

use crate::{
    cli::{findings::Reporter, ignores::Ignores, inputs::Input},
    model::subject::Subject,
    report::{Finding, Object},
};

/// An audit, and its report so far.
pub(super) struct Audit<'w> {
    pub(super) reporter: Reporter<'w>,
    pub(super) ignores: Ignores,
}

impl Audit<'_> {
    /// Reports what was found in one object, and counts it for its namespace.
    pub(super) fn judged(&mut self, source: &str, input: &Input, object: &Object, subject: Subject<'_>, mut findings: Vec<Finding>) {
        self.ignores.apply(input, object, &mut findings);
        let findings = self.reporter.object(source, Some(object), findings);
        self.reporter.summary.judged += 1;
        let namespace = object.namespace.clone().unwrap_or_else(|| NO_NAMESPACE.to_owned());
        self.reporter.summary.namespaces.entry(namespace).or_default().count(!subject.blocks().is_empty(), &findings);
    }
}

const NO_NAMESPACE: &str = "(none)";
