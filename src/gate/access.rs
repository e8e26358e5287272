//! The access log: a line for each request, for each denial, or none. It names tools and limits, never a token, an argument or a user.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use crate::limiter::{Decision, ServerId, StoreError};

/// Which requests to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum AccessLog {
    /// Every request.
    All,
    /// Requests denied or not decided.
    #[default]
    Denials,
    /// Nothing.
    None,
}

/// What is known about one request.
#[derive(Debug)]
pub struct Access {
    log: AccessLog,
    began: Instant,
    method: Method,
    /// At a front that has several.
    pub(crate) server: Option<Arc<ServerId>>,
    pub(super) called: Option<Called>,
}

/// The call, and its outcome.
#[derive(Debug)]
pub(super) struct Called {
    tools: String,
    pub(super) outcome: &'static str,
    source: &'static str,
    limit: Option<String>,
    wait: Option<Duration>,
    took: Duration,
}

/// The maximum number of tool names logged for a batch.
const MOST_TOOLS: usize = 5;
/// The maximum length of a logged name; clients choose them freely.
const LONGEST_NAME: usize = 128;

impl Access {
    /// Notes that a request arrived.
    pub fn begin(method: &Method, log: AccessLog) -> Self {
        Self { log, began: Instant::now(), method: method.clone(), server: None, called: None }
    }

    pub(super) fn decided(&mut self, tools: &[&str], decision: &Result<Decision, StoreError>, took: Duration) {
        let (outcome, source, denial) = match decision {
            Ok(Decision::Allowed { source, .. }) => ("allowed", source.name(), None),
            Ok(Decision::Denied(denial)) => ("denied", denial.source.name(), Some(denial)),
            Err(error) => ("undecided", error.cause().name(), None),
        };
        let limit = denial.map(|denial| denial.limit.to_string());
        let wait = denial.and_then(|denial| denial.retry_after());
        let tools = match self.log {
            AccessLog::None => String::new(),
            AccessLog::Denials if outcome == "allowed" => String::new(),
            AccessLog::All | AccessLog::Denials => listed(tools),
        };
        self.called = Some(Called { tools, outcome, source, limit, wait, took });
    }

    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn end(self, status: StatusCode) {
        let denied = self.called.as_ref().is_some_and(|called| called.outcome != "allowed");
        if self.log == AccessLog::None || (self.log == AccessLog::Denials && !denied) {
            return;
        }
        let (method, status, took_us) = (self.method.as_str(), status.as_u16(), micros(self.took()));
        let (namespace, server) = self.server.as_deref().map(|id| (id.namespace.as_str(), id.name.as_str())).unzip();
        let Some(Called { tools, outcome, source, limit, wait, took }) = self.called else {
            return tracing::info!(target: "tollgate::access", namespace, server, method, status, took_us, "request");
        };
        let (limit, wait_ms, decided_us) = (limit.unwrap_or_default(), wait.map(|wait| wait.as_millis()), micros(took));
        tracing::info!(target: "tollgate::access", namespace, server, method, status, took_us, tools, decision = outcome, source, limit, wait_ms, decided_us, "call");
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn listed(tools: &[&str]) -> String {
    let names = tools.iter().take(MOST_TOOLS).map(|name| name.chars().take(LONGEST_NAME).collect::<String>());
    let more = tools.len().saturating_sub(MOST_TOOLS);
    let names = names.collect::<Vec<_>>().join(",");
    if more > 0 { format!("{names} and {more} more") } else { names }
}
