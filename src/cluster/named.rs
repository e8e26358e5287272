//! One object by its name, kept at hand. Rights on that name alone are enough.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use kube::{
    Api, Resource,
    runtime::watcher::{DefaultBackoff, watch_object},
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tracing::debug;

use super::watch::refused;

/// Until the next try, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is known of the object.
#[derive(Clone, Debug, Default)]
pub enum Sight<K> {
    /// Nothing yet.
    #[default]
    Waiting,
    /// It could not be read so far: why.
    Unread(String),
    /// It is not there.
    Absent,
    /// As last read. Stays when the cluster becomes unreachable.
    There(Arc<K>),
}

/// Follows an object until `tasks` ends.
pub fn follow<K>(api: Api<K>, name: &str, tasks: &mut JoinSet<()>) -> watch::Receiver<Sight<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (sight, receiver) = watch::channel(Sight::default());
    tasks.spawn(keep(api, name.to_owned(), sight));
    receiver
}

async fn keep<K>(api: Api<K>, name: String, sight: watch::Sender<Sight<K>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut pauses = DefaultBackoff::default();
    loop {
        let mut news = pin!(watch_object(api.clone(), &name));
        while let Some(found) = news.next().await {
            match found {
                Ok(found) => {
                    pauses = DefaultBackoff::default();
                    sight.send_replace(found.map_or(Sight::Absent, |object| Sight::There(Arc::new(object))));
                }
                Err(error) => {
                    let why = refused(error).to_string();
                    debug!(name, why, "cannot follow an object; listing it again");
                    sight.send_if_modified(|sight| {
                        let is_new = matches!(sight, Sight::Waiting) || matches!(sight, Sight::Unread(known) if *known != why);
                        if is_new {
                            *sight = Sight::Unread(why);
                        }
                        is_new
                    });
                    break;
                }
            }
        }
        sleep(pauses.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)).await;
    }
}
