//! What is printed: a table for people, or the same as JSON; and what is aimed at.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    load::Tally,
    servers::Party,
    shared::figures::{Bound, Target, median, megabytes, micros, percentile},
};

/// One party's figures in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    requests: usize,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    /// By request.
    cpu_us: f64,
}

/// A scenario and all its rounds, each with the parties in their order.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) scenario: String,
    /// Of the body.
    pub(super) bytes: usize,
    pub(super) rounds: Vec<[Option<Round>; Party::ALL.len()]>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// Resident memory in kB, without streams and with them.
    pub(super) idle: Option<Vec<(Party, [u64; 2])>>,
}

impl Round {
    pub(super) fn new(mut tally: Tally, cpu: Duration) -> Self {
        tally.latencies.sort_unstable();
        let requests = tally.latencies.len();
        let us = |percent| micros(percentile(&tally.latencies, percent));
        let rate = requests as f64 / tally.elapsed.as_secs_f64();
        Self { requests, rate, p50_us: us(50), p99_us: us(99), cpu_us: micros(cpu) / requests.max(1) as f64 }
    }
}

impl Row {
    fn of(&self, party: Party) -> impl Iterator<Item = Round> {
        self.rounds.iter().filter_map(move |round| round[party as usize])
    }

    fn has(&self, party: Party) -> bool {
        self.of(party).next().is_some()
    }

    fn median(&self, party: Party, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.of(party).map(|round| figure(&round)))
    }

    /// A party's figure less that of those who ask the server themselves.
    fn added(&self, party: Party, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.of(party).zip(self.of(Party::Direct)).map(|(party, direct)| figure(&party) - figure(&direct)))
    }

    fn rival(&self) -> Party {
        if self.has(Party::Go) { Party::Go } else { Party::Nginx }
    }

    /// Tollgate's figure over its rival's.
    fn ratio(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.of(Party::Tollgate).zip(self.of(self.rival())).map(|(ours, rival)| figure(&ours) / figure(&rival)))
    }

    /// What the project's list of numbers to beat says of this scenario.
    fn target(&self) -> Option<Target> {
        let least = |ratio| Some(Target { what: "requests/s", found: self.ratio(|round| round.rate), bound: Bound::Least(ratio) });
        match self.scenario.as_str() {
            "32/call" => least(0.95),
            "32/64kB" => least(0.6),
            "32/redis" => least(4.0),
            "alone/call" => {
                let found = self.added(Party::Tollgate, |round| round.p50_us);
                Some(Target { what: "added p50, us", found, bound: Bound::Most(45.0) })
            }
            _ => None,
        }
    }

    fn party_json(&self, party: Party) -> Value {
        let median = |figure: fn(&Round) -> f64| self.median(party, figure);
        json!({
            "requestsPerSecond": median(|round| round.rate),
            "p50Us": median(|round| round.p50_us),
            "p99Us": median(|round| round.p99_us),
            "addedP50Us": self.added(party, |round| round.p50_us),
            "addedP99Us": self.added(party, |round| round.p99_us),
            "cpuUsPerRequest": median(|round| round.cpu_us),
            "requests": self.of(party).map(|round| round.requests).sum::<usize>(),
        })
    }

    fn to_json(&self) -> Value {
        let parties = Party::ALL.into_iter().filter(|party| self.has(*party));
        json!({
            "scenario": self.scenario, "bytes": self.bytes,
            "parties": parties.map(|party| (party.name().to_owned(), self.party_json(party))).collect::<serde_json::Map<_, _>>(),
            "rival": self.rival().name(), "ratio": self.ratio(|round| round.rate), "cpuRatio": self.ratio(|round| round.cpu_us),
            "target": self.target().map(|target| target.to_json()),
        })
    }
}

impl Report {
    pub(super) fn to_json(&self) -> Value {
        let idle = self.idle.iter().flatten().map(|(party, [before, with])| {
            (party.name().to_owned(), json!({"withoutKb": before, "withKb": with, "kbPerStream": per_stream([*before, *with])}))
        });
        json!({
            "scenarios": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "idleStreams": {"streams": super::IDLE_STREAMS, "rss": idle.collect::<serde_json::Map<_, _>>()},
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [scenario, bytes, party] = ["scenario", "bytes", "party"];
        writeln!(
            f,
            "{scenario:<20}{bytes:>6}  {party:<9}{:>10}{:>9}{:>9}{:>11}{:>11}{:>8}  beside",
            "requests/s", "p50 us", "p99 us", "added p50", "added p99", "CPU us"
        )?;
        self.rows.iter().try_for_each(|row| write!(f, "{row}"))?;
        for (party, rss) in self.idle.iter().flatten().filter(|(party, _)| *party != Party::Direct) {
            let [before, with] = rss.map(megabytes);
            let (name, each) = (party.name(), per_stream(*rss));
            let streams = super::IDLE_STREAMS;
            writeln!(f, "RSS of {name}: {before:.1} MB, with {streams} idle streams {with:.1} MB, {each:.1} kB each")?;
        }
        let targets: Vec<_> = self.rows.iter().filter_map(Row::target).collect();
        writeln!(f, "{} of {} targets reached", targets.iter().filter(|target| target.is_reached()).count(), targets.len())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parties = Party::ALL.into_iter().filter(|party| self.has(*party));
        for (line, party) in parties.enumerate() {
            let median = |figure: fn(&Round) -> f64| self.median(party, figure);
            let [scenario, bytes] = if line == 0 { [self.scenario.clone(), self.bytes.to_string()] } else { [const { String::new() }; 2] };
            write!(f, "{scenario:<20}{bytes:>6}  {:<9}{:>10.0}", party.name(), median(|round| round.rate))?;
            write!(f, "{:>9.0}{:>9.0}", median(|round| round.p50_us), median(|round| round.p99_us))?;
            if party == Party::Direct || !self.has(Party::Direct) {
                write!(f, "{:>22}", "")?;
            } else {
                write!(f, "{:>11.0}{:>11.0}", self.added(party, |round| round.p50_us), self.added(party, |round| round.p99_us))?;
            }
            write!(f, "{:>8.1}", median(|round| round.cpu_us))?;
            if party == Party::Tollgate {
                write!(f, "  {} {:.2}x", self.rival().name(), self.ratio(|round| round.rate))?;
                self.target().iter().try_for_each(|target| write!(f, "; {target}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// In kB.
fn per_stream([before, with]: [u64; 2]) -> f64 {
    with.saturating_sub(before) as f64 / super::IDLE_STREAMS as f64
}
