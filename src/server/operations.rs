//! `GET /healthz`, `/readyz`, `/metrics`: the same for every server, with the checks and the metrics that the caller gives.

use std::{borrow::Cow, fmt};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;

use super::Phase;

/// What readiness depends on: a line of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    name: Cow<'static, str>,
    passes: bool,
    is_needed: bool,
    why: Option<String>,
}

impl Check {
    /// A check that readiness needs.
    pub fn new(name: impl Into<Cow<'static, str>>, passes: bool) -> Self {
        Self { name: name.into(), passes, is_needed: true, why: None }
    }

    /// That the server was not asked to stop.
    pub fn not_stopping(phase: &watch::Receiver<Phase>) -> Self {
        Self::new("not stopping", *phase.borrow() == Phase::Serving)
    }

    /// Whether readiness needs it; otherwise it is only shown.
    #[must_use]
    pub fn needed(self, is_needed: bool) -> Self {
        Self { is_needed, ..self }
    }

    /// Whether it passes, or readiness does not need it.
    pub fn is_met(&self) -> bool {
        self.passes || !self.is_needed
    }

    /// Why it fails, where more than its name is known.
    #[must_use]
    pub fn because(self, why: Option<String>) -> Self {
        Self { why, ..self }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", if self.passes { '+' } else { '-' }, self.name)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        f.write_str(if self.is_needed { "" } else { " (not needed)" })
    }
}

/// The endpoints. Both are asked anew for each request; `metrics` gives OpenMetrics text.
pub fn router(
    checks: impl Fn() -> Vec<Check> + Clone + Send + Sync + 'static,
    metrics: impl Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static,
) -> Router {
    let ready = move || async move {
        let checks = checks();
        let is_ready = checks.iter().all(Check::is_met);
        let text: String = checks.iter().map(|check| format!("{check}\n")).collect();
        (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    };
    let metrics = move || async move {
        match metrics() {
            Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n") })
}
