//! What reviews know of the world: which CRDs are installed, whether ToolHive's operator is running, and which of the objects that ours
//! refer to are there.
//!
//! Everything is kept at hand by background tasks; a review asks memory only. What cannot be read (no permission, no such kind, no
//! connection) is unknown, and unknown never denies.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    cluster::{
        ClusterError,
        client::{Found, PATIENCE},
        openapi::SchemaFollower,
        operator, references,
    },
    model::{operator::Operator, schema::Schema},
    rules::References,
};

/// What reviews know of the world; replaced as a whole when it changes.
#[derive(Clone, Debug)]
pub struct World {
    /// What the installed CRDs know.
    pub schema: Arc<ArcSwap<Schema>>,
    /// Whether the cluster has answered yet what its CRDs and its operator are; true without a cluster, or once the wait
    /// for it is over.
    pub schema_answered: watch::Receiver<bool>,
    /// What is known of ToolHive's operator.
    pub operator: watch::Receiver<Operator>,
    /// Where referenced objects are looked up.
    pub references: Option<Arc<dyn References + Send + Sync>>,
}

impl World {
    /// A world without a cluster.
    pub fn assumed(schema: Schema, operator: Operator) -> Self {
        let (_, schema_answered) = watch::channel(true);
        let (_, operator) = watch::channel(operator);
        Self { schema: Arc::new(ArcSwap::from_pointee(schema)), schema_answered, operator, references: None }
    }
}

/// Which cluster, and what of it.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The cluster.
    pub cluster: Found,
    /// The namespaces in which Secrets may be listed (names only), for TG106. Warnings reveal which exist to anyone who may send reviews.
    pub secrets_in: Vec<String>,
    /// Whether ToolHive's operator is known to read `global`, so that it is not looked for.
    pub operator_reads_global: bool,
    /// How often the installed CRDs are compared with what is known of them.
    pub schema_poll: Duration,
}

/// The tasks that follow a cluster; they end when this is dropped.
#[derive(Debug)]
pub struct Following(#[expect(dead_code, reason = "held for its drop, which ends the tasks")] JoinSet<()>);

/// Begins to follow a cluster. Asks nothing yet: an unreachable cluster is not an error but waited for.
///
/// # Errors
/// When the configuration cannot be used.
pub async fn follow(settings: ClusterSettings, assumed: Option<Schema>) -> Result<(World, Following), ClusterError> {
    let ClusterSettings { cluster, secrets_in, operator_reads_global, schema_poll } = settings;
    let unnamed = cluster.is_implicit().then(|| cluster.origin.to_string());
    let client = cluster.client_in_time().await?;
    let mut tasks = JoinSet::new();
    let asks = assumed.is_none();
    let schema = Arc::new(ArcSwap::from_pointee(assumed.unwrap_or_else(Schema::unread)));
    let (answered, schema_answered) = watch::channel(!asks);
    let (operator, operator_asked) = if operator_reads_global {
        (watch::channel(Operator::ReadsGlobal).1, watch::channel(true).1)
    } else {
        operator::follow(&client, &mut tasks)
    };
    let (all_answered, answered_once) = watch::channel(false);
    if unnamed.is_some() {
        tasks.spawn(stop_waiting(all_answered.clone()));
    }
    tasks.spawn(wait_for([schema_answered, operator_asked], all_answered));
    if asks {
        let follower = SchemaFollower { client: client.clone(), schema: schema.clone(), answered, every: schema_poll, unnamed };
        tasks.spawn(follower.follow());
    }
    let references = references::follow(&client, &secrets_in, &mut tasks);
    Ok((World { schema, schema_answered: answered_once, operator, references: Some(Arc::new(references)) }, Following(tasks)))
}

/// Says so when each of these was true once.
async fn wait_for(answers: [watch::Receiver<bool>; 2], all: watch::Sender<bool>) {
    for mut answer in answers {
        if answer.wait_for(|answered| *answered).await.is_err() && !*answer.borrow() {
            return;
        }
    }
    all.send_replace(true);
    // The receivers ask for the last value only as long as there is a sender.
    all.closed().await;
}

/// A cluster that the user did not name may be an old one: readiness waits for its answer for a while, and then without.
async fn stop_waiting(answered: watch::Sender<bool>) {
    sleep(PATIENCE).await;
    answered.send_replace(true);
}
