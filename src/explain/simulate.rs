//! Simulated calls to the limiter, with the clock set to each call's time.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{load::Load, text::thousands};
use crate::{
    limiter::{Call, Decision, Limit, Micros, Policy, Scope, ServerId},
    model::{bucket::Bucket, limits::Limits, period::go_duration},
    stores::Memory,
};

/// The maximum number of simulated calls.
const MOST_CALLS: u64 = 1_000_000;
/// Points of the curve.
const POINTS: u32 = 600;

/// The calls to simulate.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The tool that is called; `None` for the first with limits of its own.
    pub tool: Option<String>,
    /// When calls are made; `None` for twice what the tightest limit allows.
    pub load: Option<Load>,
    /// For how long; `None` for three times the tightest limit's period.
    pub duration: Option<Duration>,
    /// How many users make them in turn.
    pub callers: NonZeroU32,
}

/// Why calls were not simulated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// Every call would pass.
    #[error("no limit counts calls of this tool")]
    NoLimit,
    /// There are more calls than a simulation makes.
    #[error("{load} for {} is {} calls, more than {}: choose fewer, or a shorter --for", short(*.duration), thousands(*.calls), thousands(MOST_CALLS))]
    TooMany {
        /// The load.
        load: Load,
        /// For how long.
        duration: Duration,
        /// How many calls that is.
        calls: u64,
    },
}

/// The outcome of the calls.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulated {
    /// What calls were made, in words.
    pub(super) load: String,
    /// The tool that was called.
    pub(super) tool: String,
    pub(super) callers: NonZeroU32,
    #[serde(rename = "durationSeconds", serialize_with = "seconds")]
    pub(super) duration: Duration,
    /// Calls made.
    pub(super) asked: u64,
    /// Calls allowed.
    pub(super) admitted: u64,
    /// By the limit that denied, most calls first.
    pub(super) denied: Vec<Denied>,
    #[serde(rename = "longestWaitSeconds", serialize_with = "seconds")]
    longest_wait: Duration,
    #[serde(skip)]
    pub(super) curve: Vec<Point>,
}

/// What one limit denied.
#[derive(Debug, Serialize)]
pub(super) struct Denied {
    /// The limit, as a path.
    pub(super) limit: String,
    /// Calls that it denied.
    pub(super) calls: u64,
    /// The rate of the limit.
    pub(super) pace: String,
}

/// Calls until a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// The time since the start.
    pub(super) at: Duration,
    pub(super) asked: u64,
    pub(super) admitted: u64,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Simulated {
    /// Makes the calls that were asked for, or as many as show what the limits do.
    ///
    /// # Errors
    /// When no limit counts them, or they are too many.
    pub fn run(server: &ServerId, limits: &Limits, calls: Calls) -> Result<Self, SimulationError> {
        let Calls { tool, load, duration, callers } = calls;
        let tool = tool.or_else(|| limits.tools.keys().next().cloned()).unwrap_or_else(|| "any".to_owned());
        let tightest = tightest(limits, &tool).ok_or(SimulationError::NoLimit)?;
        let duration = duration.unwrap_or_else(|| tightest.refill_period.as_duration().saturating_mul(3));
        let twice = tightest.max_tokens.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let load = load.unwrap_or_else(|| Load::at_once_then(twice, twice, tightest.refill_period));
        let calls = load.count(duration);
        if calls > MOST_CALLS {
            return Err(SimulationError::TooMany { load, duration, calls });
        }
        let mut run = Self {
            load: load.to_string(),
            tool,
            callers,
            duration,
            asked: 0,
            admitted: 0,
            denied: Vec::new(),
            longest_wait: Duration::ZERO,
            curve: Vec::new(),
        };
        let denials = run.make(&load.times(duration), &Policy::new(server, limits));
        run.denied = denials.into_iter().map(|(limit, calls)| Denied::new(&limit, calls, limits)).collect();
        run.denied.sort_by_key(|denied| std::cmp::Reverse(denied.calls));
        Ok(run)
    }

    /// Makes the calls; how many each limit denied.
    fn make(&mut self, times: &[Duration], policy: &Policy) -> HashMap<Limit, u64> {
        let mut denials = HashMap::new();
        let now = Arc::new(AtomicU64::new(0));
        let clock = {
            let now = now.clone();
            move || Micros(now.load(Ordering::Relaxed))
        };
        // Room for every bucket of every caller: a bucket that is dropped would be full again.
        let buckets = (policy.plan(&Call::of(&self.tool).by("u")).draws().len() * self.callers.get() as usize).saturating_mul(2);
        let store = Memory::with_capacity(NonZeroUsize::MIN.saturating_add(buckets), clock);
        let users = (0..self.callers.get()).map(|nth| format!("user-{nth}")).collect::<Vec<_>>();
        let mut times = times.iter().zip(users.iter().cycle()).peekable();
        for point in 0..=POINTS {
            let until = self.duration.mul_f64(f64::from(point) / f64::from(POINTS));
            while let Some((time, user)) = times.next_if(|(time, _)| **time <= until) {
                now.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                let decision = {
                    let plan = policy.plan(&Call::of(&self.tool).by(user));
                    Decision::new(&plan, store.take_now(&plan).into())
                };
                self.note(decision, &mut denials);
            }
            self.curve.push(Point { at: until, asked: self.asked, admitted: self.admitted });
        }
        denials
    }

    fn note(&mut self, decision: Option<Decision>, denials: &mut HashMap<Limit, u64>) {
        self.asked += 1;
        match decision {
            Some(Decision::Denied(denial)) => {
                self.longest_wait = self.longest_wait.max(denial.retry_after().unwrap_or_default());
                *denials.entry(denial.limit).or_default() += 1;
            }
            _ => self.admitted += 1,
        }
    }

    /// As text, for people.
    pub fn human(&self) -> String {
        let mut out = format!("  Calls of {} {}, {}, for {}:\n", self.tool, self.by(), self.load, short(self.duration));
        out.push_str(&format!("    {} of {} pass", thousands(self.admitted), thousands(self.asked)));
        if !self.denied.is_empty() {
            out.push_str(&format!("; {}; longest wait {}", self.denials(), short(self.longest_wait)));
        }
        out.push('\n');
        out
    }

    /// Who makes the calls.
    pub(super) fn by(&self) -> String {
        match self.callers.get() {
            1 => "by one user".to_owned(),
            callers => format!("by {} users in turn", thousands(callers.into())),
        }
    }

    /// How many calls were denied by which limit, in words.
    pub(super) fn denials(&self) -> String {
        let denied = self.denied.iter().map(|denied| format!("{} denied by {}", thousands(denied.calls), denied.limit));
        denied.collect::<Vec<_>>().join(", ")
    }
}

impl Denied {
    fn new(limit: &Limit, calls: u64, limits: &Limits) -> Self {
        let level = match &limit.tool {
            None => Some(limits.own()),
            Some(tool) => limits.tools.get(&**tool).copied(),
        };
        let bucket = level.and_then(|level| match limit.scope {
            Scope::Global => level.global,
            Scope::PerUser => level.per_user,
        });
        Self { limit: limit.to_string(), calls, pace: bucket.map(|bucket| bucket.pace()).unwrap_or_default() }
    }
}

/// The bucket that gives back the fewest tokens, of those that count a tool's calls.
fn tightest(limits: &Limits, tool: &str) -> Option<Bucket> {
    let tool = limits.tools.get(tool);
    let of_tool = tool.into_iter().flat_map(|tool| tool.per_user.into_iter().chain(tool.global));
    limits.per_user.into_iter().chain(limits.global).chain(of_tool).max_by_key(Bucket::interval)
}

/// A duration to the millisecond, unless it is shorter.
pub(super) fn short(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    go_duration(if nanos < 1_000_000 { nanos } else { nanos / 1_000_000 * 1_000_000 })
}
