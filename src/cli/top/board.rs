//! The state of the screen: rows, their order, the filter, the scroll position. Pure: the time is a parameter.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rates::Rates;
use crate::{
    inspect::report::{BucketReport, printable},
    proxy::live::Live,
};

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Board {
    /// Where samples come from.
    pub(super) from: String,
    seen: Option<(Instant, Live)>,
    trouble: Option<(Instant, String)>,
    pub(super) rates: Rates,
    pub(super) order: Order,
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    scrolled: usize,
}

/// Which buckets come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Those that deny first, then by tokens left.
    #[default]
    Drained,
    /// By tokens drawn per second.
    Drawn,
    /// By limit and user.
    Name,
}

/// One bucket of the table.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) bucket: &'a BucketReport,
    /// Calls per second that its limit denies, for all callers.
    pub(super) denied: Option<f64>,
    /// Tokens drawn from it per second.
    pub(super) drawn: Option<f64>,
}

/// The effect of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Stay,
    Quit,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Drawn => "drawn",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Drained => Self::Drawn,
            Self::Drawn => Self::Name,
            Self::Name => Self::Drained,
        }
    }
}

impl Row<'_> {
    /// From 0, empty, to 1. An unlimited bucket is full.
    pub(super) fn share(&self) -> f64 {
        self.bucket.level().map_or(1.0, |level| (level.tokens / f64::from(level.max_tokens.max(1))).clamp(0.0, 1.0))
    }

    /// Whether it would deny a call.
    pub(super) fn is_empty(&self) -> bool {
        self.bucket.level().is_some_and(|level| level.whole_tokens() == 0)
    }
}

impl Board {
    pub(super) fn new(from: String) -> Self {
        Self {
            from,
            seen: None,
            trouble: None,
            rates: Rates::default(),
            order: Order::default(),
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            scrolled: 0,
        }
    }

    /// Takes a sample, or the error in place of one.
    pub(super) fn take(&mut self, sample: Result<Live, String>, at: Instant) {
        let why = match sample {
            Err(why) => Some(why),
            Ok(live) => {
                self.rates.take(&live, at);
                let why = live.error.clone();
                // Old buckets are better than none; the totals are current.
                let live = match (&self.seen, &why) {
                    (Some((seen, last)), Some(_)) => {
                        Live { report: last.report.clone(), age_seconds: last.age_seconds + (at - *seen).as_secs_f64(), ..live }
                    }
                    _ => live,
                };
                self.seen = Some((at, live));
                why
            }
        };
        self.trouble = why.map(|why| (self.trouble.take().map_or(at, |(since, _)| since), printable(&why)));
    }

    /// The last sample, and how old its buckets are.
    pub(super) fn seen(&self, now: Instant) -> Option<(&Live, Duration)> {
        let (at, live) = self.seen.as_ref()?;
        let age = Duration::try_from_secs_f64(live.age_seconds).unwrap_or_default();
        Some((live, age.saturating_add(now.saturating_duration_since(*at))))
    }

    /// Why samples are missing, and for how long.
    pub(super) fn trouble(&self, now: Instant) -> Option<(&str, Duration)> {
        self.trouble.as_ref().map(|(since, why)| (why.as_str(), now.saturating_duration_since(*since)))
    }

    /// The buckets that match the filter, in order.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let buckets = self.seen.iter().flat_map(|(_, live)| &live.report.buckets);
        let wanted = buckets.filter(|bucket| {
            let has = |text: &str| text.to_lowercase().contains(&self.filter.to_lowercase());
            has(&bucket.limit) || bucket.user.as_deref().is_some_and(has)
        });
        let row = |bucket| Row { bucket, denied: self.rates.denied_by(&bucket.limit), drawn: self.rates.drawn_from(bucket) };
        let mut rows: Vec<_> = wanted.map(row).collect();
        // Stable: equal rows keep their order, by name.
        rows.sort_by(|one, other| match self.order {
            Order::Drained => {
                let emptiest = other.is_empty().cmp(&one.is_empty());
                let denies = |row: &Row<'_>| row.denied.filter(|_| row.is_empty()).unwrap_or_default();
                emptiest.then(denies(other).total_cmp(&denies(one))).then(one.share().total_cmp(&other.share()))
            }
            Order::Drawn => other.drawn.unwrap_or_default().total_cmp(&one.drawn.unwrap_or_default()),
            Order::Name => (&one.bucket.limit, &one.bucket.user).cmp(&(&other.bucket.limit, &other.bucket.user)),
        });
        rows
    }

    /// How many of `rows` rows are above a page of some lines.
    pub(super) fn above(&self, rows: usize, page: usize) -> usize {
        self.scrolled.min(rows.saturating_sub(page))
    }

    /// Handles a key, with `page` lines of the table on the screen.
    pub(super) fn key(&mut self, key: KeyEvent, page: usize) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Effect::Quit } else { Effect::Stay };
        }
        if self.typing {
            self.type_filter(key.code);
            return Effect::Stay;
        }
        match key.code {
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Char('q') | KeyCode::Esc => return Effect::Quit,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('?') => self.help = !self.help,
            code => self.scroll(code, page),
        }
        Effect::Stay
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(char) => self.filter.push(char),
            _ => {}
        }
        self.scrolled = 0;
    }

    fn scroll(&mut self, code: KeyCode, page: usize) {
        let rows = self.rows().len();
        let (now, page) = (self.above(rows, page), page.max(1));
        self.scrolled = match code {
            KeyCode::Up => now.saturating_sub(1),
            KeyCode::Down => now + 1,
            KeyCode::PageUp => now.saturating_sub(page),
            KeyCode::PageDown => now + page,
            KeyCode::Home => 0,
            KeyCode::End => rows,
            _ => now,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::samples::{bucket, live, totals};

    const SECOND: Duration = Duration::from_secs(1);

    fn keys(board: &mut Board, keys: &[KeyCode]) -> Effect {
        keys.iter().map(|code| board.key(KeyEvent::from(*code), 2)).last().expect("a key")
    }

    fn limits(board: &Board) -> Vec<&str> {
        board.rows().iter().map(|row| row.bucket.limit.as_str()).collect()
    }

    /// `b` is empty, `a` was drawn on most, `c` is half full; five in all with two of users.
    fn board() -> Board {
        let mut board = Board::new("here".to_owned());
        let at = Instant::now() + 100 * SECOND;
        let levels = |a: f64| {
            let mut levels = vec![bucket("a", None, a, 100), bucket("b", None, 0.0, 10), bucket("c", None, 5.0, 10)];
            levels.extend(["Alice", "bob"].map(|user| bucket("d", Some(user), 9.0, 10)));
            levels
        };
        board.take(Ok(live(levels(95.0), None)), at);
        board.take(Ok(live(levels(65.0), None)), at + SECOND);
        board
    }

    #[test]
    fn orders_are_gone_through() {
        let mut board = board();
        assert_eq!(limits(&board), ["b", "c", "a", "d", "d"]);
        keys(&mut board, &[KeyCode::Char('s')]);
        assert_eq!((board.order, limits(&board)[0]), (Order::Drawn, "a"));
        keys(&mut board, &[KeyCode::Char('s')]);
        assert_eq!(limits(&board), ["a", "b", "c", "d", "d"]);
        keys(&mut board, &[KeyCode::Char('s')]);
        assert_eq!(board.order, Order::Drained);
    }

    #[test]
    fn who_denies_most_is_first() {
        let (mut board, at) = (Board::new(String::new()), Instant::now() + SECOND);
        let buckets = || vec![bucket("global", None, 0.5, 10), bucket("other", None, 0.0, 10)];
        for (second, denied) in [(1, 0), (2, 20)] {
            board.take(Ok(live(buckets(), Some(totals(f64::from(second), 0, denied)))), at + second * SECOND);
        }
        assert_eq!(limits(&board), ["global", "other"], "that one has more left, and denies");
    }

    #[test]
    fn a_filter_is_typed_and_dropped() {
        let mut board = board();
        keys(&mut board, &[KeyCode::Char('/'), KeyCode::Char('a'), KeyCode::Char('q'), KeyCode::Backspace, KeyCode::Char('l')]);
        assert_eq!((board.filter.as_str(), limits(&board)), ("al", vec!["d"]), "of whatever case");
        assert_eq!(keys(&mut board, &[KeyCode::Enter, KeyCode::Esc]), Effect::Stay, "the first Esc drops the filter");
        assert_eq!(limits(&board).len(), 5);
        assert_eq!(keys(&mut board, &[KeyCode::Esc]), Effect::Quit);
    }

    #[test]
    fn scrolling_stays_within_the_rows() {
        let mut board = board();
        for (code, above) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 3),
            (KeyCode::Down, 3),
            (KeyCode::Up, 2),
            (KeyCode::End, 3),
            (KeyCode::PageUp, 1),
            (KeyCode::Home, 0),
        ] {
            keys(&mut board, &[code]);
            assert_eq!(board.above(5, 2), above, "{code:?}");
        }
    }

    #[test]
    fn control_c_quits_whatever_is_typed() {
        let mut board = board();
        keys(&mut board, &[KeyCode::Char('/')]);
        assert_eq!(board.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), 2), Effect::Quit);
    }

    #[test]
    fn what_was_seen_stays_while_nothing_new_comes() {
        let mut board = board();
        let (_, age) = board.seen(Instant::now() + 200 * SECOND).expect("a sample");
        let later = Instant::now() + 110 * SECOND;
        board.take(Err("gone\x1b[2J".to_owned()), later);
        board.take(Err("still gone".to_owned()), later + 5 * SECOND);
        assert_eq!(board.trouble(later + 7 * SECOND), Some(("still gone", 7 * SECOND)), "since it began");
        assert_eq!(limits(&board).len(), 5);
        let mut away = live(vec![], Some(totals(9.0, 1, 1)));
        away.error = Some("Redis is unavailable\x1b[2J".to_owned());
        board.take(Ok(away), later + 8 * SECOND);
        assert_eq!(limits(&board).len(), 5, "the buckets are the last known");
        assert!(board.seen(later + 8 * SECOND).expect("a sample").1 > 8 * SECOND && age > 90 * SECOND);
        assert_eq!(board.trouble(later + 8 * SECOND), Some(("Redis is unavailable\u{fffd}[2J", 8 * SECOND)));
        board.take(Ok(live(vec![], None)), later + 9 * SECOND);
        assert_eq!((board.trouble(later), limits(&board).len()), (None, 0));
    }
}
