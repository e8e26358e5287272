//! Buckets as a table for people.

use std::{fmt::Write as _, time::Duration};

use crate::limiter::{Level, Standings, Stands, Wait, name::User};

const HEAD: [&str; 5] = ["LIMIT", "USER", "LEFT", "WAIT", "FULL IN"];

pub(super) fn render(found: &Standings) -> String {
    if found.buckets.is_empty() && found.strangers.is_empty() {
        return "every bucket is full\n".to_owned();
    }
    let rows: Vec<[String; 5]> =
        found.buckets.iter().map(|bucket| row(&bucket.name.limit().to_string(), bucket.name.user.as_ref(), &bucket.stands)).collect();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(&rows, column)).collect();
    let mut text = line(HEAD.map(str::to_owned), &widths);
    text.extend(rows.into_iter().map(|row| line(row, &widths)));
    for key in &found.strangers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} is a key that tollgate would not write; it counts nothing here");
    }
    if !found.complete {
        text.push_str("there are more: raise --most\n");
    }
    text
}

fn row(limit: &str, of: Option<&User>, stands: &Stands) -> [String; 5] {
    let who = of.map(user).unwrap_or_default();
    let (left, waits, full) = match stands {
        Stands::Level(level) => (
            format!("{} of {}", level.whole_tokens(), level.max_tokens),
            wait(level).map_or("for ever".to_owned(), told),
            told(level.full_in),
        ),
        Stands::Unlimited { .. } => ("no limit any more".to_owned(), String::new(), String::new()),
        Stands::Unusable => ("no bucket: reset it".to_owned(), String::new(), String::new()),
    };
    [limit.to_owned(), who, left, waits, full]
}

/// The id, or what is left of one that was too long for a key.
pub(super) fn user(user: &User) -> String {
    match user {
        // Ids are chosen elsewhere; a terminal must not obey them.
        User::Known(id) => id.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect(),
        User::Hashed(hash) => hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    }
}

/// Until one token is there; `None` when waiting does not help.
pub(super) fn wait(level: &Level) -> Option<Duration> {
    match level.wait {
        Wait::After(wait) => Some(wait),
        Wait::Never => None,
    }
}

fn told(time: Duration) -> String {
    match time.as_secs_f64() {
        0.0 => "-".to_owned(),
        secs if secs < 60.0 => format!("{secs:.1}s"),
        secs => {
            let secs = secs.ceil() as u64;
            let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
            if hours > 0 { format!("{hours}h{minutes}m") } else { format!("{minutes}m{secs}s") }
        }
    }
}

fn width(rows: &[[String; 5]], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
    cells.chain(HEAD.get(column).map(|head| head.len())).max().unwrap_or_default()
}

fn line(cells: [String; 5], widths: &[usize]) -> String {
    let padded = std::iter::zip(&cells, widths).map(|(cell, width)| format!("{cell:width$}"));
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}
