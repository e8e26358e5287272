//! The optional look into a cluster: which CRDs are installed, and which of the objects that ours refer to are there.
//!
//! Everything is kept at hand by background tasks; a review asks memory only. What cannot be read (no permission, no such kind, no
//! connection) is unknown, and unknown never denies.

pub mod connect;
mod doubt;
mod openapi;
mod operator;
mod proxies;
mod references;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kube::Client;
use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

pub use self::connect::AccessError;
use self::{connect::Found, openapi::Follower};
use super::World;
use crate::model::{operator::Operator, schema::Schema};

/// How long a cluster that the user did not name may hold up the start.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which cluster, and what of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// The cluster.
    pub cluster: Found,
    /// The namespaces in which Secrets may be listed (names only), for TG106. Warnings show which exist to everybody who may send reviews.
    pub secrets_in: Vec<String>,
    /// Whether ToolHive's operator is known to read `global`, so that it is not looked for.
    pub operator_reads_global: bool,
    /// How often the installed CRDs are compared with what is known of them.
    pub schema_poll: Duration,
}

/// Whether this process runs in a pod with a service account.
pub fn is_in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The tasks that follow a cluster; they end when this is dropped.
#[derive(Debug)]
pub struct Following(#[expect(dead_code, reason = "held for its drop, which ends the tasks")] JoinSet<()>);

/// Begins to follow a cluster. Asks nothing yet: a cluster that is away is no error, it is waited for.
///
/// # Errors
/// When the configuration cannot be used.
pub async fn follow(access: Access, told: Option<Schema>) -> Result<(World, Following), AccessError> {
    let Access { cluster, secrets_in, operator_reads_global, schema_poll } = access;
    let unnamed = cluster.is_implicit().then(|| cluster.origin.to_string());
    let client = client(cluster).await?;
    let mut tasks = JoinSet::new();
    let asks = told.is_none();
    let schema = Arc::new(ArcSwap::from_pointee(told.unwrap_or_else(Schema::unread)));
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
        let follower = Follower { client: client.clone(), schema: schema.clone(), answered, every: schema_poll, unnamed };
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

/// The OpenAPI v3 documents of the group's versions. A version that is not served has none.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub async fn documents(client: &Client) -> Result<Vec<(&'static str, Value)>, kube::Error> {
    openapi::documents(client).await
}

async fn client(mut cluster: Found) -> Result<Client, AccessError> {
    // The tasks here repeat what fails by themselves, at their own pace.
    cluster.config.default_retry = false;
    if !cluster.is_implicit() {
        return cluster.client();
    }
    // A credential plugin may wait for somebody to sign in. On a thread of its own, since the runtime waits for its own at the end.
    let origin = cluster.origin.clone();
    let (tell, told) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let _in_runtime = runtime.enter();
        let _ = tell.send(cluster.client());
    });
    let late = |error| AccessError::Client { origin, error };
    match timeout(PATIENCE, told).await {
        Ok(Ok(client)) => client,
        Ok(Err(_)) => Err(late("the credential plugin failed".to_owned())),
        Err(_) => Err(late(format!("the credential plugin has not finished within {PATIENCE:?}"))),
    }
}
