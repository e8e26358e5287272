//! Who named a cluster.

use std::fmt;

/// Who named a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user, by `--kubeconfig` or `--context`.
    Named(String),
    /// A kubeconfig that is there for kubectl.
    Implicit(String),
    /// The pod that this process runs in.
    Pod,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(files) | Self::Implicit(files) => f.write_str(files),
            Self::Pod => f.write_str("the service account"),
        }
    }
}
