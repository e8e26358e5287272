//! Rates from one sample to the next. Pure: the time is a parameter.
//!
//! | rate | from |
//! |---|---|
//! | calls allowed and denied, denials of a limit | a proxy's totals, over its last five seconds |
//! | tokens drawn from a bucket | its last two levels: the earlier one plus refill, minus the later one |
//!
//! The second is an estimate in whole tokens, and too low for a bucket that was full in between. Denials draw nothing, so levels do not
//! show them.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    inspect::report::{BucketReport, BucketsReport, LevelReport, Totals},
    proxy::live::Live,
};

/// Seconds over which a proxy's totals are compared.
const WINDOW_SECS: f64 = 5.0;
/// Samples that are closer together are the same look, reported twice.
const SAME_LOOK: Duration = Duration::from_millis(50);

/// What a bucket counts: its limit, and whose calls.
type Counts = (String, Option<String>);

/// What is needed to compute rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    totals: VecDeque<Totals>,
    look: Option<(Instant, BucketsReport)>,
    drawn: HashMap<Counts, f64>,
}

impl Rates {
    /// Takes a sample, received at a time.
    pub(super) fn take(&mut self, live: &Live, at: Instant) {
        if let Some(totals) = &live.totals {
            self.take_totals(totals);
        }
        let age = Duration::try_from_secs_f64(live.age_seconds).unwrap_or_default();
        let looked = at.checked_sub(age).unwrap_or(at);
        if live.error.is_some() {
            self.look = None;
            self.drawn.clear();
        } else if self.look.as_ref().is_none_or(|(last, _)| looked > *last + SAME_LOOK) {
            self.take_look(looked, &live.report);
        }
    }

    /// Calls allowed and denied per second.
    pub(super) fn calls(&self) -> Option<(f64, f64)> {
        Some((self.rate(|totals| totals.allowed)?, self.rate(|totals| totals.denied)?))
    }

    /// Calls per second that a limit denied.
    pub(super) fn denied_by(&self, limit: &str) -> Option<f64> {
        let denied = |totals: &Totals| totals.limits.iter().find(|of| of.limit == limit).map_or(0, |of| of.denied);
        self.rate(denied)
    }

    /// Tokens drawn from a bucket per second, estimated.
    pub(super) fn drawn_from(&self, bucket: &BucketReport) -> Option<f64> {
        self.drawn.get(&counts(bucket)).copied()
    }

    fn take_totals(&mut self, totals: &Totals) {
        // A restarted proxy counts from zero.
        if self.totals.back().is_some_and(|last| totals.up_seconds < last.up_seconds) {
            self.totals.clear();
        }
        self.totals.push_back(totals.clone());
        while self.totals.len() > 2 && self.totals.get(1).is_some_and(|second| totals.up_seconds - second.up_seconds >= WINDOW_SECS) {
            self.totals.pop_front();
        }
    }

    fn take_look(&mut self, looked: Instant, report: &BucketsReport) {
        if let Some((last, before)) = &self.look {
            let (secs, before) = ((looked - *last).as_secs_f64(), Before::of(before));
            let drawn = report.buckets.iter().filter_map(|bucket| Some((counts(bucket), before.drawn(bucket, secs)? / secs)));
            self.drawn = drawn.collect();
        }
        self.look = Some((looked, report.clone()));
    }

    fn rate(&self, of: impl Fn(&Totals) -> u64) -> Option<f64> {
        let (first, last) = (self.totals.front()?, self.totals.back()?);
        let secs = last.up_seconds - first.up_seconds;
        (secs > 0.0).then(|| of(last).saturating_sub(of(first)) as f64 / secs)
    }
}

/// The levels of the previous look.
struct Before<'a> {
    levels: HashMap<Counts, &'a LevelReport>,
    complete: bool,
}

impl<'a> Before<'a> {
    fn of(report: &'a BucketsReport) -> Self {
        let levels = report.buckets.iter().filter_map(|bucket| Some((counts(bucket), bucket.level()?)));
        Self { levels: levels.collect(), complete: report.complete }
    }

    fn drawn(&self, bucket: &BucketReport, secs: f64) -> Option<f64> {
        let now = bucket.level()?;
        let max = f64::from(now.max_tokens);
        let before = match self.levels.get(&counts(bucket)) {
            Some(before) if before.max_tokens == now.max_tokens => before.tokens,
            // The limit has changed.
            Some(_) => return None,
            // A bucket that was not listed was full, if the list was complete.
            None => self.complete.then_some(max)?,
        };
        let refilled = if now.full_in_seconds > 0.0 { (max - now.tokens) / now.full_in_seconds * secs } else { 0.0 };
        // Calls take whole tokens; the rest is how exactly two clocks agree.
        Some(((before + refilled).min(max) - now.tokens).round().max(0.0))
    }
}

fn counts(bucket: &BucketReport) -> Counts {
    (bucket.limit.clone(), bucket.user.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::samples::{bucket, live, totals};

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes samples a second apart.
    fn after(samples: &[Live]) -> Rates {
        let (mut rates, began) = (Rates::default(), Instant::now() + 100 * SECOND);
        for (at, live) in (0..).zip(samples) {
            rates.take(live, began + at * SECOND);
        }
        rates
    }

    #[test]
    fn calls_are_counted_over_five_seconds_of_the_proxy() {
        let sample = |up, allowed, denied| live(vec![], Some(totals(up, allowed, denied)));
        assert_eq!(after(&[sample(1.0, 5, 5)]).calls(), None, "one sample does not give a rate");
        assert_eq!(after(&[sample(1.0, 5, 5), sample(3.0, 9, 5)]).calls(), Some((2.0, 0.0)));
        let many: Vec<_> = (0..20_u32).map(|second| sample(f64::from(second), u64::from(second) * u64::from(second), 0)).collect();
        let (allowed, _) = after(&many).calls().expect("a rate");
        assert_eq!(allowed, f64::from(19 * 19 - 14 * 14) / 5.0, "what was long ago is forgotten");
        let rates = after(&[sample(1.0, 5, 0), sample(2.0, 5, 20)]);
        assert_eq!((rates.denied_by("global"), rates.denied_by("other")), (Some(20.0), Some(0.0)));
    }

    #[test]
    fn a_proxy_that_starts_anew_has_no_rate_yet() {
        let sample = |up, allowed| live(vec![], Some(totals(up, allowed, 0)));
        assert_eq!(after(&[sample(500.0, 900), sample(501.0, 901), sample(0.5, 3)]).calls(), None);
        assert_eq!(after(&[sample(500.0, 900), sample(0.5, 3), sample(1.5, 7)]).calls(), Some((4.0, 0.0)));
    }

    #[test]
    fn what_is_drawn_is_what_lacks_after_refilling() {
        // Ten tokens in ten seconds: one comes back each second.
        let drawn = |before: Vec<BucketReport>, now: f64| {
            let now = bucket("global", None, now, 10);
            after(&[live(before, None), live(vec![now.clone()], None)]).drawn_from(&now)
        };
        assert_eq!(drawn(vec![bucket("global", None, 5.0, 10)], 6.0), Some(0.0));
        assert_eq!(drawn(vec![bucket("global", None, 5.0, 10)], 3.0), Some(3.0));
        assert_eq!(drawn(vec![bucket("global", None, 5.0, 10)], 2.997), Some(3.0), "clocks do not agree to the millisecond");
        assert_eq!(drawn(vec![], 8.0), Some(2.0), "it was full");
        assert_eq!(drawn(vec![bucket("global", None, 5.0, 20)], 3.0), None, "another limit");
        assert_eq!(drawn(vec![bucket("global", None, 5.0, 10)], 9.0), Some(0.0), "it was reset");
    }

    #[test]
    fn the_same_look_reported_twice_is_one() {
        let (level, mut again) = (bucket("global", None, 3.0, 10), live(vec![bucket("global", None, 3.0, 10)], None));
        again.age_seconds = 1.0;
        let rates = after(&[live(vec![], None), live(vec![level.clone()], None), again]);
        assert_eq!(rates.drawn_from(&level), Some(7.0), "the estimate stays until there is news");
    }

    #[test]
    fn an_incomplete_list_says_nothing_about_missing_buckets() {
        let mut part = live(vec![], None);
        part.report.complete = false;
        let now = bucket("perUser", Some("alice"), 3.0, 10);
        assert_eq!(after(&[part, live(vec![now.clone()], None)]).drawn_from(&now), None);
    }
}
