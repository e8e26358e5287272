//! What a command writes: data to stdout, errors to stderr.

use std::io::{self, Write};

use anyhow::Context;

/// Writes data to stdout. A reader that has left early, such as `head`, is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    unless_reader_left(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())).context("cannot write to stdout")
}

/// Writes an error and its causes to stderr, in one line.
#[expect(clippy::print_stderr, reason = "the one place where errors are shown")]
pub(super) fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Whether the terminal shows colours and the user has nothing against them: <https://no-color.org>.
pub(super) fn wants_color() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !is_dumb && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// The result of a write; a reader that has left early is not an error.
pub(super) fn unless_reader_left(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
