//! Series with the labels of a server, which go when the server does.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

use foldhash::fast::RandomState;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

use crate::limiter::ServerId;

/// Labels that may name a server.
pub(crate) trait OfServer: Clone + Eq + Hash + EncodeLabelSet {
    /// The server, if they name one.
    fn server(&self) -> Option<&ServerId>;
}

/// A family of series, each of one server.
pub(crate) struct PerServer<L, M> {
    series: Arc<RwLock<HashMap<L, M, RandomState>>>,
    new: fn() -> M,
}

impl<L: OfServer, M: Clone> PerServer<L, M> {
    /// Without series; `new` makes the metric of each.
    pub(crate) fn new(new: fn() -> M) -> Self {
        Self { series: Arc::default(), new }
    }

    /// The metric with these labels, if it exists.
    pub(crate) fn known(&self, labels: &L) -> Option<M> {
        self.series.read().unwrap_or_else(PoisonError::into_inner).get(labels).cloned()
    }

    /// The metric with these labels, made if it does not exist yet.
    pub(crate) fn get(&self, labels: &L) -> M {
        self.known(labels).unwrap_or_else(|| {
            let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
            series.entry(labels.clone()).or_insert_with(self.new).clone()
        })
    }

    /// Removes the series of other servers.
    pub(crate) fn retain(&self, is_served: &dyn Fn(&ServerId) -> bool) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.retain(|labels, _| labels.server().is_none_or(is_served));
        if series.len() < series.capacity() / 4 {
            series.shrink_to_fit();
        }
    }
}

impl<L, M> Clone for PerServer<L, M> {
    fn clone(&self) -> Self {
        Self { series: Arc::clone(&self.series), new: self.new }
    }
}

impl<L: Debug, M: Debug> Debug for PerServer<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerServer").field("series", &self.series).finish_non_exhaustive()
    }
}

impl<L, M: TypedMetric> TypedMetric for PerServer<L, M> {
    const TYPE: MetricType = M::TYPE;
}

impl<L: OfServer, M: EncodeMetric + TypedMetric> EncodeMetric for PerServer<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        series.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }

    fn is_empty(&self) -> bool {
        self.series.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
