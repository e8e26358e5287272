//! The Lua script against the pure function: random histories by a clock that the test sets, equal in every bit.
//!
//! The script that runs here is the store's own but for the line that asks Redis for the time.

use std::time::Duration;

use proptest::prelude::*;
use redis::{Cmd, Value, aio::MultiplexedConnection};
use tokio::runtime::Runtime;
use tollgate::limiter::{Micros, Plan, ServerId, Verdict, Wait, settle::Shortfall};

use crate::{
    limiter::histories::{History, Kept, Model, Step, histories},
    support::redis::{Brand, Server},
};

const SOURCE: &str = include_str!("../../../../src/stores/redis/script.lua");
const ASKS_THE_TIME: &str = "redis.call('TIME')";
const READS_A_KEY: &str = "redis.call('HMGET', 'test:time', 's', 'us')";
/// Up to here, in the year 2255, every microsecond is a double.
const LAST_EXACT: Micros = Micros(1 << f64::MANTISSA_DIGITS);

/// A server whose script believes the test.
struct Still {
    runtime: Runtime,
    connection: MultiplexedConnection,
    script: String,
    _server: Server,
}

impl Still {
    fn start(brand: Brand) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(brand.start());
        let connection = runtime.block_on(server.connect());
        assert_eq!(SOURCE.matches(ASKS_THE_TIME).count(), 1, "the script asks for the time once");
        Self { runtime, connection, script: SOURCE.replace(ASKS_THE_TIME, READS_A_KEY), _server: server }
    }

    fn run(&self, pipe: &redis::Pipeline) -> Vec<Value> {
        self.runtime.block_on(pipe.query_async(&mut self.connection.clone())).expect("Redis does as it is told")
    }

    /// One script for all plans, and what is stored then. Keys are kept for ever: Redis' own clock runs on.
    fn decide(&self, plans: &[Plan<'_>], now: Micros) -> Vec<i64> {
        let (s, us) = (now.0 / 1_000_000, now.0 % 1_000_000);
        let (script, keys) = command(&self.script, plans);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HSET").arg("test:time").arg("s").arg(s).arg("us").arg(us).add_command(script);
        for key in keys {
            pipe.cmd("PERSIST").arg(key);
        }
        let answer = self.run(&pipe).swap_remove(1);
        redis::from_redis_value(answer).expect("integers")
    }

    fn write(&self, key: &str, fields: &[(&str, &Option<String>)]) {
        let mut pipe = redis::pipe();
        pipe.cmd("DEL").arg(key);
        for (field, text) in fields.iter().filter_map(|(field, text)| Some((field, text.as_ref()?))) {
            pipe.cmd("HSET").arg(key).arg(field).arg(text);
        }
        self.run(&pipe);
    }

    fn stored(&self, key: &str) -> [Option<String>; 3] {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(key).arg(&["tokens", "last_refill", "expires"]);
        let fields: Vec<Option<String>> = redis::from_redis_value(self.run(&pipe).swap_remove(0)).expect("texts");
        fields.try_into().expect("three")
    }
}

/// The batch as `script.lua` describes it, each draw with a term of its own. Written apart from the store's writer on purpose.
fn command(script: &str, plans: &[Plan<'_>]) -> (Cmd, Vec<String>) {
    let draws = || plans.iter().flat_map(Plan::draws);
    let mut keys: Vec<String> = draws().map(|draw| draw.key().into_owned()).collect();
    keys.sort();
    keys.dedup();
    let mut eval = redis::cmd("EVAL");
    eval.arg(script).arg(keys.len()).arg(&keys);
    for draw in draws() {
        let shape = draw.shape();
        eval.arg(format!("{:.17e}", shape.capacity())).arg(format!("{:.17e}", shape.tokens_per_us())).arg(shape.two_periods_us());
        let cost = i64::from(draw.cost().get());
        eval.arg(if draw.enforced() { cost } else { -cost });
    }
    let (mut calls, mut term) = (Vec::new(), 0_u16);
    let mut push = |number: u16| calls.extend(number.to_be_bytes());
    for plan in plans {
        push(u16::try_from(plan.draws().len()).expect("a few"));
        for draw in plan.draws() {
            term += 1;
            let key = keys.binary_search_by(|key| key.as_str().cmp(&draw.key())).expect("it is there");
            push(u16::try_from(key + 1).expect("a few"));
            push(term);
        }
    }
    eval.arg(calls);
    (eval, keys)
}

/// The answer as `script.lua` describes it: the time, then each call's outcome.
fn verdicts(answer: &[i64]) -> (i64, Vec<Verdict>) {
    let remaining = |left: i64| (left >= 0).then(|| u32::try_from(left).expect("no bucket holds more"));
    let refusal = |by: i64, wait: i64| {
        let wait = u64::try_from(wait).map_or(Wait::Never, |us| Wait::After(Duration::from_micros(us)));
        Shortfall { by: usize::try_from(by - 1).expect("from 1"), wait }
    };
    let (time, mut rest) = answer.split_first().expect("the time");
    let mut verdicts = Vec::new();
    while !rest.is_empty() {
        let (verdict, length) = match *rest {
            [-2, by, wait, ..] => (Verdict::Denied(refusal(by, wait)), 3),
            [-3, left, by, wait, ..] => (Verdict::Allowed { remaining: remaining(left), shadow: Some(refusal(by, wait)) }, 4),
            [left, ..] if left >= -1 => (Verdict::Allowed { remaining: remaining(left), shadow: None }, 1),
            _ => panic!("{answer:?}"),
        };
        verdicts.push(verdict);
        rest = &rest[length..];
    }
    (*time, verdicts)
}

/// Equal, but for waits that end when doubles no longer tell one microsecond from the next.
fn are_equal(found: &Verdict, expected: &Verdict, now: Micros) -> bool {
    let wait = |verdict: &Verdict| match verdict {
        Verdict::Denied(Shortfall { wait: Wait::After(wait), .. })
        | Verdict::Allowed { shadow: Some(Shortfall { wait: Wait::After(wait), .. }), .. } => Some(*wait),
        _ => None,
    };
    let without_wait = |mut verdict: Verdict| {
        if let Verdict::Denied(refusal) | Verdict::Allowed { shadow: Some(refusal), .. } = &mut verdict {
            refusal.wait = Wait::Never;
        }
        verdict
    };
    match (wait(found), wait(expected)) {
        (Some(reported), Some(exact)) if now + exact > LAST_EXACT => {
            without_wait(*found) == without_wait(*expected) && reported.abs_diff(exact) <= Duration::from_micros(4)
        }
        _ => found == expected,
    }
}

fn replay(still: &Still, history: &History) -> Result<(), TestCaseError> {
    still.run(redis::pipe().cmd("FLUSHALL"));
    let policy = history.policy(&ServerId::new("ns", "mcp"));
    let mut model = Model::new(policy.clone());
    for step in &history.steps {
        match step {
            Step::Move(us) => model.pass(*us),
            Step::Write(index, fields) => {
                if let Some(key) = model.key(index) {
                    still.write(&key, &[("tokens", &fields.tokens), ("last_refill", &fields.last_refill)]);
                    model.write(key, fields.clone());
                }
            }
            Step::Forget(index) => {
                if let Some(key) = model.key(index) {
                    still.write(&key, &[]);
                    model.forget(&key);
                }
            }
            Step::Calls(calls) => {
                let plans: Vec<Plan<'_>> = calls.iter().map(|asked| asked.plan(&policy)).collect();
                let (time, found) = verdicts(&still.decide(&plans, model.now));
                prop_assert_eq!(time.cast_unsigned(), model.now.0);
                let expected: Vec<Verdict> = calls.iter().map(|asked| model.decide(asked)).collect();
                let equal = found.len() == expected.len() && std::iter::zip(&found, &expected).all(|(a, b)| are_equal(a, b, model.now));
                prop_assert!(equal, "{:?} instead of {:?}: {:?} at {:?}", found, expected, calls, model.now);
                agree(still, &model)?;
            }
        }
    }
    Ok(())
}

/// Redis holds what the model holds, and nothing else.
fn agree(still: &Still, model: &Model) -> Result<(), TestCaseError> {
    for (key, kept) in model.buckets() {
        let [tokens, last_refill, expires] = still.stored(key);
        match kept {
            Kept::Written(fields) => prop_assert_eq!((&tokens, &last_refill), (&fields.tokens, &fields.last_refill), "{} untouched", key),
            Kept::Settled(state) => {
                let number = |text: Option<String>| text.and_then(|text| text.parse::<f64>().ok());
                prop_assert_eq!(number(tokens), Some(state.tokens()), "tokens of {}", key);
                prop_assert_eq!(number(last_refill), Some(state.last_refill().0 as f64), "last_refill of {}", key);
                prop_assert!(expires.is_some(), "{} lives for ever", key);
            }
        }
    }
    let buckets = model.buckets().iter().filter(|(_, kept)| **kept != Kept::Written(Default::default())).count();
    let keys: usize = redis::from_redis_value(still.run(redis::pipe().cmd("DBSIZE")).swap_remove(0)).expect("a number");
    prop_assert!(keys <= buckets + 1, "{} buckets and the time are {} keys", buckets, keys);
    Ok(())
}

fn every_history_is_as_settle_has_it(brand: Brand) {
    let still = Still::start(brand);
    let cases: u32 = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    runner.run(&histories(), |history| replay(&still, &history)).unwrap_or_else(|error| panic!("{error}"));
}

mod on_redis {
    #[test]
    fn every_history_is_as_settle_has_it() {
        super::every_history_is_as_settle_has_it(crate::support::redis::Brand::Redis);
    }
}

mod on_valkey {
    #[test]
    fn every_history_is_as_settle_has_it() {
        super::every_history_is_as_settle_has_it(crate::support::redis::Brand::Valkey);
    }
}
