//! Follows the installed CRDs through the API server's OpenAPI v3 documents, which any authenticated client may read.
//!
//! The index names each document with a hash of its content, so that an unchanged CRD costs one small request.

mod doubt;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use self::doubt::Doubt;
use super::{ClusterError, client::PATIENCE, error::cause, request::get};
use crate::model::{GROUP, VERSIONS, schema::Schema};

/// For one look; the API server builds the document of a new CRD when it is first asked.
const DEADLINE: Duration = Duration::from_secs(10);

/// Between looks at a document that the API server still builds.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Index {
    paths: BTreeMap<String, Document>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Document {
    #[serde(rename = "serverRelativeURL")]
    url: String,
}

type Documents = BTreeMap<&'static str, Document>;

/// Keeps a schema as the cluster has it. While the API server is unavailable, the last known schema stays in use.
pub struct SchemaFollower {
    /// Of the cluster.
    pub client: Client,
    /// What is kept.
    pub schema: Arc<ArcSwap<Schema>>,
    /// Becomes true with the first answer.
    pub answered: watch::Sender<bool>,
    /// How often it is compared with the cluster.
    pub every: Duration,
    /// Where a cluster comes from that the user did not name, so that it may be an old one: an answer is not waited for as long.
    pub unnamed: Option<String>,
}

impl fmt::Debug for SchemaFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaFollower").field("every", &self.every).finish_non_exhaustive()
    }
}

impl SchemaFollower {
    /// Follows forever.
    pub async fn follow(self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What is known to the last detail; nothing while anything is in doubt.
        let mut known: Option<Documents> = None;
        let mut doubt = Doubt::default();
        let mut failing = false;
        let mut is_first = self.unnamed.is_some();
        loop {
            ticks.tick().await;
            let look = timeout(if is_first { PATIENCE } else { DEADLINE }, look(&self.client, known.as_ref())).await;
            let look = look.map_err(|_| "no answer in time".to_owned()).and_then(|look| look.map_err(|error| cause(&error)));
            match look {
                Ok(None) => {}
                Ok(Some((documents, new))) => known = self.take(documents, new, &mut doubt).await,
                Err(error) => {
                    doubt.clear();
                    if !std::mem::replace(&mut failing, true) {
                        self.warn(&error, std::mem::take(&mut is_first));
                    }
                    continue;
                }
            }
            if std::mem::take(&mut failing) {
                info!("the installed CRDs can be read again");
            }
            is_first = false;
            self.answered.send_replace(true);
        }
    }

    fn warn(&self, error: &str, is_first: bool) {
        match &self.unnamed {
            Some(from) if is_first => warn!(
                from,
                error,
                "cannot ask the cluster for its CRDs: shared is not renamed until that works; --no-cluster starts without one, --kubeconfig selects another"
            ),
            _ => warn!(error, "cannot read the installed CRDs; what was last known stays in use"),
        }
    }

    /// Takes what was read, but for what is missing in it and not known to be gone; the documents, where nothing is in doubt.
    async fn take(&self, documents: Documents, new: Schema, doubt: &mut Doubt) -> Option<Documents> {
        let current = self.schema.load_full();
        let mut missing = current.missing_in(&new);
        let gone = doubt.settle(&self.client, &missing).await;
        missing.retain(|described| !gone.contains(described));
        match (missing.is_empty(), doubt.is_news(&missing)) {
            (true, _) => info!(versions = ?documents.keys(), "read the installed CRDs"),
            (false, true) => {
                let missing = missing.iter().map(|(version, kind)| format!("{} {version}", kind.name())).collect::<Vec<_>>().join(", ");
                warn!(
                    missing,
                    "the API server no longer describes CRDs, as happens for seconds after it starts; what was last known stays in use until their removal is confirmed"
                );
            }
            (false, false) => {}
        }
        self.schema.store(Arc::new(new.with(&current, &missing)));
        missing.is_empty().then_some(documents)
    }
}

/// The OpenAPI v3 documents of the group's versions. A version that is not served has none. While the API server still builds the document of
/// a new CRD, its answer may be empty; it is asked again for up to 10 s.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub async fn documents(client: &Client) -> Result<Vec<(&'static str, Value)>, ClusterError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match all(client).await {
            Err(kube::Error::SerdeError(_)) if Instant::now() < deadline => sleep(BETWEEN_LOOKS).await,
            read => return Ok(read?),
        }
    }
}

async fn all(client: &Client) -> Result<Vec<(&'static str, Value)>, kube::Error> {
    let index: Index = get(client, "/openapi/v3").await?;
    read(client, &index.of_group()).await
}

async fn read(client: &Client, named: &Documents) -> Result<Vec<(&'static str, Value)>, kube::Error> {
    let mut documents = Vec::new();
    for (version, document) in named {
        documents.push((*version, get(client, &document.url).await?));
    }
    Ok(documents)
}

impl Index {
    /// The documents of the versions that tollgate knows, as far as they are served.
    fn of_group(&self) -> Documents {
        let named = VERSIONS.iter().filter_map(|version| Some((*version, self.paths.get(&format!("apis/{GROUP}/{version}"))?.clone())));
        named.collect()
    }
}

/// What is installed, unless it is what was known.
async fn look(client: &Client, known: Option<&Documents>) -> Result<Option<(Documents, Schema)>, kube::Error> {
    let index: Index = get(client, "/openapi/v3").await?;
    let named = index.of_group();
    if known == Some(&named) {
        return Ok(None);
    }
    let documents = read(client, &named).await?;
    let schema = Schema::installed(documents.iter().map(|(version, document)| (*version, document)));
    Ok(Some((named, schema)))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// An API server whose document is empty for so many requests.
    fn empty_for(requests: usize) -> Client {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move |request: Request<Body>| {
            let body = match request.uri().path() {
                "/openapi/v3" => format!(r#"{{"paths": {{"apis/{GROUP}/v1beta1": {{"serverRelativeURL": "/document"}}}}}}"#),
                _ if asked.fetch_add(1, Ordering::Relaxed) < requests => String::new(),
                _ => "{}".to_owned(),
            };
            async { Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes()))) }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_is_still_built_is_read_again_for_a_while() {
        let read = documents(&empty_for(3)).await.expect("the fourth is whole");
        assert_eq!(read, [("v1beta1", serde_json::json!({}))]);
        let error = documents(&empty_for(usize::MAX)).await.expect_err("never whole");
        assert!(error.to_string().contains("EOF while parsing"), "{error}");
    }
}
