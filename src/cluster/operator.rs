//! Whether ToolHive's operator is at work: watched through the finalizers that it puts on its objects. Only metadata is read.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::watch::{Receiver, Sender, channel},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, info, warn};

use super::watch::{api, ours, refusal};
use crate::model::{
    VERSIONS,
    operator::{Operator, is_operators},
    subject::{Kind, RefKind},
};

/// The kinds on which the operator puts finalizers, and as they are in paths.
pub fn kinds() -> [(&'static str, &'static str); 3] {
    [
        (Kind::McpServer.name(), Kind::McpServer.plural()),
        (RefKind::OidcConfig.name(), RefKind::OidcConfig.plural()),
        (RefKind::ExternalAuthConfig.name(), RefKind::ExternalAuthConfig.plural()),
    ]
}

/// How long a kind that is not installed is left alone.
const ABSENT_KIND_POLL: Duration = Duration::from_secs(10);

/// What the objects of one kind show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Nothing yet: the first list is under way.
    Waiting,
    /// They cannot be listed.
    Hidden,
    /// None has a finalizer of the operator.
    None,
    /// Some have.
    Some,
}

/// The sights of all kinds, and what they come to.
#[derive(Debug)]
struct Sights {
    kinds: Mutex<[Sight; 3]>,
    operator: Sender<Operator>,
    asked: Sender<bool>,
}

impl Sights {
    fn set(&self, kind: usize, sight: Sight) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mine) = kinds.get_mut(kind) else { return };
        *mine = sight;
        let now = sum(&kinds);
        let is_first_answer = !*self.asked.borrow() && !kinds.contains(&Sight::Waiting);
        let was = self.operator.send_replace(now);
        if now != was || (is_first_answer && now == Operator::Unknown) {
            report(now);
        }
        if is_first_answer {
            self.asked.send_replace(true);
        }
    }
}

fn sum(kinds: &[Sight; 3]) -> Operator {
    let any = |sight| kinds.contains(&sight);
    if any(Sight::Some) {
        Operator::AtWork
    } else if any(Sight::Hidden) || any(Sight::Waiting) {
        Operator::Unknown
    } else {
        Operator::Absent
    }
}

fn report(operator: Operator) {
    match operator {
        Operator::AtWork => {
            info!("ToolHive's operator is at work and reads only shared: --shared-alias auto keeps shared and global equal")
        }
        Operator::Absent | Operator::ReadsGlobal => info!("no ToolHive operator is at work: --shared-alias auto renames shared to global"),
        Operator::Unknown => warn!(
            "cannot determine whether ToolHive's operator is at work, so --shared-alias auto keeps shared and global equal: grant list and \
             watch on mcpservers, mcpoidcconfigs and mcpexternalauthconfigs"
        ),
    }
}

/// Begins to watch. The second receiver is true once every kind was asked for.
pub fn follow(client: &Client, tasks: &mut JoinSet<()>) -> (Receiver<Operator>, Receiver<bool>) {
    let (operator, known) = channel(Operator::Unknown);
    let (asked, was_asked) = channel(false);
    let sights = Arc::new(Sights { kinds: Mutex::new([Sight::Waiting; 3]), operator, asked });
    for (at, (kind, plural)) in kinds().into_iter().enumerate() {
        let (client, sights) = (client.clone(), sights.clone());
        tasks.spawn(async move { keep_watching(client, kind, plural, move |sight| sights.set(at, sight)).await });
    }
    (known, was_asked)
}

/// How long a kind that was served has to be gone before it is taken for uninstalled: an API server that starts serves none for seconds.
const DOUBT: Duration = Duration::from_secs(30);

/// Watches a kind in the newest version that is served.
async fn keep_watching(client: Client, kind: &str, plural: &str, see: impl Fn(Sight)) {
    loop {
        let mut was_served = false;
        for version in VERSIONS {
            let api = api(client.clone(), None, &ours(version, kind, plural));
            was_served |= watch_version(api, plural, &see).await;
        }
        if was_served {
            sleep(DOUBT).await;
        } else {
            see(Sight::None);
            sleep(ABSENT_KIND_POLL).await;
        }
    }
}

/// Watches until the API server does not know the kind in this version; whether it did before.
async fn watch_version(api: Api<PartialObjectMeta<DynamicObject>>, plural: &str, see: &impl Fn(Sight)) -> bool {
    let mut managed = Managed::default();
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(sight) = managed.see(event) {
                    see(sight);
                }
            }
            Err(error) if refusal(&error) == Some(404) => break,
            Err(error) => {
                debug!(resource = plural, %error, "watch failed; trying again");
                // Without any answer, the CRDs cannot be read either, which is reported once.
                if !managed.is_complete && refusal(&error).is_some() {
                    see(Sight::Hidden);
                }
            }
        }
    }
    managed.is_complete
}

/// The objects of one kind that carry a finalizer of the operator.
#[derive(Debug, Default)]
struct Managed {
    objects: HashSet<(Option<String>, String)>,
    /// Of a list that is under way.
    listed: HashSet<(Option<String>, String)>,
    is_complete: bool,
}

impl Managed {
    /// What the kind shows after an event; none while a list is under way.
    fn see(&mut self, event: watcher::Event<PartialObjectMeta<DynamicObject>>) -> Option<Sight> {
        let name = |object: &PartialObjectMeta<DynamicObject>| (object.namespace(), object.name_any());
        let is_managed = |object: &PartialObjectMeta<DynamicObject>| object.finalizers().iter().any(|finalizer| is_operators(finalizer));
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(object) if is_managed(&object) => drop(self.listed.insert(name(&object))),
            watcher::Event::InitApply(_) => {}
            watcher::Event::InitDone => {
                self.objects = std::mem::take(&mut self.listed);
                self.is_complete = true;
            }
            watcher::Event::Apply(object) if is_managed(&object) => drop(self.objects.insert(name(&object))),
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => drop(self.objects.remove(&name(&object))),
        }
        self.is_complete.then_some(if self.objects.is_empty() { Sight::None } else { Sight::Some })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, finalizers: &[&str]) -> PartialObjectMeta<DynamicObject> {
        let object = serde_json::json!({"metadata": {"name": name, "finalizers": finalizers}});
        serde_json::from_value(object).expect("the metadata of an object")
    }

    const OURS: &[&str] = &["example.com/other", "mcpserver.toolhive.stacklok.dev/finalizer"];

    #[test]
    fn a_finalizer_shows_the_operator_until_the_last_object_with_it_goes() {
        let mut managed = Managed::default();
        assert_eq!(managed.see(watcher::Event::Init), None);
        assert_eq!(managed.see(watcher::Event::InitApply(object("a", &["example.com/other"]))), None);
        assert_eq!(managed.see(watcher::Event::InitDone), Some(Sight::None));
        assert_eq!(managed.see(watcher::Event::Apply(object("a", OURS))), Some(Sight::Some));
        // A list that begins anew keeps what was known until it is whole.
        assert_eq!(managed.see(watcher::Event::Init), Some(Sight::Some));
        assert_eq!(managed.see(watcher::Event::InitApply(object("b", OURS))), Some(Sight::Some));
        assert_eq!(managed.see(watcher::Event::InitDone), Some(Sight::Some));
        assert_eq!(managed.see(watcher::Event::Delete(object("b", OURS))), Some(Sight::None));
    }

    #[test]
    fn what_is_hidden_is_not_taken_for_absent() {
        use Sight::{Hidden, None, Some, Waiting};
        for (kinds, operator) in [
            ([Waiting, Waiting, Waiting], Operator::Unknown),
            ([None, None, Hidden], Operator::Unknown),
            ([Hidden, Some, Hidden], Operator::AtWork),
            ([None, None, None], Operator::Absent),
        ] {
            assert_eq!(sum(&kinds), operator, "{kinds:?}");
        }
    }
}
