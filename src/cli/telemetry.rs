//! Logs on stderr, as text or as JSON lines: one line for each event, whatever the texts of objects and clients in it hold.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write, stderr},
};

use clap::ValueEnum;
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::output::wants_color;
use crate::stores::observed::SPANS;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Warns about certificates that are not verified.
const KUBE_TLS: &str = "kube_client::client::tls";

/// Sets up logging for the process. `verbose` counts the `-v`: none logs what an operator needs, one logs more of tollgate, two logs more
/// of its dependencies too.
pub(super) fn init(verbose: u8, format: LogFormat) {
    let (ours, theirs) = match verbose {
        0 => (Level::INFO, Level::WARN),
        1 => (Level::DEBUG, Level::WARN),
        _ => (Level::TRACE, Level::DEBUG),
    };
    // A span for each call is for traces; lines need none, and making it is not free.
    let filter = Targets::new().with_default(theirs).with_target("tollgate", ours).with_target(SPANS, theirs);
    // The Kubernetes client logs every failed attempt; tollgate logs the first.
    let tries = if verbose == 0 { LevelFilter::OFF } else { theirs.into() };
    let filter = filter.with_target("kube_client::client", tries).with_target("kube_runtime", tries).with_target(KUBE_TLS, theirs);
    let is_colored = matches!(format, LogFormat::Text) && stderr().is_terminal() && wants_color();
    let lines = match format {
        LogFormat::Text => fmt::layer().with_writer(move || Line { to: stderr(), is_colored }).with_ansi(is_colored).boxed(),
        // JSON escapes line ends by itself, and in its own way.
        LogFormat::Json => fmt::layer().with_writer(stderr).json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// Writes one event of text in a single write.
struct Line<W> {
    to: W,
    is_colored: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.to.write_all(in_one_line(&String::from_utf8_lossy(event), self.is_colored).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// An event whose only line end is its own. A message is written as it is, so that a name with a line feed in it could otherwise pass for an
/// event of its own. Escapes are left in where they are colours; those in values are escaped before.
fn in_one_line(event: &str, is_colored: bool) -> Cow<'_, str> {
    let (text, end) = event.strip_suffix('\n').map_or((event, ""), |text| (text, "\n"));
    let is_plain = |c: char| c == '\t' || (c == '\u{1b}' && is_colored) || !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    if text.chars().all(is_plain) {
        return event.into();
    }
    let mut line = String::with_capacity(event.len() + 16);
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = if is_plain(c) { line.write_char(c) } else { write!(line, "{}", c.escape_default()) };
    }
    line.push_str(end);
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (event, wanted) in [
            ("INFO all is well\n", "INFO all is well\n"),
            ("WARN tools[a\n2026 INFO fine]\n", "WARN tools[a\\n2026 INFO fine]\n"),
            ("a\r\nb\u{85}c\u{2028}d\te\n\n", "a\\r\\nb\\u{85}c\\u{2028}d\te\\n\n"),
            ("\u{1b}[2J\n", "\\u{1b}[2J\n"),
            ("ключ", "ключ"),
        ] {
            assert_eq!(in_one_line(event, false), wanted);
        }
        assert_eq!(in_one_line("\u{1b}[33mWARN\u{1b}[0m a\nb\n", true), "\u{1b}[33mWARN\u{1b}[0m a\\nb\n");
    }
}
