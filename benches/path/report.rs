//! What is printed: tables for people, or the same as JSON; and what is aimed at.

use std::fmt;

use serde_json::{Value, json};

use super::{
    apply::Times,
    parties::Party,
    shared::figures::{Bound, Target, median, micros, percentile},
};

/// What is done with an object, in this order.
pub(super) const OPERATIONS: [&str; 2] = ["create", "again"];

/// Of tollgate's p50 to that of the bare pair.
const MOST: f64 = 1.15;

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) file: Option<File>,
}

/// Applies of single objects.
#[derive(Debug)]
pub(super) struct Row {
    scenario: String,
    applies: usize,
    /// By operation and party.
    rounds: Vec<[[Figures; 4]; 2]>,
}

/// A file of objects, in seconds by operation and party.
#[derive(Debug)]
pub(super) struct File {
    pub(super) scenario: String,
    pub(super) objects: usize,
    pub(super) seconds: [[f64; 4]; 2],
}

/// One party's figures in one round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    p50_us: f64,
    p99_us: f64,
}

impl Figures {
    fn new(mut times: Vec<std::time::Duration>) -> Self {
        times.sort_unstable();
        Self { p50_us: micros(percentile(&times, 50)), p99_us: micros(percentile(&times, 99)) }
    }
}

impl Row {
    pub(super) fn new(scenario: String, rounds: Vec<Times>) -> Self {
        let applies = rounds.iter().map(|[creates, _]| creates[0].len()).sum();
        let rounds = rounds.into_iter().map(|operations| operations.map(|parties| parties.map(Figures::new)));
        Self { scenario, applies, rounds: rounds.collect() }
    }

    fn median(&self, operation: usize, party: Party, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| figure(&round[operation][party as usize])))
    }

    /// A party's figure over that of the bare pair.
    fn ratio(&self, operation: usize, party: Party, figure: impl Fn(&Figures) -> f64) -> f64 {
        let of = |round: &[[Figures; 4]; 2], party: Party| figure(&round[operation][party as usize]);
        median(self.rounds.iter().map(|round| of(round, party) / of(round, Party::Bare)))
    }

    fn target(&self, operation: usize) -> Target {
        let found = self.ratio(operation, Party::Tollgate, |figures| figures.p50_us);
        Target { what: "p50 beside bare", found, bound: Bound::Most(MOST) }
    }

    fn to_json(&self, operation: usize) -> Value {
        let parties = Party::ALL.map(|party| {
            json!({
                "party": party.name(),
                "p50Us": self.median(operation, party, |figures| figures.p50_us),
                "p99Us": self.median(operation, party, |figures| figures.p99_us),
                "p50BesideBare": self.ratio(operation, party, |figures| figures.p50_us),
                "p99BesideBare": self.ratio(operation, party, |figures| figures.p99_us),
            })
        });
        json!({
            "scenario": self.scenario, "operation": OPERATIONS[operation], "applies": self.applies,
            "parties": parties, "target": self.target(operation).to_json(),
        })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, operation: usize) -> fmt::Result {
        for party in Party::ALL {
            let first = party == Party::Without;
            let scenario = if first { format!("{} {}", self.scenario, OPERATIONS[operation]) } else { String::new() };
            let applies = if first { self.applies.to_string() } else { String::new() };
            write!(f, "{scenario:<22}{applies:>8}  {:<9}", party.name())?;
            let [p50, p99] = [|figures: &Figures| figures.p50_us, |figures: &Figures| figures.p99_us];
            write!(f, "{:>9.0}{:>9.0}", self.median(operation, party, p50), self.median(operation, party, p99))?;
            write!(f, "{:>8.2}x{:>8.2}x", self.ratio(operation, party, p50), self.ratio(operation, party, p99))?;
            if party == Party::Tollgate {
                write!(f, "  {}", self.target(operation))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl File {
    fn to_json(&self) -> Value {
        let of = |operation: usize| -> Value {
            Party::ALL.iter().zip(self.seconds[operation]).map(|(party, seconds)| (party.name().to_owned(), json!(seconds))).collect()
        };
        json!({"scenario": self.scenario, "objects": self.objects, OPERATIONS[0]: of(0), OPERATIONS[1]: of(1)})
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, operation: usize) -> fmt::Result {
        write!(f, "{:<22}{:>8}", format!("{} {}", self.scenario, OPERATIONS[operation]), self.objects)?;
        for (party, seconds) in Party::ALL.iter().zip(self.seconds[operation]) {
            write!(f, "  {} {seconds:.1} s", party.name())?;
        }
        writeln!(f)
    }
}

impl Report {
    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().flat_map(|row| [row.to_json(0), row.to_json(1)]);
        json!({"applies": rows.collect::<Vec<_>>(), "file": self.file.as_ref().map(File::to_json)})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [scenario, applies, party] = ["scenario", "objects", "party"];
        if !self.rows.is_empty() {
            writeln!(f, "{scenario:<22}{applies:>8}  {party:<9}{:>9}{:>9}  p50, p99 beside bare", "p50 us", "p99 us")?;
        }
        for row in &self.rows {
            (0..OPERATIONS.len()).try_for_each(|operation| row.write(f, operation))?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        (0..OPERATIONS.len()).try_for_each(|operation| file.write(f, operation))
    }
}
