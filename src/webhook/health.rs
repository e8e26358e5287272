//! `GET /healthz`, `/readyz`, `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

use super::Shared;
use crate::server::{Phase, tls::ServerCertificate};

/// What readiness is made of.
#[derive(Debug)]
pub(super) struct Health {
    dialed: AtomicBool,
    certificate: Arc<ServerCertificate>,
    phase: watch::Receiver<Phase>,
    schema_answered: watch::Receiver<bool>,
}

impl Health {
    pub(super) fn new(certificate: Arc<ServerCertificate>, phase: watch::Receiver<Phase>, schema_answered: watch::Receiver<bool>) -> Self {
        Self { dialed: AtomicBool::new(false), certificate, phase, schema_answered }
    }

    /// Notes how the last TLS dial to ourselves went; true when that is news.
    pub(super) fn dialed(&self, well: bool) -> bool {
        self.dialed.swap(well, Ordering::AcqRel) != well
    }

    fn readiness(&self) -> (bool, String) {
        // Asked of the clock each time: a certificate expires between two dials, too.
        let invalid = self.certificate.validity().err().map(|error| error.to_string());
        let checks = [
            ("not stopping", *self.phase.borrow() == Phase::Serving, None),
            ("answers TLS on its own port", invalid.is_none() && self.dialed.load(Ordering::Acquire), invalid),
            ("installed CRDs read", *self.schema_answered.borrow(), None),
        ];
        let line = |(name, ok, why): &(&str, bool, Option<String>)| {
            let (mark, why) = (if *ok { '+' } else { '-' }, why.as_ref().map(|why| format!(": {why}")).unwrap_or_default());
            format!("[{mark}] {name}{why}\n")
        };
        (checks.iter().all(|(_, ok, _)| *ok), checks.iter().map(line).collect())
    }
}

pub(super) fn router(health: Arc<Health>, shared: Arc<Shared>) -> Router {
    let ready = move || async move {
        let (ready, text) = health.readiness();
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    };
    let metrics = move || async move {
        match shared.metrics.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
            Err(_) => Response::from(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n") })
}
