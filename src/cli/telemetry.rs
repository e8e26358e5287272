//! Logs on stderr, as text or as JSON lines.

use std::io::{IsTerminal, stderr};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::args::LogFormat;
use crate::stores::observed::SPANS;

/// Tells of certificates that are not verified.
const KUBE_TLS: &str = "kube_client::client::tls";

/// Sets up logs for the process. `verbose` counts the `-v`: none for what an operator wants to know, one for more of ours, two for
/// everybody's.
pub(super) fn init(verbose: u8, format: LogFormat) {
    let (ours, theirs) = match verbose {
        0 => (Level::INFO, Level::WARN),
        1 => (Level::DEBUG, Level::WARN),
        _ => (Level::TRACE, Level::DEBUG),
    };
    // A span for each call is for traces; lines need none, and making it is not free.
    let filter = Targets::new().with_default(theirs).with_target("tollgate", ours).with_target(SPANS, theirs);
    // The Kubernetes client tells of every try that fails; we, of the first.
    let tries = if verbose == 0 { LevelFilter::OFF } else { theirs.into() };
    let filter = filter.with_target("kube_client::client", tries).with_target("kube_runtime", tries).with_target(KUBE_TLS, theirs);
    let lines = fmt::layer().with_writer(stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal() && super::wants_color()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
