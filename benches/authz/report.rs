//! What is printed: a table for people, or the same as JSON; and what is aimed at.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    load::Tally,
    parties::Party,
    shared::figures::{Bound, Target, median, micros, percentile},
};

/// One party's figures in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of Envoy and of the service, by request.
    cpu_us: [f64; 2],
}

/// A scenario and all its rounds, each with the parties in their order.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) rounds: Vec<Vec<Round>>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
}

impl Round {
    pub(super) fn new(mut tally: Tally, cpu: [Duration; 2]) -> Self {
        tally.latencies.sort_unstable();
        let requests = tally.latencies.len();
        let us = |percent| micros(percentile(&tally.latencies, percent));
        let cpu_us = cpu.map(|cpu| micros(cpu) / requests.max(1) as f64);
        Self { rate: requests as f64 / tally.elapsed.as_secs_f64(), p50_us: us(50), p99_us: us(99), cpu_us }
    }
}

impl Row {
    fn of(&self, party: Party) -> impl Iterator<Item = Round> {
        self.rounds.iter().map(move |round| round[party as usize])
    }

    fn median(&self, party: Party, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.of(party).map(|round| figure(&round)))
    }

    /// A party's figure less that of Envoy alone.
    fn added(&self, party: Party, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.of(party).zip(self.of(Party::Alone)).map(|(party, alone)| figure(&party) - figure(&alone)))
    }

    /// Requests a second with tollgate, over those with a rival.
    fn ratio(&self, rival: Party) -> f64 {
        median(self.of(Party::Tollgate).zip(self.of(rival)).map(|(ours, rival)| ours.rate / rival.rate))
    }

    /// What the project's list of numbers to beat says of this scenario.
    fn target(&self) -> Option<Target> {
        match self.scenario.as_str() {
            "32/call" => Some(Target { what: "beside local", found: self.ratio(Party::Local), bound: Bound::Least(0.5) }),
            "alone/call" => {
                let found = self.added(Party::Tollgate, |round| round.p50_us);
                Some(Target { what: "added p50, us", found, bound: Bound::Most(500.0) })
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
            "envoyCpuUsPerRequest": median(|round| round.cpu_us[0]),
            "serviceCpuUsPerRequest": median(|round| round.cpu_us[1]),
        })
    }

    fn to_json(&self) -> Value {
        let parties = Party::ALL.into_iter().map(|party| (party.name().to_owned(), self.party_json(party)));
        json!({
            "scenario": self.scenario, "parties": parties.collect::<serde_json::Map<_, _>>(),
            "besideAlone": self.ratio(Party::Alone), "besideLocal": self.ratio(Party::Local),
            "target": self.target().map(|target| target.to_json()),
        })
    }
}

impl Report {
    pub(super) fn to_json(&self) -> Value {
        json!({"scenarios": self.rows.iter().map(Row::to_json).collect::<Vec<_>>()})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [scenario, party, requests, p50, p99] = ["scenario", "Envoy", "requests/s", "p50 us", "p99 us"];
        write!(f, "{scenario:<18}{party:<9}{requests:>10}{p50:>9}{p99:>9}")?;
        writeln!(f, "{:>11}{:>11}{:>11}{:>13}  beside alone, local", "added p50", "added p99", "Envoy CPU", "tollgate CPU")?;
        self.rows.iter().try_for_each(|row| write!(f, "{row}"))?;
        let targets: Vec<_> = self.rows.iter().filter_map(Row::target).collect();
        writeln!(f, "{} of {} targets reached", targets.iter().filter(|target| target.is_reached()).count(), targets.len())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for party in Party::ALL {
            let median = |figure: fn(&Round) -> f64| self.median(party, figure);
            let scenario = if party == Party::Alone { self.scenario.as_str() } else { "" };
            write!(f, "{scenario:<18}{:<9}{:>10.0}", party.name(), median(|round| round.rate))?;
            write!(f, "{:>9.0}{:>9.0}", median(|round| round.p50_us), median(|round| round.p99_us))?;
            write!(f, "{:>11.0}{:>11.0}", self.added(party, |round| round.p50_us), self.added(party, |round| round.p99_us))?;
            write!(f, "{:>11.1}{:>13.1}", median(|round| round.cpu_us[0]), median(|round| round.cpu_us[1]))?;
            if party == Party::Tollgate {
                write!(f, "  {:.2}x, {:.2}x", self.ratio(Party::Alone), self.ratio(Party::Local))?;
                self.target().iter().try_for_each(|target| write!(f, "; {target}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
