//! `GET /healthz`, `/readyz`, `/metrics`, `/buckets`, on a listener of their own.

use std::sync::Arc;

use axum::{Router, routing::get};
use tokio::sync::watch;

use super::{Gateway, live};
use crate::{
    auth::Verifier,
    server::{
        Phase,
        operations::{self, Check},
    },
};

pub(super) fn router(gateway: Arc<Gateway>, phase: watch::Receiver<Phase>) -> Router {
    let (checked, measured) = (gateway.clone(), gateway.clone());
    let checks = move || [vec![Check::not_stopping(&phase)], checked.gate.checks(checked.needs_store)].concat();
    let metrics = move || {
        let keys_age = measured.gate.callers().auth.verifier().map(Verifier::keys_age);
        measured.metrics.encode(measured.bodies.held(), keys_age)
    };
    operations::router(checks, metrics).route("/buckets", get(move || live::buckets(gateway))).reset_fallback()
}
