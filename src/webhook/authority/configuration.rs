//! One webhook configuration: which CAs its callers trust, by which names they call, and the patch of its `caBundle`.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    certs::authority::{Kept, Lives, Root, bundle},
    cluster::{
        named::Sight,
        request::{items, text},
    },
};

/// Both kinds, and as they are in paths.
pub(super) const KINDS: [(&str, &str); 2] = [
    ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
];

/// A configuration as it was last read.
pub(super) struct Configuration {
    sight: Sight<DynamicObject>,
    hooks: Vec<Hook>,
}

/// A webhook of it.
struct Hook {
    name: String,
    roots: Vec<Root>,
    /// By which callers verify the certificate.
    called: Option<String>,
}

impl Configuration {
    pub(super) fn read(sight: Sight<DynamicObject>) -> Self {
        let hooks = match &sight {
            Sight::There(object) => items(&object.data, "/webhooks").iter().map(Hook::read).collect(),
            _ => Vec::new(),
        };
        Self { sight, hooks }
    }

    /// The CAs that callers trust, by whichever of the webhooks they call. `None` while it was not read, `Some(None)` where it is not there.
    pub(super) fn found(&self) -> Option<Option<Vec<Root>>> {
        match &self.sight {
            Sight::Waiting | Sight::Unread(_) => None,
            Sight::Absent => Some(None),
            Sight::There(_) => {
                let (first, others) = self.hooks.split_first().map_or((&[][..], &[][..]), |(first, others)| (&first.roots, others));
                let everywhere = first.iter().filter(|root| others.iter().all(|hook| hook.roots.contains(root)));
                Some(Some(everywhere.cloned().collect()))
            }
        }
    }

    /// The names by which it is called.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.hooks.iter().filter_map(|hook| hook.called.clone())
    }

    /// What to apply, where a `caBundle` is not as it should be. Only `caBundle` is in it, and nothing if the configuration has changed since.
    pub(super) fn patch(&self, kind: &str, kept: &Kept, in_use: Option<&Root>, lives: &Lives, now: OffsetDateTime) -> Option<Value> {
        let Sight::There(object) = &self.sight else { return None };
        let targets: Vec<_> = self.hooks.iter().map(|hook| kept.target(&hook.roots, in_use, lives, now)).collect();
        // An empty one would be refused, and leaving it out would take away what is there.
        let is_due =
            self.hooks.iter().zip(&targets).any(|(hook, target)| hook.roots != *target) && targets.iter().all(|target| !target.is_empty());
        let webhooks = self
            .hooks
            .iter()
            .zip(&targets)
            .map(|(hook, target)| json!({"name": hook.name, "clientConfig": {"caBundle": STANDARD.encode(bundle::pem(target))}}));
        is_due.then(|| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": object.metadata.name, "resourceVersion": object.metadata.resource_version},
                "webhooks": webhooks.collect::<Vec<_>>(),
            })
        })
    }

    /// Why nothing is known of it.
    pub(super) fn trouble(&self, kind: &str, name: &str) -> Option<String> {
        match &self.sight {
            Sight::Waiting => Some(format!("reading {kind} {name}")),
            Sight::Unread(why) => Some(format!("cannot read {kind} {name}: {why}")),
            Sight::Absent => Some(format!("{kind} {name} is not there")),
            Sight::There(_) => None,
        }
    }
}

impl Hook {
    fn read(entry: &Value) -> Self {
        let bundle = STANDARD.decode(text(entry, "/clientConfig/caBundle")).unwrap_or_default();
        Self { name: text(entry, "/name").to_owned(), roots: bundle::read(&bundle), called: called(entry) }
    }
}

/// The name that a caller wants to find in the certificate.
fn called(entry: &Value) -> Option<String> {
    if let Some(service) = entry.pointer("/clientConfig/service") {
        return Some(format!("{}.{}.svc", text(service, "/name"), text(service, "/namespace")));
    }
    let url: http::Uri = text(entry, "/clientConfig/url").parse().ok()?;
    Some(url.host()?.trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::Duration;

    use super::*;
    use crate::certs::authority::Ca;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const LIVES: Lives = Lives { ca: Duration::DAY, leaf: Duration::HOUR, soak: Duration::MINUTE };

    fn ca() -> Ca {
        Ca::create(LIVES.ca, NOW).expect("a CA")
    }

    fn configuration(webhooks: Value) -> Configuration {
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": KINDS[1].0,
            "metadata": {"name": "tollgate", "resourceVersion": "7"}, "webhooks": webhooks,
        });
        Configuration::read(Sight::There(Arc::new(serde_json::from_value(object).expect("an object"))))
    }

    fn encoded(roots: &[&Root]) -> String {
        STANDARD.encode(roots.iter().map(|root| root.pem()).collect::<String>())
    }

    #[test]
    fn every_webhook_gets_what_it_lacks_and_nothing_else_is_applied() {
        let (current, other) = (ca(), ca());
        let hooks = json!([
            {"name": "a", "clientConfig": {"url": "https://[::1]:8443/validate", "caBundle": encoded(&[other.root(), current.root()])}},
            {"name": "b", "clientConfig": {"service": {"name": "tollgate", "namespace": "here"}}, "failurePolicy": "Fail"},
        ]);
        let read = configuration(hooks);
        assert_eq!(read.names().collect::<Vec<_>>(), ["::1", "tollgate.here.svc"]);
        assert_eq!(read.found(), Some(Some(Vec::new())), "callers of the second trust none");
        let kept = Kept { current: Some(current.clone()), ..Kept::default() };
        let patch = read.patch(KINDS[1].0, &kept, None, &LIVES, NOW).expect("the second lacks it");
        let expected = json!([
            {"name": "a", "clientConfig": {"caBundle": encoded(&[other.root(), current.root()])}},
            {"name": "b", "clientConfig": {"caBundle": encoded(&[current.root()])}},
        ]);
        assert_eq!(patch["webhooks"], expected);
        assert_eq!(patch["metadata"], json!({"name": "tollgate", "resourceVersion": "7"}));
        let read = configuration(expected);
        assert_eq!(read.found(), Some(Some(vec![current.root().clone()])));
        assert_eq!(read.patch(KINDS[1].0, &kept, None, &LIVES, NOW), None);
    }

    #[test]
    fn without_a_ca_nothing_is_applied() {
        let read = configuration(json!([{"name": "a", "clientConfig": {"url": "https://localhost/validate"}}]));
        assert_eq!(read.patch(KINDS[1].0, &Kept::default(), None, &LIVES, NOW), None);
        let expired =
            configuration(json!([{"name": "a", "clientConfig": {"url": "https://localhost", "caBundle": encoded(&[ca().root()])}}]));
        assert_eq!(expired.patch(KINDS[1].0, &Kept::default(), None, &LIVES, NOW + Duration::days(3)), None);
    }
}
