//! What `serve` knows of a cluster: the one that it follows, or what it assumes without one.

use std::{fmt, time::Duration};

use tracing::warn;

use super::args::CrdGlobal;
use crate::{
    cluster::{Access, ClusterError},
    model::{operator::Operator, schema::Schema},
    webhook::world::{ClusterSettings, Following, World, follow},
};

/// Which cluster, if any.
#[derive(Debug)]
pub(super) enum Surroundings {
    /// It is followed.
    Cluster(Box<ClusterSettings>),
    /// No cluster was found, and why.
    None(String),
    /// A kubeconfig that the user did not name cannot be used: why. There is a cluster, and nothing is known of it.
    Unusable(String),
}

/// As typed.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) access: Access,
    pub(super) no_cluster: bool,
    pub(super) secrets_in: Vec<String>,
    pub(super) operator_reads_global: bool,
    pub(super) schema_poll: Duration,
}

impl Surroundings {
    /// Looks for a cluster; asks it nothing yet.
    pub(super) fn look(typed: Typed) -> Result<Self, ClusterError> {
        let Typed { access, no_cluster, secrets_in, operator_reads_global, schema_poll } = typed;
        if no_cluster {
            return Ok(Self::None("--no-cluster".to_owned()));
        }
        match access.find() {
            Ok(cluster) => Ok(Self::Cluster(Box::new(ClusterSettings { cluster, secrets_in, operator_reads_global, schema_poll }))),
            Err(ClusterError::NoCluster(why)) if access.context.is_none() => Ok(Self::None(why)),
            Err(error) if error.is_of_implicit() => Ok(Self::Unusable(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What the CRDs know, where that is not asked of the cluster.
    fn assumed(&self, crd_global: CrdGlobal) -> Option<Schema> {
        match (crd_global, self) {
            (CrdGlobal::Yes, _) | (CrdGlobal::Auto, Self::None(_)) => Some(Schema::assuming(true)),
            (CrdGlobal::No, _) => Some(Schema::assuming(false)),
            (CrdGlobal::Auto, Self::Unusable(_)) => Some(Schema::unread()),
            (CrdGlobal::Auto, Self::Cluster(_)) => None,
        }
    }

    /// The same for the first log line.
    pub(super) fn assumption(&self, crd_global: CrdGlobal) -> &'static str {
        match (crd_global, self) {
            (CrdGlobal::Yes, _) => "yes",
            (CrdGlobal::No, _) => "no",
            (CrdGlobal::Auto, Self::Cluster(_)) => "auto",
            (CrdGlobal::Auto, Self::None(_)) => "yes (assumed: no cluster)",
            (CrdGlobal::Auto, Self::Unusable(_)) => "unknown",
        }
    }

    /// What is known of ToolHive's operator where no cluster is followed.
    fn operator(&self, reads_global: bool) -> Operator {
        match self {
            _ if reads_global => Operator::ReadsGlobal,
            Self::None(_) => Operator::Absent,
            Self::Cluster(_) | Self::Unusable(_) => Operator::Unknown,
        }
    }

    /// Begins to follow the cluster, if there is one. `asks_clients` where clients have to show a certificate.
    pub(super) async fn enter(
        mut self,
        crd_global: CrdGlobal,
        operator_reads_global: bool,
        asks_clients: bool,
    ) -> Result<(World, Option<Following>), ClusterError> {
        let assumed = self.assumed(crd_global);
        let operator = self.operator(operator_reads_global);
        self.forget_secrets_unless(asks_clients);
        let unusable = match self {
            Self::Cluster(settings) => match follow(*settings, assumed.clone()).await {
                Ok((world, following)) => return Ok((world, Some(following))),
                Err(error) if error.is_of_implicit() => Some(error.to_string()),
                Err(error) => return Err(error),
            },
            Self::None(_) => None,
            Self::Unusable(error) => Some(error),
        };
        if let Some(error) = unusable {
            warn!(error, "the cluster cannot be used: shared is not renamed unless --crd-global is yes; --no-cluster starts without one");
        }
        Ok((World::assumed(assumed.unwrap_or_else(Schema::unread), operator), None))
    }

    /// A warning that a Secret is missing reveals that to any client, so only the API server may be able to ask.
    fn forget_secrets_unless(&mut self, asks_clients: bool) {
        if let Self::Cluster(settings) = self
            && !asks_clients
            && !settings.secrets_in.is_empty()
        {
            settings.secrets_in.clear();
            warn!("--secrets-in is ignored without --client-ca: anyone who reaches the port could find out which Secrets exist");
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(settings) => write!(f, "{} ({})", settings.cluster.config.cluster_url, settings.cluster.origin),
            Self::None(why) => write!(f, "none ({why})"),
            Self::Unusable(_) => f.write_str("unknown"),
        }
    }
}
