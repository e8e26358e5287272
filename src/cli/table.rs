//! Buckets, and whatever else has columns, as tables for people.

use std::fmt::Write as _;

use crate::inspect::report::{BucketReport, BucketsReport, StatusReport, printable};

/// The buckets that are not full, and keys that are not buckets.
pub(super) fn buckets(report: &BucketsReport) -> String {
    if report.buckets.is_empty() && report.foreign_keys.is_empty() {
        return if report.complete { "every bucket is full\n" } else { "no bucket was found\n" }.to_owned();
    }
    let mut text = render(["LIMIT", "USER", "LEFT", "WAIT", "FULL IN"], report.buckets.iter().map(row).collect());
    for key in &report.foreign_keys {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} is a key that tollgate would not write; it counts nothing here", printable(key));
    }
    text
}

fn row(bucket: &BucketReport) -> [String; 5] {
    let (left, waits, full) = match &bucket.status {
        StatusReport::Level(level) => {
            (format!("{} of {}", level.whole_tokens(), level.max_tokens), wait(level.wait_seconds), time(level.full_in_seconds))
        }
        StatusReport::Unlimited { .. } => ("no longer limited".to_owned(), String::new(), String::new()),
        StatusReport::Unusable { .. } => ("not a bucket: reset it".to_owned(), String::new(), String::new()),
    };
    [bucket.limit.clone(), bucket.user.clone().unwrap_or_default(), left, waits, full]
}

/// The time until one token is available.
pub(super) fn wait(seconds: Option<f64>) -> String {
    seconds.map_or("forever".to_owned(), time)
}

/// A time in seconds, in as few characters as possible.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "-".to_owned(),
        secs if !secs.is_finite() => "?".to_owned(),
        secs if secs < 60.0 => format!("{secs:.1}s"),
        secs => {
            let secs = secs.ceil() as u64;
            let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
            if hours > 0 { format!("{hours}h{minutes}m") } else { format!("{minutes}m{secs}s") }
        }
    }
}

/// Rows under their header, in columns of minimal width. Control characters of cells, which may come from outside, are replaced.
pub(super) fn render<const COLUMNS: usize>(head: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(|cell| printable(&cell))).collect();
    let lines = || std::iter::once(head.map(str::to_owned)).chain(rows.iter().cloned());
    let widths = lines().fold([0; COLUMNS], |widths, row| {
        let mut wider = row.iter().zip(widths).map(|(cell, width): (_, usize)| width.max(cell.chars().count()));
        widths.map(|width| wider.next().unwrap_or(width))
    });
    lines().map(|row| line(&row, &widths)).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = std::iter::zip(cells, widths).map(|(cell, width)| format!("{cell:width$}"));
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_and_no_key_reaches_the_terminal_as_it_came() {
        let hostile = "a\x1b]0;b\u{9b}c".to_owned();
        let bucket = BucketReport {
            limit: hostile.clone(),
            user: Some(hostile.clone()),
            key: None,
            status: StatusReport::Unusable { unusable: true },
        };
        let text = buckets(&BucketsReport { buckets: vec![bucket], foreign_keys: vec![hostile], complete: true });
        assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
        assert_eq!(text.matches("a\u{fffd}]0;b\u{fffd}c").count(), 3, "{text}");
    }

    #[test]
    fn times_are_brief() {
        for (seconds, expected) in [(0.0, "-"), (0.04, "0.0s"), (59.94, "59.9s"), (60.2, "1m1s"), (3600.0, "1h0m"), (f64::NAN, "?")] {
            assert_eq!(time(seconds), expected, "{seconds}");
        }
    }
}
