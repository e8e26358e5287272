//! `GET /healthz`, `/readyz`, `/metrics`, `/buckets`, on a listener of their own.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;

use super::{Gateway, live};
use crate::{
    auth::{AuthMode, Verifier},
    server::Phase,
};

pub(super) fn router(gateway: Arc<Gateway>, phase: watch::Receiver<Phase>) -> Router {
    let ready = {
        let gateway = gateway.clone();
        move || async move {
            let (ready, text) = readiness(&gateway, *phase.borrow());
            (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
        }
    };
    let buckets = {
        let gateway = gateway.clone();
        move || live::buckets(gateway)
    };
    let metrics = move || async move {
        match gateway.metrics.encode(gateway.bodies.held(), gateway.callers.auth.verifier().map(Verifier::keys_age)) {
            Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    let router = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    router.route("/metrics", get(metrics)).route("/buckets", get(buckets))
}

/// A store or an issuer that is unreachable makes a proxy unready only where it refuses all calls without it.
fn readiness(gateway: &Gateway, phase: Phase) -> (bool, String) {
    let answering = gateway.limiter.store().store().is_answering();
    let mut checks = vec![("not stopping", phase == Phase::Serving, true), ("the store answers", answering, gateway.needs_store)];
    let auth = &gateway.callers.auth;
    if let Some(verifier) = auth.verifier() {
        checks.push(("the issuer's keys have been read", verifier.has_had_keys(), auth.mode() == AuthMode::Required));
    }
    let line = |(name, ok, needed): &(&str, bool, bool)| {
        let mark = if *ok { '+' } else { '-' };
        format!("[{mark}] {name}{}\n", if *needed { "" } else { " (not needed)" })
    };
    (checks.iter().all(|(_, ok, needed)| *ok || !needed), checks.iter().map(line).collect())
}
