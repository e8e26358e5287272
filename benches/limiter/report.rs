//! What is printed: a table for people, or the same as JSON; and what is aimed at.

use std::fmt;

use serde_json::{Value, json};

use super::{
    load::Tally,
    parties::Batches,
    scenario::{Outcome, Place, Scenario},
    server::Usage,
    shared::figures::{Bound, Target, median, micros, percentile},
};

/// One party's figures in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    calls: usize,
    pub(super) rate: f64,
    p50_us: f64,
    p99_us: f64,
    /// By call; without Redis there is none.
    redis: Option<PerCall>,
    /// Calls in a script.
    batch: f64,
    /// Of all calls, those that were sent to Redis.
    asked: f64,
}

#[derive(Clone, Copy, Debug)]
struct PerCall {
    cpu_us: f64,
    commands: f64,
}

/// A scenario and all its rounds; of pairs, tollgate's comes first.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) names: [&'static str; 2],
    /// For a replica, by call.
    pub(super) bytes: [Option<f64>; 2],
    pub(super) rounds: Vec<[Round; 2]>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
}

impl Round {
    pub(super) fn new(mut tally: Tally, used: Option<Usage>, batches: Batches) -> Self {
        tally.latencies.sort_unstable();
        let calls = tally.calls.max(1) as f64;
        let us = |percent| micros(percentile(&tally.latencies, percent));
        Self {
            calls: tally.calls,
            rate: calls / tally.elapsed.as_secs_f64(),
            p50_us: us(50),
            p99_us: us(99),
            redis: used.map(|used| PerCall { cpu_us: micros(used.cpu) / calls, commands: used.commands as f64 / calls }),
            batch: batches.calls as f64 / batches.scripts.max(1) as f64,
            asked: batches.calls as f64 / calls,
        }
    }

    fn cpu_us(&self) -> f64 {
        self.redis.map_or(f64::NAN, |redis| redis.cpu_us)
    }

    fn commands(&self) -> f64 {
        self.redis.map_or(f64::NAN, |redis| redis.commands)
    }
}

impl Row {
    pub(super) fn median(&self, party: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(|pair| figure(&pair[party])))
    }

    /// Tollgate's figure over its rival's.
    pub(super) fn ratio(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(|[ours, rival]| figure(ours) / figure(rival)))
    }

    /// What the project's list of numbers to beat says of this scenario.
    fn targets(&self) -> Vec<Target> {
        let Scenario { place, outcome, buckets, callers, .. } = self.scenario;
        let mut targets = Vec::new();
        let mut aim = |what, found, bound| targets.push(Target { what, found, bound });
        let faster = self.ratio(|round| round.rate);
        match (place, outcome) {
            (Place::Redis, Outcome::Allow) => {
                match callers {
                    1 => aim("p50, alone", self.ratio(|round| round.p50_us), Bound::Most(1.1)),
                    _ => aim("calls/s", faster, Bound::Least(1.0)),
                }
                if buckets == 4 && callers > 1 {
                    aim("CPU of Redis", self.ratio(Round::cpu_us), Bound::Most(0.5));
                }
            }
            (Place::Redis, Outcome::Deny) => aim("bytes for a replica", self.bytes[0].unwrap_or(f64::NAN), Bound::Most(0.0)),
            (Place::Remembered, _) => aim("million calls/s", self.median(0, |round| round.rate) / 1e6, Bound::Least(1.0)),
            (Place::Memory, _) if buckets == 1 => aim("calls/s", faster, Bound::Least(1.0)),
            (Place::Memory, _) if callers == 1 && buckets == 4 => {
                aim("million calls/s", self.median(0, |round| round.rate) / 1e6, Bound::Least(2.0));
            }
            (Place::Memory, _) => {}
        }
        targets
    }

    fn party_json(&self, party: usize) -> Value {
        let median = |figure: fn(&Round) -> f64| self.median(party, figure);
        json!({
            "name": self.names[party],
            "callsPerSecond": median(|round| round.rate),
            "p50Us": median(|round| round.p50_us),
            "p99Us": median(|round| round.p99_us),
            "redisCpuUsPerCall": self.bytes[party].map(|_| median(Round::cpu_us)),
            "redisCommandsPerCall": self.bytes[party].map(|_| median(Round::commands)),
            "replicatedBytesPerCall": self.bytes[party],
            "callsPerScript": median(|round| round.batch),
            "asked": median(|round| round.asked),
            "calls": self.rounds.iter().map(|pair| pair[party].calls).sum::<usize>(),
        })
    }

    fn to_json(&self) -> Value {
        let Scenario { buckets, callers, users, .. } = self.scenario;
        json!({
            "scenario": self.scenario.to_string(), "buckets": buckets, "callers": callers, "users": users,
            "tollgate": self.party_json(0), "rival": self.party_json(1),
            "ratio": self.ratio(|round| round.rate),
            "targets": self.targets().iter().map(Target::to_json).collect::<Vec<_>>(),
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
        let [scenario, who] = ["scenario", "who"];
        writeln!(
            f,
            "{scenario:<28}{who:<9}{:>11}{:>10}{:>10}{:>9}{:>10}{:>8}{:>8}",
            "calls/s", "p50 us", "p99 us", "CPU us", "commands", "bytes", "batch"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let targets: Vec<_> = self.rows.iter().flat_map(Row::targets).collect();
        writeln!(f, "{} of {} targets reached", targets.iter().filter(|target| target.is_reached()).count(), targets.len())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (party, name) in self.names.iter().enumerate() {
            let median = |figure: fn(&Round) -> f64| self.median(party, figure);
            let [rate, p50, p99] = [median(|round| round.rate), median(|round| round.p50_us), median(|round| round.p99_us)];
            let scenario = if party == 0 { self.scenario.to_string() } else { String::new() };
            write!(f, "{scenario:<28}{name:<9}{rate:>11.0}{p50:>10.1}{p99:>10.1}")?;
            match self.bytes[party] {
                Some(bytes) => {
                    let batch = if party == 0 { median(|round| round.batch) } else { 1.0 };
                    write!(f, "{:>9.2}{:>10.3}{bytes:>8.0}{batch:>8.1}", median(Round::cpu_us), median(Round::commands))?;
                }
                None => write!(f, "{:>35}", "")?,
            }
            if party == 0 {
                writeln!(f)?;
            }
        }
        write!(f, "  {:.2}x", self.ratio(|round| round.rate))?;
        self.targets().iter().try_for_each(|target| write!(f, "; {target}"))
    }
}
