//! What every store must do. A store gets all cases by `conformance!(ItsBench);`.
//!
//! Cases whose outcome hangs on time use long periods, or wait through the bench: a store with a clock of its own is slept for, and its
//! waits may be shorter than expected by the time that the test took.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tollgate::{
    limiter::{Call, DecidedBy, Decision, Denial, Limiter, Policy, ServerId, Store, Wait},
    model::{
        bucket::Bucket,
        limits::{Limits, ToolLimits},
    },
};

/// A fresh store to try.
pub trait Bench: Sized {
    type Store: Store + 'static;

    async fn start() -> Self;

    fn store(&self) -> Arc<Self::Store>;

    /// The server whose buckets nobody else uses in this store.
    fn server_id(&self) -> ServerId {
        ServerId::new("ns", "mcp")
    }

    /// Lets at least this much time pass by the store's clock; exactly this much when [`Bench::LAG`] is zero.
    async fn pass(&self, time: Duration);

    /// How much time may pass by the store's clock without being asked to.
    const LAG: Duration;
}

/// Stamps every case for a bench.
macro_rules! conformance {
    ($bench:ty) => {
        $crate::limiter::conformance::conformance! { @cases $bench:
            a_burst_is_allowed_then_denied,
            waiting_as_told_is_enough,
            less_than_told_is_not,
            a_denied_call_takes_nothing,
            the_longest_wait_denies,
            strangers_share_nothing,
            nobody_has_no_limit_per_user,
            a_cost_above_the_capacity_never_passes,
            a_batch_passes_whole_or_not,
            shadow_takes_and_tells,
            a_reload_keeps_what_is_left,
            denials_do_not_prolong_the_wait,
            callers_at_once_get_what_there_is,
        }
    };
    (@cases $bench:ty: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::limiter::conformance::$case::<$bench>().await;
        })+
    };
}
pub(crate) use conformance;

pub fn bucket(max_tokens: u32, refill_period: &str) -> Option<Bucket> {
    let max_tokens = NonZeroU32::new(max_tokens).expect("a bucket holds something");
    Some(Bucket { max_tokens, refill_period: refill_period.parse().expect("a Go duration") })
}

pub fn policy(limits: &Limits) -> Policy {
    Policy::new(&ServerId::new("ns", "mcp"), limits)
}

/// One limit for the server, one for each user, none for tools.
pub fn server(global: Option<Bucket>, per_user: Option<Bucket>) -> Limits {
    Limits { global, per_user, ..Limits::default() }
}

fn with_tool(limits: Limits, tool: &str, global: Option<Bucket>, per_user: Option<Bucket>) -> Limits {
    let tools = limits.tools.into_iter().chain([(tool.to_owned(), ToolLimits { global, per_user })]).collect();
    Limits { tools, ..limits }
}

/// A limiter over the bench's store, and what is asked of it.
struct Tried<B: Bench> {
    bench: B,
    limiter: Limiter<Arc<B::Store>>,
}

impl<B: Bench> Tried<B> {
    async fn with(limits: Limits) -> Self {
        let bench = B::start().await;
        let policy = Policy::new(&bench.server_id(), &limits);
        Self { limiter: Limiter::new(bench.store(), policy), bench }
    }

    fn policy(&self, limits: &Limits) -> Policy {
        Policy::new(&self.bench.server_id(), limits)
    }

    async fn decide(&self, call: Call<'_>) -> Decision {
        self.limiter.decide(&call).await.expect("the store answers")
    }

    async fn allowed(&self, call: Call<'_>) -> Option<u32> {
        match self.decide(call).await {
            Decision::Allowed { remaining, shadow: None, .. } => remaining,
            other => panic!("{call:?}: {other:?}"),
        }
    }

    async fn denied(&self, call: Call<'_>) -> Denial {
        match self.decide(call).await {
            Decision::Denied(denial) => denial,
            other => panic!("{call:?}: {other:?}"),
        }
    }

    async fn batch(&self, tools: &[&str], user: &str) -> Decision {
        self.limiter.decide(&Call::batch(tools).by(user)).await.expect("the store answers")
    }
}

/// The limit, and the wait to within the bench's lag.
fn assert_denial<B: Bench>(denial: &Denial, limit: &str, wait: Duration) {
    assert_eq!(denial.limit.to_string(), limit);
    let reported = denial.retry_after().expect("waiting helps");
    // A level may lack a billionth of a token.
    let slack = Duration::from_nanos(u64::try_from(wait.as_nanos()).expect("a short wait") / 100_000_000);
    assert!(reported <= wait && reported + B::LAG + slack >= wait, "reported {reported:?}, expected {wait:?}");
}

/// Allowed by the store, and nothing is left.
const ALLOWED_THE_LAST: Decision = Decision::Allowed { remaining: Some(0), shadow: None, source: DecidedBy::Store };

const HOUR: Duration = Duration::from_secs(3600);

pub async fn a_burst_is_allowed_then_denied<B: Bench>() {
    let tried = Tried::<B>::with(server(None, bucket(4, "1h"))).await;
    for left in (0..4).rev() {
        assert_eq!(tried.allowed(Call::of("t").by("alice")).await, Some(left));
    }
    assert_denial::<B>(&tried.denied(Call::of("t").by("alice")).await, "perUser", HOUR / 4);
}

pub async fn waiting_as_told_is_enough<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(3, "180ms"), bucket(2, "150ms"))).await;
    for _ in 0..20 {
        if let Decision::Denied(denial) = tried.decide(Call::of("t").by("alice")).await {
            tried.bench.pass(denial.retry_after().expect("waiting helps")).await;
            tried.allowed(Call::of("t").by("alice")).await;
        }
    }
}

pub async fn less_than_told_is_not<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(1, "1h"), None)).await;
    tried.allowed(Call::of("t")).await;
    let wait = tried.denied(Call::of("t")).await.retry_after().expect("waiting helps");
    if B::LAG.is_zero() {
        tried.bench.pass(wait - Duration::from_micros(1)).await;
        assert_eq!(tried.denied(Call::of("t")).await.retry_after(), Some(Duration::from_micros(1)));
    } else {
        tried.bench.pass(Duration::from_millis(50)).await;
        assert!(tried.denied(Call::of("t")).await.retry_after().is_some_and(|left| left < wait));
    }
}

pub async fn a_denied_call_takes_nothing<B: Bench>() {
    let limits = with_tool(server(bucket(5, "1h"), bucket(5, "1h")), "narrow", None, bucket(1, "1h"));
    let tried = Tried::<B>::with(limits).await;
    assert_eq!(tried.allowed(Call::of("narrow").by("alice")).await, Some(0));
    for _ in 0..10 {
        assert_denial::<B>(&tried.denied(Call::of("narrow").by("alice")).await, "tools[narrow].perUser", HOUR);
    }
    for left in (0..4).rev() {
        assert_eq!(tried.allowed(Call::of("wide").by("alice")).await, Some(left));
    }
}

pub async fn the_longest_wait_denies<B: Bench>() {
    let limits = with_tool(server(bucket(1, "1h"), bucket(1, "3h")), "t", bucket(1, "2h"), bucket(1, "1h"));
    let tried = Tried::<B>::with(limits).await;
    tried.allowed(Call::of("t").by("alice")).await;
    assert_denial::<B>(&tried.denied(Call::of("t").by("alice")).await, "perUser", 3 * HOUR);
    assert_denial::<B>(&tried.denied(Call::of("t").by("bob")).await, "tools[t].global", 2 * HOUR);
    assert_denial::<B>(&tried.denied(Call::of("other").by("bob")).await, "global", HOUR);
}

pub async fn strangers_share_nothing<B: Bench>() {
    let one = bucket(1, "1h");
    let tools = ["a", "a:b", "a%3Ab", "a}", ""];
    let limits = tools.iter().fold(Limits::default(), |limits, tool| with_tool(limits, tool, None, one));
    let tried = Tried::<B>::with(limits).await;
    let long = ["x".repeat(256), "x".repeat(257)];
    for tool in tools {
        for user in ["b:c", "c", ":c", "%3Ac", "%253Ac", "c\0", "C", "c ", &long[0], &long[1]] {
            tried.allowed(Call::of(tool).by(user)).await;
        }
    }
    tried.denied(Call::of("a").by("b:c")).await;
}

pub async fn nobody_has_no_limit_per_user<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(3, "1h"), bucket(1, "1h"))).await;
    for call in [Call::of("t"), Call::of("t").by(""), Call::of("t")] {
        tried.allowed(call).await;
    }
    assert_denial::<B>(&tried.denied(Call::of("t")).await, "global", HOUR / 3);
}

pub async fn a_cost_above_the_capacity_never_passes<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(9, "1h"), bucket(2, "1s"))).await;
    let costing = |cost| Call::of("t").by("alice").costing(NonZeroU32::new(cost).expect("it costs something"));
    let denial = tried.denied(costing(3)).await;
    assert_eq!((denial.limit.to_string().as_str(), denial.wait), ("perUser", Wait::Never));
    assert_eq!(tried.allowed(costing(2)).await, Some(0));
}

pub async fn a_batch_passes_whole_or_not<B: Bench>() {
    let tried = Tried::<B>::with(with_tool(server(bucket(5, "1h"), None), "narrow", bucket(2, "1h"), None)).await;
    let denied = tried.batch(&["wide", "narrow", "narrow", "narrow"], "alice").await;
    assert!(
        matches!(&denied, Decision::Denied(Denial { wait: Wait::Never, limit, .. }) if limit.to_string() == "tools[narrow].global"),
        "{denied:?}"
    );
    let allowed = tried.batch(&["wide", "narrow", "narrow"], "alice").await;
    assert_eq!(allowed, ALLOWED_THE_LAST);
    let Decision::Denied(denial) = tried.batch(&["wide", "wide", "wide"], "alice").await else { panic!("two are left") };
    assert_denial::<B>(&denial, "global", HOUR / 5);
    assert_eq!(tried.batch(&["wide", "wide"], "alice").await, ALLOWED_THE_LAST);
}

pub async fn shadow_takes_and_tells<B: Bench>() {
    let limits = server(bucket(3, "1h"), bucket(1, "1h"));
    let tried = Tried::<B>::with(limits.clone()).await;
    let per_user = |limit: &tollgate::limiter::Limit| limit.to_string() == "perUser";
    tried.limiter.reload(tried.policy(&limits).shadow(per_user));
    assert_eq!(tried.allowed(Call::of("t").by("alice")).await, Some(2));
    let Decision::Allowed { remaining: Some(1), shadow: Some(would), .. } = tried.decide(Call::of("t").by("alice")).await else {
        panic!("perUser tells, and does not deny")
    };
    assert_denial::<B>(&would, "perUser", HOUR);
    assert_eq!(tried.allowed(Call::of("t").by("bob")).await, Some(0));
    assert_denial::<B>(&tried.denied(Call::of("t").by("bob")).await, "global", HOUR / 3);
    tried.limiter.reload(tried.policy(&limits).shadow(|_| true));
    assert!(matches!(tried.decide(Call::of("t").by("carol")).await, Decision::Allowed { remaining: None, shadow: Some(_), .. }));
}

pub async fn a_reload_keeps_what_is_left<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(4, "1h"), None)).await;
    assert_eq!(tried.allowed(Call::of("t")).await, Some(3));
    tried.limiter.reload(tried.policy(&server(bucket(10, "1h"), None)));
    assert_eq!(tried.allowed(Call::of("t")).await, Some(2), "what was left, not what is new");
    tried.limiter.reload(tried.policy(&server(bucket(1, "1h"), None)));
    assert_eq!(tried.allowed(Call::of("t")).await, Some(0), "cut to the new capacity");
    tried.limiter.reload(tried.policy(&Limits::default()));
    assert_eq!(tried.allowed(Call::of("t")).await, None);
}

pub async fn denials_do_not_prolong_the_wait<B: Bench>() {
    let tried = Tried::<B>::with(server(bucket(1, "500ms"), None)).await;
    tried.allowed(Call::of("t")).await;
    for _ in 0..5 {
        tried.decide(Call::of("t")).await;
    }
    tried.bench.pass(Duration::from_millis(500)).await;
    tried.allowed(Call::of("t")).await;
}

pub async fn callers_at_once_get_what_there_is<B: Bench>() {
    let limits = with_tool(server(bucket(40, "10h"), bucket(8, "10h")), "t", bucket(30, "10h"), bucket(7, "10h"));
    let Tried { bench: _bench, limiter } = Tried::<B>::with(limits).await;
    let limiter = Arc::new(limiter);
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..200 {
        let limiter = Arc::clone(&limiter);
        calls.spawn(async move {
            let user = format!("user-{}", call % 5);
            limiter.decide(&Call::of("t").by(&user)).await.expect("the store answers").is_allowed()
        });
    }
    let allowed = calls.join_all().await.into_iter().filter(|allowed| *allowed).count();
    assert_eq!(allowed, 30, "five users of seven each, and no more than the tool has");
}
