//! The optional look into a cluster: which CRDs are installed, and which of the objects that ours refer to are there.
//!
//! Everything is kept at hand by background tasks; a review asks memory only. What cannot be read (no permission, no such kind, no
//! connection) is unknown, and unknown never denies.

mod openapi;
mod operator;
mod references;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};

use super::World;
use crate::config::{operator::Operator, schema::Schema};

/// Which cluster, and what of it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig; without, the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; without, its current one.
    pub context: Option<String>,
    /// The namespaces in which Secrets may be listed (names only), for TG106.
    pub secrets_in: Vec<String>,
    /// Whether ToolHive's operator is known to read `global`, so that it is not looked for.
    pub operator_reads_global: bool,
    /// How often the installed CRDs are compared with what is known of them.
    pub schema_poll: Duration,
}

/// Why there is no way into the cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The kubeconfig or the service account.
    #[error("{0}")]
    Config(String),
    /// The client that they describe.
    #[error("cannot make a Kubernetes client: {0}")]
    Client(#[from] kube::Error),
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
    let client = client(&access).await?;
    let mut tasks = JoinSet::new();
    let asks = told.is_none();
    let schema = Arc::new(ArcSwap::from_pointee(told.unwrap_or_else(Schema::unread)));
    let (answered, schema_answered) = watch::channel(!asks);
    if asks {
        tasks.spawn(openapi::follow(client.clone(), schema.clone(), answered, access.schema_poll));
    }
    let (operator, operator_asked) = if access.operator_reads_global {
        (watch::channel(Operator::ReadsGlobal).1, watch::channel(true).1)
    } else {
        operator::follow(&client, &mut tasks)
    };
    let (all_answered, answered_once) = watch::channel(false);
    tasks.spawn(wait_for([schema_answered, operator_asked], all_answered));
    let references = references::follow(&client, &access.secrets_in, &mut tasks);
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

/// The OpenAPI v3 documents of the group's versions. A version that is not served has none.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub async fn documents(client: &Client) -> Result<Vec<(&'static str, Value)>, kube::Error> {
    openapi::documents(client).await
}

async fn client(access: &Access) -> Result<Client, AccessError> {
    let mut config = match &access.kubeconfig {
        Some(path) => {
            let shown = |error| AccessError::Config(format!("cannot use {}: {error}", path.display()));
            let kubeconfig = Kubeconfig::read_from(path).map_err(shown)?;
            let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(shown)?
        }
        None => Config::incluster().map_err(|error| AccessError::Config(format!("cannot use the service account: {error}")))?,
    };
    // The tasks here repeat what fails by themselves, at their own pace.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
