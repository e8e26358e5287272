//! The screen, drawn from a [`Board`].

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as Cells, Table},
};

use super::{
    board::{Board, Row},
    once,
};
use crate::{
    cli::table,
    inspect::report::{StatusReport, printable},
    proxy::live::Live,
};

/// Lines that are not rows of the table: two of the header, the column titles, and the last.
const FRAME_LINES: u16 = 4;
/// Width of a gauge, in characters.
const GAUGE: usize = 10;
/// Longer names are truncated.
const LONGEST_NAME: u16 = 40;
/// Narrower screens show no gauge and no rates.
const WIDE: u16 = 72;

const KEYS: &str = "q quit   arrows, PageUp, PageDown scroll   s order   p pause   / filter   ? less";

/// How rows are highlighted, with or without colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colors: bool,
}

impl Theme {
    fn fg(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    fn trouble(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Highlights empty and nearly empty buckets.
    fn row(self, row: &Row<'_>) -> Style {
        match row.share() {
            _ if row.is_empty() || row.bucket.level().is_none() => self.trouble(),
            share if share < 0.25 => self.fg(Color::Yellow),
            _ => Style::new(),
        }
    }
}

/// Rows of the table on a screen of this height.
pub(super) fn page(height: u16, has_trouble: bool) -> usize {
    usize::from(height.saturating_sub(FRAME_LINES + u16::from(has_trouble)))
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, now: Instant, theme: Theme) {
    let trouble = board.trouble(now);
    let lines = [1, 1, u16::from(trouble.is_some())].map(Constraint::Length);
    let [title, calls, wrong, table, last] =
        Layout::vertical(lines.into_iter().chain([Constraint::Fill(1), Constraint::Length(1)])).areas(frame.area());
    frame.render_widget(title_line(board, now), title);
    frame.render_widget(Line::raw(board.seen(now).map(|(live, _)| calls_line(board, live)).unwrap_or_default()), calls);
    if let Some((why, since)) = trouble {
        let text = format!("nothing new for {}: {why}; trying again", table::time(since.as_secs_f64()));
        frame.render_widget(Line::styled(text, theme.trouble()), wrong);
    }
    let rows = board.rows();
    let above = board.above(rows.len(), page(frame.area().height, trouble.is_some()));
    draw_table(frame, table, rows.get(above..).unwrap_or_default(), board, now, theme);
    frame.render_widget(last_line(board, rows.len(), above, usize::from(table.height.saturating_sub(1)), theme), last);
}

fn title_line(board: &Board, now: Instant) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let Some((live, age)) = board.seen(now) else {
        return Line::styled(format!("tollgate top: asking {} ..", printable(&board.from)), bold);
    };
    let (server, shadow) = (&live.server, if live.shadow { ", in shadow" } else { "" });
    let server = printable(&format!("{}/{}", server.namespace, server.name));
    let rest = format!(", counted in {}{shadow}, from {}, {} ago", live.store, board.from, table::time(age.as_secs_f64()));
    let paused = Span::styled(if board.paused { "  PAUSED" } else { "" }, bold.add_modifier(Modifier::REVERSED));
    Line::from(vec![Span::styled(server, bold), Span::raw(printable(&rest)), paused])
}

/// Redis has only levels: denials leave no trace there.
fn calls_line(board: &Board, live: &Live) -> String {
    match (&live.totals, board.rates.calls()) {
        (Some(totals), Some((allowed, denied))) => {
            format!("{}/s allowed, {}/s denied; {}", rate(allowed), rate(denied), once::summary(totals))
        }
        (Some(totals), None) => once::summary(totals),
        (None, _) => {
            let global = live.report.buckets.iter().find(|bucket| bucket.limit == "global");
            let drawn = global.and_then(|global| board.rates.drawn_from(global));
            let drawn = drawn.map(|drawn| format!("~{}/s allowed, by the level of global; ", rate(drawn))).unwrap_or_default();
            format!("{drawn}levels show calls allowed, not calls denied")
        }
    }
}

/// A column: its title, its width, and its cells.
struct Column<'a> {
    head: &'static str,
    width: u16,
    alignment: Alignment,
    cells: Vec<Line<'a>>,
}

impl<'a> Column<'a> {
    fn of(head: &'static str, alignment: Alignment, rows: &[Row<'_>], cell: impl Fn(&Row<'_>) -> String) -> Self {
        let cells: Vec<Line<'a>> = rows.iter().map(|row| Line::from(printable(&cell(row))).alignment(alignment)).collect();
        let width = cells.iter().map(Line::width).chain([head.len()]).max().unwrap_or_default();
        Self { head, width: u16::try_from(width).unwrap_or(u16::MAX).min(LONGEST_NAME), alignment, cells }
    }
}

fn columns<'a>(rows: &[Row<'_>], width: u16, has_totals: bool) -> Vec<Column<'a>> {
    let (left, right) = (Alignment::Left, Alignment::Right);
    let mut columns = vec![
        Column::of("LIMIT", left, rows, |row| row.bucket.limit.clone()),
        Column::of("USER", left, rows, |row| row.bucket.user.clone().unwrap_or_default()),
    ];
    if width >= WIDE {
        columns.push(Column::of("LEVEL", left, rows, gauge));
    }
    columns.push(Column::of("LEFT", left, rows, left_of));
    columns.push(Column::of("WAIT", right, rows, |row| row.bucket.level().map_or(String::new(), |level| table::wait(level.wait_seconds))));
    if width >= WIDE {
        let cell = |rate_of: Option<f64>| rate_of.map_or("-".to_owned(), rate);
        columns.push(Column::of("~DRAWN/s", right, rows, move |row| cell(row.drawn)));
        if has_totals {
            columns.push(Column::of("DENIED/s", right, rows, move |row| cell(row.denied)));
        }
    }
    columns
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, rows: &[Row<'_>], board: &Board, now: Instant, theme: Theme) {
    let Some((live, _)) = board.seen(now) else { return };
    if rows.is_empty() {
        let text = match (board.filter.is_empty(), live.error.is_none() && live.report.complete) {
            (false, _) => "no bucket matches the filter",
            (true, true) => "every bucket is full",
            (true, false) => "",
        };
        return frame.render_widget(Paragraph::new(format!("\n{text}")), area);
    }
    let rows = rows.get(..usize::from(area.height)).unwrap_or(rows);
    let columns = columns(rows, area.width, live.totals.is_some());
    let head = columns.iter().map(|column| Cell::from(Line::from(column.head).alignment(column.alignment)));
    let head = Cells::new(head).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let cells = |index: usize| columns.iter().filter_map(move |column| column.cells.get(index).cloned());
    let body = rows.iter().enumerate().map(|(index, row)| Cells::new(cells(index)).style(theme.row(row)));
    let table = Table::new(body, columns.iter().map(|column| Constraint::Max(column.width))).header(head).column_spacing(2);
    frame.render_widget(table, area);
}

fn last_line(board: &Board, rows: usize, above: usize, page: usize, theme: Theme) -> Line<'static> {
    if board.typing {
        return Line::raw(format!("/{}_", printable(&board.filter)));
    }
    if board.help {
        return Line::styled(KEYS, theme.fg(Color::Cyan));
    }
    let shown = if rows > page { format!("{}-{} of {rows}", above + 1, (above + page).min(rows)) } else { rows.to_string() };
    let filter = if board.filter.is_empty() { String::new() } else { format!(" with {:?}", printable(&board.filter)) };
    Line::styled(format!("{shown} not full{filter}, by {}   ? keys   q quit", board.order.name()), theme.fg(Color::Cyan))
}

/// The tokens left, as a bar.
fn gauge(row: &Row<'_>) -> String {
    let full = (row.share() * GAUGE as f64).round() as usize;
    if row.bucket.level().is_some() { "█".repeat(full) + &"░".repeat(GAUGE.saturating_sub(full)) } else { String::new() }
}

fn left_of(row: &Row<'_>) -> String {
    match &row.bucket.status {
        StatusReport::Level(level) => format!("{} of {}", level.whole_tokens(), level.max_tokens),
        StatusReport::Unlimited { .. } => "no longer limited".to_owned(),
        StatusReport::Unusable { .. } => "not a bucket: reset it".to_owned(),
    }
}

/// A rate per second, in few digits.
fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 0.05 => "0".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 9_999.5 => format!("{rate:.0}"),
        rate => format!("{:.0}k", rate / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

    use super::*;
    use crate::cli::top::samples::{bucket, live, totals};

    const SECOND: Duration = Duration::from_secs(1);

    /// What a screen of some size shows, and whether anything on it has a colour.
    fn shown(board: &Board, now: Instant, (width, height): (u16, u16), colors: bool) -> (Vec<String>, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| draw(frame, board, now, Theme { colors })).expect("it is drawn");
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(width.max(1)));
        let lines = lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
        (lines.collect(), buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset))
    }

    fn key(board: &mut Board, code: KeyCode) {
        board.key(code.into(), 2);
    }

    /// Seen twice: alice draws, and a limit denies 2 calls a second.
    fn board(now: Instant) -> Board {
        let mut board = Board::new("the proxy at 127.0.0.1:9080".to_owned());
        for (second, denied, left) in [(1, 0, 4.0), (2, 2, 0.0)] {
            let buckets =
                vec![bucket("global", None, 0.5, 10), bucket("perUser", Some("alice"), left, 5), bucket("z", Some("bob"), 9.0, 10)];
            board.take(Ok(live(buckets, Some(totals(f64::from(second), 30, denied)))), now - 2 * SECOND + second * SECOND);
        }
        board
    }

    fn now() -> Instant {
        Instant::now() + 100 * SECOND
    }

    #[test]
    fn a_screen_tells_who_denies_and_what_is_left() {
        let now = now();
        let (lines, colored) = shown(&board(now), now + SECOND, (100, 9), true);
        let expected = [
            "ns/search, counted in memory, from the proxy at 127.0.0.1:9080, 1.0s ago",
            "0/s allowed, 2.0/s denied; 30 allowed, 2 denied in 2.0s",
            "LIMIT    USER   LEVEL       LEFT     WAIT  ~DRAWN/s  DENIED/s",
            "global          █░░░░░░░░░  0 of 10  0.5s       1.0       2.0",
            "perUser  alice  ░░░░░░░░░░  0 of 5   1.0s       5.0         0",
            "z        bob    █████████░  9 of 10     -       1.0         0",
            "",
            "",
            "3 not full, by drained   ? keys   q quit",
        ];
        assert_eq!(lines, expected);
        assert!(colored);
        assert!(!shown(&board(now), now, (100, 9), false).1, "without colours there are none");
    }

    #[test]
    fn small_screens_show_what_fits() {
        let now = now();
        let mut board = board(now);
        let (lines, _) = shown(&board, now, (40, 6), true);
        assert_eq!(
            lines[2..],
            [
                "LIMIT    USER   LEFT     WAIT",
                "global          0 of 10  0.5s",
                "perUser  alice  0 of 5   1.0s",
                "1-2 of 3 not full, by drained   ? keys"
            ]
        );
        key(&mut board, KeyCode::End);
        let (lines, _) = shown(&board, now, (40, 6), true);
        assert_eq!(
            lines[3..],
            ["perUser  alice  0 of 5   1.0s", "z        bob    9 of 10     -", "2-3 of 3 not full, by drained   ? keys"]
        );
        for size in [(0, 0), (1, 1), (3, 2), (2, 50), (300, 1), (300, 4), (7, 7)] {
            shown(&board, now, size, true);
        }
    }

    #[test]
    fn trouble_is_shown_above_the_last_sample() {
        let now = now();
        let mut board = board(now);
        board.take(Err("cannot reach http://127.0.0.1:9080/buckets".to_owned()), now + SECOND);
        let (lines, _) = shown(&board, now + 4 * SECOND, (100, 9), true);
        assert_eq!(lines[2], "nothing new for 3.0s: cannot reach http://127.0.0.1:9080/buckets; trying again");
        assert!(lines[0].ends_with("4.0s ago") && lines[4].starts_with("global"), "{lines:#?}");
        let mut never = Board::new("Redis".to_owned());
        assert_eq!(shown(&never, now, (60, 5), true).0[0], "tollgate top: asking Redis ..");
        never.take(Err("no".to_owned()), now);
        assert_eq!(shown(&never, now, (60, 5), true).0[2], "nothing new for -: no; trying again");
    }

    #[test]
    fn keys_filter_pause_and_help_are_shown() {
        let now = now();
        let mut board = board(now);
        for code in [KeyCode::Char('p'), KeyCode::Char('s'), KeyCode::Char('/'), KeyCode::Char('x')] {
            key(&mut board, code);
        }
        let (lines, _) = shown(&board, now, (100, 8), true);
        assert!(lines[0].ends_with("  PAUSED"), "{lines:#?}");
        assert_eq!((lines[3].as_str(), lines[7].as_str()), ("no bucket matches the filter", "/x_"));
        for code in [KeyCode::Enter, KeyCode::Char('?')] {
            key(&mut board, code);
        }
        assert_eq!(shown(&board, now, (100, 8), true).0[7], KEYS);
        key(&mut board, KeyCode::Char('?'));
        assert_eq!(shown(&board, now, (100, 8), true).0[7], "0 not full with \"x\", by drawn   ? keys   q quit");
    }

    #[test]
    fn from_redis_it_is_said_what_levels_do_not_show() {
        let (now, mut board) = (now(), Board::new("Redis".to_owned()));
        let line = |board: &Board| shown(board, now, (100, 8), true).0[1].clone();
        board.take(Ok(live(vec![], None)), now - SECOND);
        assert_eq!(line(&board), "levels show calls allowed, not calls denied");
        assert_eq!(shown(&board, now, (100, 8), true).0[3], "every bucket is full");
        board.take(Ok(live(vec![bucket("global", None, 7.0, 10)], None)), now);
        assert_eq!(line(&board), "~3.0/s allowed, by the level of global; levels show calls allowed, not calls denied");
        assert!(!shown(&board, now, (100, 8), true).0[2].contains("DENIED"));
    }

    #[test]
    fn names_from_elsewhere_do_not_reach_the_terminal() {
        let (now, mut board) = (now(), Board::new("x".to_owned()));
        let hostile = "a\x1b[31mb\u{202e}\n";
        let mut live = live(vec![bucket(hostile, Some(hostile), 1.0, 10)], None);
        (live.server.name, live.store) = (hostile.to_owned(), hostile.to_owned());
        board.take(Ok(live), now);
        board.filter = "\x1b".to_owned();
        let text = shown(&board, now, (120, 8), true).0.concat();
        assert!(!text.contains(|char: char| char.is_control() || char == '\u{202e}'), "{text:?}");
        assert_eq!(text.matches("a\u{fffd}[31mb\u{fffd}\u{fffd}").count(), 4, "{text:?}");
    }
}
