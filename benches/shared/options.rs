//! The options of a benchmark.

use std::time::Duration;

use anyhow::Context;

/// What all of them understand.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) round: Duration,
    pub(crate) rounds: usize,
    pub(crate) json: bool,
    /// Parts of names of scenarios; all of them when empty.
    pub(crate) only: Vec<String>,
}

impl Options {
    /// Returns the benchmark's own flags, with their values. Unknown flags are cargo's.
    pub(crate) fn parse(
        mut args: impl Iterator<Item = String>,
        round: Duration,
        mut own: impl FnMut(&str, &mut dyn Iterator<Item = String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut options = Self { round, rounds: 5, json: false, only: Vec::new() };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = true,
                "--seconds" => {
                    let seconds = args.next().context("--seconds N")?.parse().context("--seconds")?;
                    options.round = Duration::try_from_secs_f64(seconds).context("--seconds")?;
                }
                "--rounds" => options.rounds = args.next().context("--rounds N")?.parse::<usize>().context("--rounds")?.max(1),
                flag if flag.starts_with('-') => own(flag, &mut args)?,
                name => options.only.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether a scenario's name has one of the parts.
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| scenario.contains(part))
    }
}
