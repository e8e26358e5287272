//! Which Secret, in which cluster.

use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::{
    cli::values::{CONFIGURATIONS, SecretName},
    cluster::{Access, ClusterError},
};

/// Which Secret.
#[derive(Debug, clap::Args)]
pub(super) struct OnArgs {
    /// The Secret that --certs-secret of `tollgate serve` names
    #[arg(value_name = "[NAMESPACE/]NAME", default_value = "tollgate-system/tollgate-certs")]
    secret: SecretName,

    /// Name of the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration
    #[arg(long, value_name = "NAME", default_value = CONFIGURATIONS)]
    certs_configurations: String,

    /// Kubeconfig [default: as for kubectl: $KUBECONFIG, ~/.kube/config; then the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// What the commands work on.
pub(super) struct On {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) configurations: String,
}

impl On {
    pub(super) fn connect(args: OnArgs) -> anyhow::Result<Self> {
        let OnArgs { secret, certs_configurations: configurations, kubeconfig, context } = args;
        let mut found = Access { kubeconfig, context }.find()?;
        let namespace = secret.namespace_in(&found);
        found.config.default_retry = false;
        Ok(Self { client: found.client()?, namespace, secret: secret.name, configurations })
    }

    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn read(&self) -> anyhow::Result<Secret> {
        let read = self.secrets().get(&self.secret).await.map_err(ClusterError::from);
        read.with_context(|| format!("cannot read Secret {}/{}", self.namespace, self.secret))
    }
}
