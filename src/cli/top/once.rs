//! One sample as text.

use crate::{
    cli::table,
    inspect::report::{Totals, printable},
    proxy::live::Live,
};

/// The buckets, and the outcome of calls if known.
pub(super) fn render(live: &Live) -> String {
    let summary = live.totals.as_ref().map(|totals| format!(": {}", summary(totals))).unwrap_or_default();
    let shadow = if live.shadow { ", in shadow" } else { "" };
    let title = format!("{}/{}, counted in {}{shadow}{summary}", live.server.namespace, live.server.name, live.store);
    let more = if live.report.complete { "" } else { "there are more\n" };
    let mut text = format!("{}\n\n{}{more}", printable(&title), table::buckets(&live.report));
    if let Some(totals) = &live.totals {
        let rows = totals.limits.iter().map(|of| [of.limit.clone(), of.allowed.to_string(), of.denied.to_string()]);
        text.push('\n');
        text.push_str(&table::render(["LIMIT", "ALLOWED", "DENIED"], rows.collect()));
    }
    text
}

/// The outcome of calls, in words.
pub(super) fn summary(totals: &Totals) -> String {
    let mut text = format!("{} allowed, {} denied", totals.allowed, totals.denied);
    if totals.undecided > 0 {
        text.push_str(&format!(", {} refused without Redis", totals.undecided));
    }
    if totals.fail_open > 0 {
        text.push_str(&format!(", {} of those allowed not counted", totals.fail_open));
    }
    format!("{text} in {}", table::time(totals.up_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::samples::{bucket, live, totals};

    #[test]
    fn everything_is_in_the_text() {
        let mut live = live(vec![bucket("global", None, 7.5, 10)], Some(Totals { undecided: 2, fail_open: 1, ..totals(90.0, 12, 3) }));
        live.shadow = true;
        let expected = "\
ns/search, counted in memory, in shadow: 12 allowed, 3 denied, 2 refused without Redis, 1 of those allowed not counted in 1m30s

LIMIT   USER  LEFT     WAIT  FULL IN
global        7 of 10  -     2.5s

LIMIT   ALLOWED  DENIED
global  12       3
";
        assert_eq!(render(&live), expected);
    }

    #[test]
    fn a_title_from_elsewhere_is_not_obeyed() {
        let mut live = live(vec![], None);
        (live.server.name, live.store) = ("\x1b[2J".to_owned(), "\u{9b}2J".to_owned());
        live.report.complete = false;
        assert_eq!(render(&live), "ns/\u{fffd}[2J, counted in \u{fffd}2J\n\nno bucket was found\nthere are more\n");
    }
}
