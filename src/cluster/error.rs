//! Why a cluster does not answer.

use thiserror::Error;

use super::origin::Origin;

/// Why a cluster cannot be reached, or its API server does not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Nothing names a cluster.
    #[error("no cluster is configured: {0}; name a --kubeconfig")]
    NoCluster(String),
    /// What names one cannot be used.
    #[error("cannot use {origin}: {error}")]
    Config {
        /// What names it.
        origin: Origin,
        /// What is wrong.
        error: String,
    },
    /// It describes no client that works.
    #[error("cannot make a Kubernetes client of {origin}: {error}")]
    Client {
        /// What names it.
        origin: Origin,
        /// What is wrong.
        error: String,
    },
    /// The API server has no such object, or no such kind.
    #[error("{0}")]
    Absent(String),
    /// Reading it is not permitted.
    #[error("{0}")]
    Forbidden(String),
    /// The credentials are not accepted.
    #[error("{0}")]
    Unauthorized(String),
    /// No API server responds.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl ClusterError {
    /// A failure, described by its innermost cause.
    pub(super) fn failed(error: impl std::error::Error + 'static) -> Self {
        Self::Failed(cause(&error))
    }

    /// Whether the user did not name the cluster, so that it may be an old one.
    pub fn is_of_implicit(&self) -> bool {
        matches!(self, Self::Config { origin: Origin::Implicit(_), .. } | Self::Client { origin: Origin::Implicit(_), .. })
    }

    /// How to fix it; `grant` where permissions are missing.
    pub fn advice(&self, grant: String) -> String {
        let other = match self {
            Self::Forbidden(_) => return grant,
            Self::NoCluster(_) | Self::Config { .. } | Self::Client { .. } => "name a --kubeconfig",
            Self::Unauthorized(_) => "log in again: the API server does not accept the credentials of the kubeconfig",
            Self::Unreachable(_) => "check the address in the kubeconfig, the network and its proxies",
            Self::Absent(_) | Self::Failed(_) => "check the API server: kubectl get --raw '/readyz?verbose'",
        };
        other.to_owned()
    }
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => Self::Absent(status.message),
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized(status.message),
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(status.message),
            kube::Error::Api(status) => Self::Failed(status.message),
            other => Self::Unreachable(cause(&other)),
        }
    }
}

/// The innermost cause of an error of kube's: the others say only that there is one.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
