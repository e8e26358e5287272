//! A store that measures its calls, reports them to an [`Observer`] and traces them. It wraps all other layers, so that it observes what
//! callers experience: `Observed<Guard<Redis>>`.
//!
//! # Spans
//!
//! Each call to the store is a span `rate_limit` at level INFO, with the target [`SPANS`]. The first three fields are ToolHive's.
//!
//! | field | |
//! |---|---|
//! | `rate_limit.decision` | `allowed` or `rejected`; absent without a decision |
//! | `rate_limit.rejected_by` | `none`, or the limit: `shared_server`, `shared_tool`, `per_user_server`, `per_user_tool` |
//! | `rate_limit.fail_open` | whether it was allowed because the store is unavailable |
//! | `rate_limit.source` | who decided: `store`, `cache`, `local`, `fail_open` |
//! | `rate_limit.wait_ms` | the wait of a denial, rounded up; absent when waiting does not help |
//! | `rate_limit.shadow_rejected_by` | the shadow limit that would have denied the call |
//! | `rate_limit.error_type` | why the call was not decided: `timeout`, `connection`, `auth`, `bucket`, `other` |
//!
//! No field holds a user, a tool or a key. Without a subscriber, spans cost a few nanoseconds.

use std::{fmt, sync::Arc, time::Instant};

use tracing::{Instrument, Span, field::Empty};

use crate::{
    inspect::{
        Bounds, Inspect, InspectError,
        port::{Listing, Sample},
    },
    limiter::{DecidedBy, Observer, Plan, ServerId, Store, StoreAnswer, StoreError, Verdict, Wait, settle::Shortfall},
};

/// The target of the spans, for a subscriber's filter.
pub const SPANS: &str = "tollgate::rate_limit";

/// A [`Store`] wrapped with an observer.
#[derive(Clone)]
pub struct Observed<S> {
    store: S,
    observer: Arc<dyn Observer>,
}

impl<S> Observed<S> {
    /// Reports calls to `store` to `observer`.
    pub fn new(store: S, observer: Arc<dyn Observer>) -> Self {
        Self { store, observer }
    }

    /// The wrapped store.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: fmt::Debug> fmt::Debug for Observed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("store", &self.store).finish_non_exhaustive()
    }
}

impl<S: Store> Store for Observed<S> {
    async fn take(&self, plan: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        let (span, asked) = (span(), Instant::now());
        let outcome = self.store.take(plan).instrument(span.clone()).await;
        let took = asked.elapsed();
        match &outcome {
            Ok(answer) => {
                record(&span, plan, answer);
                self.observer.decided(plan, answer, took);
            }
            Err(error) => {
                span.record("rate_limit.error_type", error.cause().name());
                self.observer.undecided(plan, error, took);
            }
        }
        outcome
    }

    fn uncounted(&self, plan: &Plan<'_>) {
        self.observer.uncounted(plan);
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }
}

impl<S: Inspect> Inspect for Observed<S> {
    async fn read(&self, keys: &[String]) -> Result<Vec<Sample>, InspectError> {
        self.store.read(keys).await
    }

    async fn list(&self, server: &ServerId, bounds: Bounds) -> Result<Listing, InspectError> {
        self.store.list(server, bounds).await
    }

    async fn reset(&self, key: &str) -> Result<bool, InspectError> {
        self.store.reset(key).await
    }
}

fn span() -> Span {
    tracing::info_span!(
        target: SPANS,
        "rate_limit",
        rate_limit.decision = Empty,
        rate_limit.rejected_by = Empty,
        rate_limit.fail_open = Empty,
        rate_limit.source = Empty,
        rate_limit.wait_ms = Empty,
        rate_limit.shadow_rejected_by = Empty,
        rate_limit.error_type = Empty,
    )
}

fn record(span: &Span, plan: &Plan<'_>, answer: &StoreAnswer) {
    if span.is_disabled() {
        return;
    }
    span.record("rate_limit.source", answer.source.name());
    span.record("rate_limit.fail_open", answer.source == DecidedBy::FailOpen);
    match &answer.verdict {
        Verdict::Allowed { shadow, .. } => {
            span.record("rate_limit.decision", "allowed");
            span.record("rate_limit.rejected_by", "none");
            if let Some(refusal) = shadow {
                span.record("rate_limit.shadow_rejected_by", rejected_by(plan, refusal));
            }
        }
        Verdict::Denied(refusal) => {
            span.record("rate_limit.decision", "rejected");
            span.record("rate_limit.rejected_by", rejected_by(plan, refusal));
            if let Wait::After(wait) = refusal.wait {
                let wait_ms = wait.as_micros().div_ceil(1000);
                span.record("rate_limit.wait_ms", u64::try_from(wait_ms).unwrap_or(u64::MAX));
            }
        }
    }
}

/// The limit, as ToolHive's traces name it.
fn rejected_by(plan: &Plan<'_>, refusal: &Shortfall) -> &'static str {
    match plan.draws().nth(refusal.by).map(|draw| draw.limit().labels()) {
        Some(("shared", "server")) => "shared_server",
        Some(("shared", _)) => "shared_tool",
        Some((_, "server")) => "per_user_server",
        Some(_) => "per_user_tool",
        None => "none",
    }
}
