//! The labels of the limiter's metrics. Their values are bounded: servers, limits and keywords, never a user or a key.

use std::{fmt::Write, sync::Arc};

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder};

use super::per_server::OfServer;
use crate::limiter::{DecidedBy, Limit, ServerId, plan::Draw};

/// `namespace` and `server`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerLabels(pub(super) Arc<ServerId>);

/// One bucket of one decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DecisionLabels {
    #[prometheus(flatten)]
    pub(super) server: ServerLabels,
    pub(super) decision: &'static str,
    pub(super) scope: &'static str,
    pub(super) operation_type: &'static str,
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    #[prometheus(flatten)]
    pub(super) server: ServerLabels,
    pub(super) decision: &'static str,
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    #[prometheus(flatten)]
    pub(super) server: ServerLabels,
    pub(super) limit: LimitLabel,
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ErrorLabels {
    #[prometheus(flatten)]
    pub(super) server: ServerLabels,
    pub(super) error_type: &'static str,
}

/// The limit's path in a manifest: `tools[search].perUser`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LimitLabel(pub(super) Limit);

/// Who decided about a bucket, or whether it was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decider {
    Store,
    Cache,
    Local,
    FailOpen,
    /// The bucket is in shadow: it reports but does not deny.
    Shadow,
}

impl Decider {
    /// The number of variants.
    pub(super) const COUNT: usize = Self::Shadow as usize + 1;

    pub(super) fn of(draw: &Draw<'_>, source: DecidedBy) -> Self {
        match source {
            DecidedBy::FailOpen => Self::FailOpen,
            _ if !draw.enforced() => Self::Shadow,
            _ => source.into(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Store => DecidedBy::Store.name(),
            Self::Cache => DecidedBy::Cache.name(),
            Self::Local => DecidedBy::Local.name(),
            Self::FailOpen => DecidedBy::FailOpen.name(),
            Self::Shadow => "shadow",
        }
    }
}

impl From<DecidedBy> for Decider {
    fn from(source: DecidedBy) -> Self {
        match source {
            DecidedBy::Store => Self::Store,
            DecidedBy::Cache => Self::Cache,
            DecidedBy::Local => Self::Local,
            DecidedBy::FailOpen => Self::FailOpen,
        }
    }
}

impl OfServer for ServerLabels {
    fn server(&self) -> Option<&ServerId> {
        Some(&self.0)
    }
}

impl OfServer for DecisionLabels {
    fn server(&self) -> Option<&ServerId> {
        self.server.server()
    }
}

impl OfServer for CallLabels {
    fn server(&self) -> Option<&ServerId> {
        self.server.server()
    }
}

impl OfServer for LimitLabels {
    fn server(&self) -> Option<&ServerId> {
        self.server.server()
    }
}

impl OfServer for ErrorLabels {
    fn server(&self) -> Option<&ServerId> {
        self.server.server()
    }
}

impl EncodeLabelSet for ServerLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        ("namespace", self.0.namespace.as_str()).encode(encoder.encode_label())?;
        ("server", self.0.name.as_str()).encode(encoder.encode_label())
    }
}

impl EncodeLabelValue for LimitLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        write!(encoder, "{}", self.0)
    }
}
