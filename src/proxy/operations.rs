//! `GET /healthz`, `/readyz`, `/metrics`, `/buckets`, on a listener of their own.

use std::sync::Arc;

use axum::{Router, routing::get};
use tokio::sync::watch;

use super::{Gateway, live};
use crate::{
    auth::{AuthMode, Verifier},
    server::{
        Phase,
        operations::{self, Check},
    },
};

pub(super) fn router(gateway: Arc<Gateway>, phase: watch::Receiver<Phase>) -> Router {
    let (checked, measured) = (gateway.clone(), gateway.clone());
    let checks = move || checks(&checked, &phase);
    let metrics = move || {
        let keys_age = measured.callers.auth.verifier().map(Verifier::keys_age);
        measured.metrics.encode(measured.bodies.held(), keys_age)
    };
    operations::router(checks, metrics).route("/buckets", get(move || live::buckets(gateway))).reset_fallback()
}

/// A store or an issuer that is unreachable makes a proxy unready only where it refuses all calls without it.
fn checks(gateway: &Gateway, phase: &watch::Receiver<Phase>) -> Vec<Check> {
    let is_answering = gateway.limiter.store().store().is_answering();
    let mut checks = vec![Check::not_stopping(phase), Check::new("the store answers", is_answering).needed(gateway.needs_store)];
    let auth = &gateway.callers.auth;
    let keys = |verifier: &Verifier| Check::new("the issuer's keys have been read", verifier.has_had_keys());
    checks.extend(auth.verifier().map(|verifier| keys(verifier).needed(auth.mode() == AuthMode::Required)));
    checks
}
