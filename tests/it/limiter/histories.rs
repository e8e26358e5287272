//! Random histories of one server's buckets: calls, a clock that moves both ways, fields written by another program; and the outcome of each
//! as [`settle`] has it. A store whose clock a test can set must agree in every bit.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use proptest::{collection::vec, prelude::*, sample::Index};
use tollgate::{
    limiter::{
        Call, Micros, Plan, Policy, ServerId, Verdict,
        settle::{Slot, settle},
        shape::State,
    },
    model::{
        bucket::Bucket,
        limits::{Limits, ToolLimits},
    },
};

/// When histories begin.
pub const START: Micros = Micros(1_787_000_000_000_000);
/// Clocks stay between 1986 and 2096: the numbers that a real one can tell.
const CLOCK: std::ops::Range<i64> = 500_000_000_000_000..4_000_000_000_000_000;

const TOOLS: [&str; 3] = ["search", "list", "unlimited"];
const USERS: [Option<&str>; 3] = [None, Some("alice"), Some("bob")];

/// Shapes that arithmetic may stumble over.
const ODD_SHAPES: [(u32, &str); 10] = [
    (1, "168h"),
    (1, "1000h"),
    (3, "7s"),
    (5, "1ns"),
    (7, "999999999ns"),
    (1_000_003, "1h"),
    (i32::MAX.cast_unsigned(), "24h"),
    (i32::MAX.cast_unsigned(), "1ns"),
    (i32::MAX.cast_unsigned(), "9223372036854775807ns"),
    (1, "9223372036854775807ns"),
];

/// What may stand in a field: what is written with other digits, and what makes no sense.
const TOKENS: [&str; 16] = [
    "0",
    "1",
    "2.5",
    "0.999999999",
    "0.9999999999",
    "2.9999999999",
    "1e0",
    "-0",
    "-1",
    "1e300",
    "inf",
    "-inf",
    "nan",
    "",
    "garbage",
    "1,5",
];
const LAST_REFILLS: [&str; 12] =
    ["1.787e+15", "1.787000000000001e+15", "1786999999999999.5", "0", "-5", "9e15", "1e300", "inf", "-inf", "nan", "", "yesterday"];

/// Limits, and what happens to their buckets.
#[derive(Clone, Debug)]
pub struct History {
    pub limits: Limits,
    pub in_shadow: InShadow,
    pub steps: Vec<Step>,
}

/// Which limits only tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InShadow {
    None,
    PerUser,
    OfTools,
    All,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// These reach the store together, in this order.
    Calls(Vec<Asked>),
    /// The clock moves, by microseconds.
    Move(i64),
    /// Somebody writes fields of a bucket.
    Write(Index, Fields),
    /// A bucket is gone: expired, evicted, lost in a failover.
    Forget(Index),
}

/// One decision that is asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    Call { tool: &'static str, user: Option<&'static str>, cost: NonZeroU32 },
    Batch { tools: Vec<&'static str>, user: Option<&'static str> },
}

/// Raw fields as they lie in a store. Fields that are `None` are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub tokens: Option<String>,
    pub last_refill: Option<String>,
}

/// All buckets as they should be, by [`settle`] and by nothing else.
#[derive(Debug)]
pub struct Model {
    policy: Policy,
    pub now: Micros,
    /// By key.
    buckets: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// As somebody else wrote it, and as nobody has written it since.
    Written(Fields),
    /// By the last decision that changed it.
    Settled(State),
}

pub fn histories() -> impl Strategy<Value = History> {
    let in_shadow =
        prop_oneof![4 => Just(InShadow::None), 1 => Just(InShadow::PerUser), 1 => Just(InShadow::OfTools), 1 => Just(InShadow::All)];
    (limits(), in_shadow).prop_flat_map(|(limits, in_shadow)| {
        let (limits_of, steps) = (limits.clone(), vec(step(&limits), 1..40));
        steps.prop_map(move |steps| History { limits: limits_of.clone(), in_shadow, steps })
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let level = || (proptest::option::of(bucket()), proptest::option::of(bucket()));
    (level(), level(), level()).prop_map(|((global, per_user), search, list)| {
        let of_tool = |(global, per_user)| ToolLimits { global, per_user };
        let tools = [(TOOLS[0].to_owned(), of_tool(search)), (TOOLS[1].to_owned(), of_tool(list))];
        Limits { global, per_user, tools: tools.into() }
    })
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let few = (1..12_u32, 1_000..120_000_u64).prop_map(|(tokens, ms)| (tokens, format!("{ms}ms")));
    let odd = proptest::sample::select(ODD_SHAPES.as_slice()).prop_map(|(tokens, period)| (tokens, period.to_owned()));
    prop_oneof![3 => few, 1 => odd].prop_map(|(tokens, period)| Bucket {
        max_tokens: NonZeroU32::new(tokens).expect("they hold something"),
        refill_period: period.parse().expect("a Go duration"),
    })
}

fn step(limits: &Limits) -> impl Strategy<Value = Step> + use<> {
    let buckets: Vec<Bucket> = all_of(limits).collect();
    prop_oneof![
        6 => vec(asked(&buckets), 1..6).prop_map(Step::Calls),
        4 => moves(&buckets).prop_map(Step::Move),
        1 => (any::<Index>(), fields()).prop_map(|(key, fields)| Step::Write(key, fields)),
        1 => any::<Index>().prop_map(Step::Forget),
    ]
}

fn all_of(limits: &Limits) -> impl Iterator<Item = Bucket> {
    let levels = std::iter::once((limits.global, limits.per_user)).chain(limits.tools.values().map(|tool| (tool.global, tool.per_user)));
    levels.flat_map(|(global, per_user)| global.into_iter().chain(per_user)).collect::<Vec<_>>().into_iter()
}

fn asked(buckets: &[Bucket]) -> impl Strategy<Value = Asked> + use<> {
    let most = buckets.iter().map(|bucket| bucket.max_tokens.get()).min().unwrap_or(1);
    let cost = prop_oneof![8 => Just(1), 2 => 1..=3_u32, 1 => Just(most), 1 => Just(most.saturating_add(1)), 1 => Just(u32::MAX)];
    let cost = cost.prop_map(|cost| NonZeroU32::new(cost).expect("calls cost something"));
    let (tool, user) = (|| proptest::sample::select(TOOLS.as_slice()), || proptest::sample::select(USERS.as_slice()));
    prop_oneof![
        4 => (tool(), user(), cost).prop_map(|(tool, user, cost)| Asked::Call { tool, user, cost }),
        1 => (vec(tool(), 1..5), user()).prop_map(|(tools, user)| Asked::Batch { tools, user }),
    ]
}

/// Steps of the clock that matter to some bucket: parts of a token's time and of a period, ahead more often than back.
fn moves(buckets: &[Bucket]) -> impl Strategy<Value = i64> + use<> {
    let spans: Vec<f64> = buckets.iter().flat_map(spans_us).chain([1.0]).collect();
    let factor = prop_oneof![Just(0.0), Just(1.0), Just(0.5), 0.0..1.2_f64, Just(2.0), 2.0..4.0_f64, -0.2..0.0_f64, -4.0..-0.5_f64];
    let odd_us = prop_oneof![Just(0_i64), -3..=3_i64];
    (proptest::sample::select(spans), factor, odd_us)
        .prop_map(|(span_us, factor, odd_us)| ((span_us * factor) as i64).saturating_add(odd_us))
}

/// The time of a token, and of all.
fn spans_us(bucket: &Bucket) -> [f64; 2] {
    let period_us = bucket.refill_period.as_nanos() as f64 / 1000.0;
    [period_us / f64::from(bucket.max_tokens.get()), period_us]
}

fn fields() -> impl Strategy<Value = Fields> {
    let near_us = -10_000_000..10_000_000_i64;
    let since = prop_oneof![
        3 => near_us.prop_map(|near_us| START.0.saturating_add_signed(near_us).to_string()),
        1 => proptest::sample::select(LAST_REFILLS.as_slice()).prop_map(str::to_owned),
    ];
    let tokens = prop_oneof![
        1 => proptest::sample::select(TOKENS.as_slice()).prop_map(str::to_owned),
        1 => (0.0..4.0_f64).prop_map(|tokens| tokens.to_string()),
    ];
    (proptest::option::weighted(0.9, tokens), proptest::option::weighted(0.9, since))
        .prop_map(|(tokens, last_refill)| Fields { tokens, last_refill })
}

impl Fields {
    /// As a decision at `now` has to read them: the state, and whether it made no sense and has to be written anew.
    ///
    /// Without tokens it is no bucket, hence full. Otherwise what is no number is empty, or refilled now.
    fn state(&self, now: Micros) -> Option<(State, bool)> {
        let number = |text: &String| text.parse::<f64>().ok().filter(|number| !number.is_nan());
        let tokens = number(self.tokens.as_ref()?);
        let last_refill = self.last_refill.as_ref().and_then(number);
        let (Some(tokens), Some(last_refill)) = (tokens, last_refill) else {
            return Some((State::new(tokens.unwrap_or(0.0), now), true));
        };
        // Saturates: before 1970 is 1970.
        Some((State::new(tokens, Micros(last_refill as u64)), false))
    }
}

impl Kept {
    fn state(&self, now: Micros) -> Option<(State, bool)> {
        match self {
            Self::Written(fields) => fields.state(now),
            Self::Settled(state) => Some((*state, false)),
        }
    }
}

impl History {
    pub fn policy(&self, server: &ServerId) -> Policy {
        Policy::new(server, &self.limits).shadow(|limit| match self.in_shadow {
            InShadow::None => false,
            InShadow::PerUser => limit.limit_type() == "perUser",
            InShadow::OfTools => limit.tool.is_some(),
            InShadow::All => true,
        })
    }
}

impl Asked {
    pub fn plan<'a>(&'a self, policy: &'a Policy) -> Plan<'a> {
        match self {
            Self::Call { tool, user, cost } => policy.plan(&Call::of(tool).costing(*cost).by_known(*user)),
            Self::Batch { tools, user } => policy.plan(&Call::batch(tools).by_known(*user)),
        }
    }
}

impl Model {
    /// All buckets full.
    pub fn new(policy: Policy) -> Self {
        Self { policy, now: START, buckets: BTreeMap::new() }
    }

    pub fn buckets(&self) -> &BTreeMap<String, Kept> {
        &self.buckets
    }

    /// Moves the clock, within what clocks can tell.
    pub fn pass(&mut self, us: i64) {
        let now = i64::try_from(self.now.0).expect("it is within CLOCK").saturating_add(us).clamp(CLOCK.start, CLOCK.end);
        self.now = Micros(u64::try_from(now).expect("it is within CLOCK"));
    }

    /// One of the keys that calls of this history draw on; `None` when no call draws on any.
    pub fn key(&self, index: &Index) -> Option<String> {
        let calls: Vec<_> = TOOLS.iter().flat_map(|tool| USERS.map(|user| Asked::Call { tool, user, cost: NonZeroU32::MIN })).collect();
        let plans: Vec<_> = calls.iter().map(|call| call.plan(&self.policy)).collect();
        let keys: BTreeSet<_> = plans.iter().flat_map(|plan| plan.draws().map(|draw| draw.key())).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        (!keys.is_empty()).then(|| index.get(&keys).clone().into_owned())
    }

    pub fn write(&mut self, key: String, fields: Fields) {
        self.buckets.insert(key, Kept::Written(fields));
    }

    pub fn forget(&mut self, key: &str) {
        self.buckets.remove(key);
    }

    /// What a store has to answer, and the buckets as it has to leave them.
    pub fn decide(&mut self, asked: &Asked) -> Verdict {
        let plan = asked.plan(&self.policy);
        let read = |key: &str| self.buckets.get(key).and_then(|kept| kept.state(self.now));
        let states: Vec<_> = plan.draws().map(|draw| read(&draw.key())).collect();
        let mut slots: Vec<Slot> = std::iter::zip(plan.draws(), &states)
            .map(|(draw, state)| Slot::new(draw.shape(), draw.cost(), draw.enforced(), state.map(|(state, _)| state)))
            .collect();
        let verdict = settle(&mut slots, self.now);
        for ((draw, slot), state) in std::iter::zip(plan.draws(), &slots).zip(states) {
            let made_sense = state.is_none_or(|(_, anew)| !anew);
            if let Some(state) = slot.state.filter(|_| slot.changed || !made_sense) {
                self.buckets.insert(draw.key().into_owned(), Kept::Settled(state));
            }
        }
        verdict
    }
}
