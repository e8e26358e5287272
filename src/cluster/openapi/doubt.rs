//! Whether what an API server does not describe any more is gone.
//!
//! For seconds after its start an API server describes no CRD, or only some of them. So what was described before stays in use until the
//! CustomResourceDefinition confirms that it is not served, or, where that may not be read, until no answer has described it for a while.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    cluster::request::{get, items},
    model::{GROUP, schema::Described},
};

/// Several times what an API server was seen to take (5 s); one with many CRDs takes longer.
const CONFIRMED_AFTER: Duration = Duration::from_secs(30);

/// For one question about a CustomResourceDefinition.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is missing in the answers, and since when.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    since: BTreeMap<Described, Instant>,
    reported: Vec<Described>,
}

impl Doubt {
    /// Of what an answer lacks, what is believed to be gone.
    pub(super) async fn settle(&mut self, client: &Client, missing: &[Described]) -> Vec<Described> {
        self.since.retain(|described, _| missing.contains(described));
        let mut gone = Vec::new();
        for described in missing {
            let is_gone = match is_served(client, described).await {
                Some(is_served) => !is_served,
                None => self.has_lasted(described, Instant::now()),
            };
            gone.extend(is_gone.then(|| described.clone()));
        }
        gone
    }

    /// Forgets everything: the answers were interrupted.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether this is missing since the last answer, and not since an earlier one.
    pub(super) fn is_news(&mut self, missing: &[Described]) -> bool {
        let is_news = self.reported != missing;
        self.reported = missing.to_vec();
        is_news
    }

    fn has_lasted(&mut self, described: &Described, now: Instant) -> bool {
        let since = *self.since.entry(described.clone()).or_insert(now);
        now.duration_since(since) >= CONFIRMED_AFTER
    }
}

/// What the CustomResourceDefinition says; `None` where it cannot be read.
async fn is_served(client: &Client, (version, kind): &Described) -> Option<bool> {
    let name = format!("{}.{GROUP}", kind.plural());
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    match timeout(DEADLINE, get::<Value>(client, &path)).await.ok()? {
        Ok(definition) => Some(serves(&definition, version)),
        // Only an answer about the object, not one about a path that is not served yet.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            status.details.as_ref().filter(|details| details.name == name).map(|_| false)
        }
        Err(_) => None,
    }
}

fn serves(definition: &Value, version: &str) -> bool {
    let is_meant = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(version);
    items(definition, "/spec/versions").iter().find(is_meant).and_then(|entry| entry.get("served")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::subject::Kind;

    #[test]
    fn what_is_missing_for_a_while_without_a_break_is_gone() {
        let (mut doubt, start) = (Doubt::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let missing = ("v1beta1".to_owned(), Kind::McpServer);
        assert!(!doubt.has_lasted(&missing, start));
        assert!(!doubt.has_lasted(&missing, after(29)));
        doubt.clear();
        assert!(!doubt.has_lasted(&missing, after(40)), "an interruption begins anew");
        assert!(!doubt.has_lasted(&missing, after(69)));
        assert!(doubt.has_lasted(&missing, after(70)));
        let other = ("v1alpha1".to_owned(), Kind::McpServer);
        assert!(!doubt.has_lasted(&other, after(70)), "each for itself");
    }

    #[test]
    fn a_definition_serves_the_versions_that_say_so() {
        let definition = json!({"spec": {"versions": [{"name": "v1beta1", "served": true}, {"name": "v1alpha1", "served": false}]}});
        assert!(serves(&definition, "v1beta1"));
        assert!(!serves(&definition, "v1alpha1"));
        assert!(!serves(&definition, "v1"));
        assert!(!serves(&json!({}), "v1beta1"));
    }
}
