//! What is printed: a table for people, or the same as JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    load::Tally,
    shared::figures::{median, megabytes, micros, percentile},
    worst,
};

const RSS_TARGET_KB: u64 = 20 * 1024;

/// The least ratio of tollgate's requests/s to the bare server's that is aimed at; none is stated for other scenarios.
fn target(scenario: &str) -> Option<f64> {
    match scenario {
        "h2/validate" | "h1/validate" => Some(0.85),
        "h2/mutate" | "h1/mutate" => Some(0.7),
        _ => None,
    }
}

/// One server's figures in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    requests: usize,
    lost: usize,
    rate: f64,
    p50: Duration,
    p99: Duration,
    cpu_per_request: Duration,
}

impl Round {
    pub(super) fn new(mut tally: Tally, cpu: Duration) -> Self {
        tally.latencies.sort_unstable();
        let requests = tally.latencies.len();
        let at = |percent| percentile(&tally.latencies, percent);
        let rate = requests as f64 / tally.elapsed.as_secs_f64();
        let cpu_per_request = cpu.div_f64(requests.max(1) as f64);
        Self { requests, lost: tally.lost, rate, p50: at(50), p99: at(99), cpu_per_request }
    }
}

/// All that was measured; of pairs, tollgate's comes first.
#[derive(Debug)]
pub(super) struct Report {
    rss_start: [u64; 2],
    pub(super) rss_small: Option<[u64; 2]>,
    pub(super) rss_end: [u64; 2],
    rows: Vec<Row>,
    /// What the largest objects cost.
    pub(super) worst: Vec<worst::Row>,
}

#[derive(Debug)]
struct Row {
    scenario: String,
    bytes: usize,
    rounds: Vec<[Round; 2]>,
}

impl Row {
    fn median(&self, server: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().filter_map(|pair| pair.get(server)).map(figure))
    }

    fn ratio(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(|[tollgate, bare]| figure(tollgate) / figure(bare)))
    }

    fn server_json(&self, server: usize) -> Value {
        json!({
            "requestsPerSecond": self.median(server, |round| round.rate),
            "p50Us": self.median(server, |round| micros(round.p50)),
            "p99Us": self.median(server, |round| micros(round.p99)),
            "cpuUsPerRequest": self.median(server, |round| micros(round.cpu_per_request)),
            "requests": self.rounds.iter().filter_map(|pair| pair.get(server)).map(|round| round.requests).sum::<usize>(),
            "lost": self.rounds.iter().filter_map(|pair| pair.get(server)).map(|round| round.lost).sum::<usize>(),
        })
    }
}

impl Report {
    pub(super) fn new(rss_start: [u64; 2]) -> Self {
        Self { rss_start, rss_small: None, rss_end: rss_start, rows: Vec::new(), worst: Vec::new() }
    }

    pub(super) fn add(&mut self, scenario: String, bytes: usize, rounds: Vec<[Round; 2]>) {
        self.rows.push(Row { scenario, bytes, rounds });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Requests that tollgate answered in measured rounds.
    pub(super) fn requests(&self) -> usize {
        self.rows.iter().flat_map(|row| &row.rounds).map(|[tollgate, _]| tollgate.requests).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "scenario": row.scenario, "bytes": row.bytes,
                "tollgate": row.server_json(0), "bare": row.server_json(1),
                "ratio": row.ratio(|round| round.rate), "cpuRatio": row.ratio(|round| micros(round.cpu_per_request)),
                "target": target(&row.scenario),
            })
        });
        let rss = |[tollgate, bare]: [u64; 2]| json!({"tollgate": tollgate, "bare": bare});
        json!({
            "scenarios": rows.collect::<Vec<_>>(),
            "worst": self.worst.iter().map(worst::Row::to_json).collect::<Vec<_>>(),
            "rssKb": {
                "start": rss(self.rss_start), "afterSmall": self.rss_small.map(rss), "end": rss(self.rss_end), "target": RSS_TARGET_KB,
            },
        })
    }
}

const NAMES: [&str; 2] = ["tollgate", "bare"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [scenario, bytes, server] = ["scenario", "bytes", "server"];
        writeln!(
            f,
            "{scenario:<16}{bytes:>9}  {server:<9}{:>10}{:>10}{:>10}{:>9}  against bare",
            "requests/s", "p50 us", "p99 us", "CPU us"
        )?;
        for row in &self.rows {
            for (server, name) in NAMES.iter().enumerate() {
                let median = |figure: fn(&Round) -> f64| row.median(server, figure);
                let [scenario, bytes] =
                    if server == 0 { [row.scenario.clone(), row.bytes.to_string()] } else { [const { String::new() }; 2] };
                write!(f, "{scenario:<16}{bytes:>9}  {name:<9}{:>10.0}", median(|round| round.rate))?;
                write!(f, "{:>10.0}{:>10.0}", median(|round| micros(round.p50)), median(|round| micros(round.p99)))?;
                write!(f, "{:>9.1}", median(|round| micros(round.cpu_per_request)))?;
                if server == 0 {
                    row.fmt_ratio(f)?;
                }
                writeln!(f)?;
            }
        }
        for (when, rss) in
            [("at start", Some(self.rss_start)), ("after the small reviews", self.rss_small), ("at the end", Some(self.rss_end))]
        {
            let Some([tollgate, bare]) = rss else { continue };
            write!(f, "RSS {when}: tollgate {:.1} MB, bare {:.1} MB", megabytes(tollgate), megabytes(bare))?;
            if self.rss_small == rss {
                write!(f, " (target: tollgate <= {} MB, {})", RSS_TARGET_KB / 1024, verdict(tollgate <= RSS_TARGET_KB))?;
            }
            writeln!(f)?;
        }
        if !self.worst.is_empty() {
            writeln!(f, "{}", worst::HEAD)?;
        }
        self.worst.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl Row {
    fn fmt_ratio(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio(|round| round.rate);
        write!(f, "  {ratio:.2}x")?;
        match target(&self.scenario) {
            Some(target) => write!(f, " (target {target:.2}x, {})", verdict(ratio >= target)),
            None => Ok(()),
        }
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}
