//! What is exported of the verdicts: as many as there are objects at the time of a scrape.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{api::DynamicObject, runtime::reflector::Store};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::condition::Validity;
use crate::{model::subject::Kind, report::Finding};

/// Verdicts, by object.
#[derive(Debug)]
pub(super) struct Counts {
    verdicts: Mutex<HashMap<Key, Counted>>,
    registry: Registry,
    objects: Family<ObjectLabels, Gauge>,
    findings: Family<FindingLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
}

/// Kind, namespace, name.
type Key = (Kind, String, String);

#[derive(Debug)]
struct Counted {
    reason: &'static str,
    is_valid: bool,
    /// Ids and severities.
    found: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    namespace: String,
    status: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    kind: &'static str,
    namespace: String,
    rule: &'static str,
    severity: &'static str,
}

/// The outcome of a write: done, not ours to change, overtaken, without its object, refused or lost.
const RESULTS: [&str; 5] = ["written", "foreign", "outdated", "gone", "failed"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    result: &'static str,
}

impl Counts {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let (objects, findings) = (Family::default(), Family::default());
        let writes: Family<WriteLabels, Counter> = Family::default();
        let audit = registry.sub_registry_with_prefix("audit");
        audit.register("objects", "Objects, by what the condition RateLimitConfigValid says or would say", Family::clone(&objects));
        audit.register("findings", "What is found in the objects that are there", Family::clone(&findings));
        audit.register("condition_writes", "Conditions written, or not", Family::clone(&writes));
        // From zero, so that the first one is an increase.
        for result in RESULTS {
            writes.get_or_create_owned(&WriteLabels { result });
        }
        Self { verdicts: Mutex::default(), registry, objects, findings, writes }
    }

    pub(super) fn judged(&self, kind: Kind, object: &DynamicObject, verdict: &Validity, findings: &[Finding]) {
        let found = findings.iter().map(|found| (found.id, found.severity.name())).collect();
        let counted = Counted { reason: verdict.reason, is_valid: verdict.is_valid, found };
        self.verdicts().insert(key(kind, object), counted);
    }

    pub(super) fn wrote(&self, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { result }).inc();
    }

    /// As OpenMetrics text; what is not in the stores any more is forgotten.
    pub(super) fn encode(&self, stores: &[(Kind, Store<DynamicObject>)]) -> Result<String, std::fmt::Error> {
        let mut verdicts = self.verdicts();
        let mut there: HashMap<Key, Counted> = HashMap::with_capacity(verdicts.len());
        for (kind, store) in stores {
            there.extend(store.state().iter().filter_map(|object| verdicts.remove_entry(&key(*kind, object))));
        }
        *verdicts = there;
        self.objects.clear();
        self.findings.clear();
        for ((kind, namespace, _), counted) in verdicts.iter() {
            let (kind, status) = (kind.name(), if counted.is_valid { "True" } else { "False" });
            let labels = ObjectLabels { kind, namespace: namespace.clone(), status, reason: counted.reason };
            self.objects.get_or_create(&labels).inc();
            for &(rule, severity) in &counted.found {
                self.findings.get_or_create(&FindingLabels { kind, namespace: namespace.clone(), rule, severity }).inc();
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A scrape that panicked leaves nothing half done that the next would not do again.
    fn verdicts(&self) -> MutexGuard<'_, HashMap<Key, Counted>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: Kind, object: &DynamicObject) -> Key {
    (kind, object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default())
}
