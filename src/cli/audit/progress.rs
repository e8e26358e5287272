//! How far a long audit has come: one line on stderr, on terminals, while the API server is waited for.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// An audit that takes less needs no line.
const LONG: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Progress {
    /// `None` if stderr is not a terminal.
    since: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { since: io::stderr().is_terminal().then(Instant::now), is_shown: false }
    }

    /// Shows how many objects are done, in the place of what was shown before.
    pub(super) fn show(&mut self, judged: usize, next: &dyn std::fmt::Display) {
        if self.since.is_some_and(|since| since.elapsed() >= LONG) {
            self.is_shown = true;
            write(&format!("\r\x1b[K{judged} checked, reading {next} ..."));
        }
    }

    /// Makes room for findings.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write("\r\x1b[K");
        }
    }
}

/// Progress that cannot be shown is not an error.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
