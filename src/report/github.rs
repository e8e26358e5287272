//! Workflow commands: GitHub shows them beside the lines of a pull request.

use std::io::{self, Write};

use super::{Finding, Judged, Report, Summary};

pub(super) struct Github<'w>(&'w mut dyn Write);

impl<'w> Github<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self(out)
    }
}

impl Report for Github<'_> {
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        for found in judged.findings.iter().filter(|found| found.ignored.is_none()) {
            writeln!(self.0, "{}", command(found, judged))?;
        }
        Ok(())
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        self.0.flush()
    }
}

fn command(found: &Finding, judged: &Judged<'_>) -> String {
    let mut command = format!("::{} ", found.severity.name());
    if let Some(place) = &found.place {
        let (start, end) = (place.start, place.end);
        command += &format!("file={},line={},endLine={},", property(&place.file), start.line, end.line);
        command += &format!("col={},endColumn={},", start.column, end.column);
    } else if judged.object.is_none() {
        // Of a file that cannot be opened, the name is the place.
        command += &format!("file={},", property(judged.source));
    }
    let object = judged.object.map(|object| format!("{object}: ")).unwrap_or_default();
    command + &format!("title={}::{}", property(found.id), data(&(object + &found.message_with_field())))
}

/// The text of a command, on one line.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_cannot_be_broken_out_of() {
        assert_eq!(property("a,b:c%\n::error::x"), "a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3Ax");
        assert_eq!(data("100%\r\nnext: line, here"), "100%25%0D%0Anext: line, here");
    }
}
