//! The spans of calls: their fields by every outcome, and nothing about who called.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tollgate::{
    limiter::{Call, Cause, DecidedBy, Limiter, StoreAnswer, StoreError, Verdict, Wait, observe::Unobserved, settle::Shortfall},
    stores::{Memory, Observed, observed::SPANS},
};
use tracing::{
    Dispatch, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, NoSubscriber, set_default},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use super::{
    conformance::policy,
    metrics::{CALL, Fixed, USER, allowed_by, denied_by, limits},
};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of the spans of calls.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Fields>>);

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().expect("no panic while held").insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.lock().expect("no panic while held").insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Kept {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let metadata = attributes.metadata();
        if (metadata.name(), metadata.target()) == ("rate_limit", SPANS) {
            attributes.record(&mut self.clone());
        }
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

/// Spans of this thread are kept until what is returned goes. With a single subscriber, spans first met by another test's thread would be off
/// for ever; with two, each is asked.
fn subscribe(kept: &Kept) -> (DefaultGuard, Dispatch) {
    let another = Dispatch::new(NoSubscriber::default());
    (set_default(tracing_subscriber::registry().with(kept.clone())), another)
}

/// The fields of a call's span, without what begins all their names.
async fn traced(answer: Result<StoreAnswer, StoreError>) -> Vec<(&'static str, String)> {
    let kept = Kept::default();
    let _subscribed = subscribe(&kept);
    let limiter = Limiter::new(Observed::new(Fixed(answer), Arc::new(Unobserved)), policy(&limits()));
    let _ = limiter.decide(&Call::of(CALL).by(USER)).await;
    let fields = kept.0.lock().expect("no panic while held").clone();
    fields.into_iter().map(|(name, value)| (name.strip_prefix("rate_limit.").expect("ToolHive's prefix"), value)).collect()
}

fn fields<const N: usize>(expected: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    expected.map(|(name, value)| (name, value.to_owned())).into()
}

#[tokio::test]
async fn an_allowed_call_is_rejected_by_none() {
    for (source, name, fail_open) in
        [(DecidedBy::Store, "store", "false"), (DecidedBy::Local, "local", "false"), (DecidedBy::FailOpen, "fail_open", "true")]
    {
        let expected = [("decision", "allowed"), ("fail_open", fail_open), ("rejected_by", "none"), ("source", name)];
        assert_eq!(traced(allowed_by(source)).await, fields(expected));
    }
}

#[tokio::test]
async fn a_rejected_call_names_the_limit_and_the_wait() {
    for (by, limit) in ["shared_server", "shared_tool", "per_user_server", "per_user_tool"].into_iter().enumerate() {
        let expected = [("decision", "rejected"), ("fail_open", "false"), ("rejected_by", limit), ("source", "cache"), ("wait_ms", "1001")];
        assert_eq!(traced(denied_by(by, DecidedBy::Cache)).await, fields(expected));
    }
    let never = StoreAnswer { verdict: Verdict::Denied(Shortfall { by: 0, wait: Wait::Never }), source: DecidedBy::Store };
    assert!(traced(Ok(never)).await.iter().all(|(name, _)| *name != "wait_ms"));
}

#[tokio::test]
async fn shadow_and_failures_are_fields_too() {
    let shadow = Some(Shortfall { by: 3, wait: Wait::Never });
    let answer = StoreAnswer { verdict: Verdict::Allowed { remaining: Some(1), shadow }, source: DecidedBy::Store };
    assert!(traced(Ok(answer)).await.contains(&("shadow_rejected_by", "per_user_tool".to_owned())));
    assert_eq!(traced(Err(StoreError::unknown(Cause::Timeout, "no answer"))).await, fields([("error_type", "timeout")]));
}

#[tokio::test]
async fn what_a_store_logs_is_within_the_span_of_its_call() {
    let _subscribed = subscribe(&Kept::default());
    struct Asking;
    impl tollgate::limiter::Store for Asking {
        async fn take(&self, plan: &tollgate::limiter::Plan<'_>) -> Result<StoreAnswer, StoreError> {
            assert_eq!(tracing::Span::current().metadata().map(|span| span.name()), Some("rate_limit"));
            Ok(Memory::default().take_now(plan).into())
        }

        async fn probe(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let limiter = Limiter::new(Observed::new(Asking, Arc::new(Unobserved)), policy(&limits()));
    assert!(limiter.decide(&Call::of(CALL)).await.expect("it answers").is_allowed());
}
