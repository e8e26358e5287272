//! The installed webhook, examined: is it asked, does it answer, and may it do what it should?
//!
//! | file | what is looked at |
//! |---|---|
//! | `hooks` | the webhook configurations: are they there |
//! | `settings` | do they say what the manifests say |
//! | `certificates` | caBundle against the certificate that is served |
//! | `authority` | the same where the replicas issue the certificate themselves |
//! | `workload` | Service, endpoints, images |
//! | `reach` | two dry-run creates: one that must be refused, one that must be renamed |
//! | `schema` | the installed CRDs |
//! | `operator` | ToolHive's operator: is it at work, and would it read what is stored |
//! | `redis` | Redis, where its URL is given |
//! | [`report`] | what was found, and what to do about it |
//!
//! Nothing is changed anywhere. What may not be read is reported, and does not count as healthy.

mod authority;
mod certificates;
mod hooks;
mod operator;
mod reach;
mod redis;
pub mod report;
mod schema;
mod settings;
mod workload;

pub use self::report::Report;
use self::{
    hooks::Installed,
    operator::{Probe, Seen},
    report::Notes,
};
use crate::{
    cluster::{Access, Cluster, ClusterError},
    stores::redis::{RedisSettings, RedisStoreError},
};

/// Why nothing could be examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoctorError {
    /// Neither a cluster was found nor a Redis named.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The settings of Redis.
    #[error(transparent)]
    Redis(#[from] RedisStoreError),
}

/// Examines what is installed in a cluster, with dry-run creates in `namespace`, and Redis where one is named.
///
/// # Errors
/// Without a cluster and a Redis, or when the settings of Redis cannot be used. Everything else is a note of the report.
pub async fn examine(access: &Access, namespace: &str, redis: Option<&RedisSettings>) -> Result<Report, DoctorError> {
    let mut notes = Notes::default();
    match (Cluster::connect(access), redis) {
        (Ok(cluster), _) => look_at_cluster(&cluster, namespace, &mut notes).await,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(_)) => notes.unknown("cluster", error.to_string(), error.advice(String::new())),
    }
    if let Some(redis) = redis {
        redis::look(redis, &mut notes).await?;
    }
    Ok(Report::new(notes))
}

async fn look_at_cluster(cluster: &Cluster, namespace: &str, notes: &mut Notes) {
    // Every look would fail in the same way.
    if let Err(trouble @ (ClusterError::Unauthorized(_) | ClusterError::Unreachable(_))) = cluster.get("/version").await {
        return notes.unknown("cluster", format!("the API server at {}: {trouble}", cluster.url), trouble.advice(String::new()));
    }
    let installed = Installed::read(cluster, notes).await;
    for hook in &installed.hooks {
        settings::look(hook, notes);
    }
    let workloads = workload::look(cluster, &installed, notes).await;
    for hook in &installed.hooks {
        certificates::look(cluster, hook, &workloads, notes).await;
    }
    let operator = Seen::of(cluster).await;
    let version = schema::look(cluster, operator.is_at_work(), notes).await;
    if let Some(version) = version {
        let probe = (!installed.hooks.is_empty()).then_some(Probe { namespace, version });
        operator.look(cluster, probe, &workloads, notes).await;
    }
    if !installed.hooks.is_empty() {
        reach::look(cluster, namespace, version, notes).await;
    }
}
