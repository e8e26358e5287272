//! What is counted, line by line, and that the documentation names all of it and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tollgate::{
    inspect::{Bounds, BucketName},
    limiter::{
        Call, Cause, DecidedBy, Limiter, Observer, Plan, Policy, ServerId, Store, StoreAnswer, StoreError, Verdict, Wait,
        observe::Unobserved, settle::Shortfall,
    },
    metrics::{Metrics, Registry, encode},
    model::limits::{Limits, ToolLimits},
    stores::{
        Guard, GuardSettings, Memory, Observed, Redis,
        redis::{RedisSettings, RedisSettingsError},
    },
};

use super::conformance::{bucket, policy, server};
use crate::support::redis::Server;

/// A store that answers as it is told.
pub struct Fixed(pub Result<StoreAnswer, StoreError>);

impl Store for Fixed {
    async fn take(&self, _: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        self.0.clone()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

pub fn allowed_by(source: DecidedBy) -> Result<StoreAnswer, StoreError> {
    Ok(StoreAnswer { verdict: Verdict::Allowed { remaining: None, shadow: None }, source })
}

pub fn denied_by(by: usize, source: DecidedBy) -> Result<StoreAnswer, StoreError> {
    let wait = Wait::After(Duration::from_micros(1_000_001));
    Ok(StoreAnswer { verdict: Verdict::Denied(Shortfall { by, wait }), source })
}

/// All four buckets for `search`.
pub fn limits() -> Limits {
    let search = ToolLimits { global: bucket(50, "1h"), per_user: bucket(1, "1h") };
    Limits { tools: [("search".to_owned(), search)].into(), ..server(bucket(100, "1h"), bucket(10, "1h")) }
}

pub const CALL: &str = "search";
pub const USER: &str = "alice@example.com";

struct Watched {
    registry: Registry,
    metrics: Arc<Metrics>,
}

impl Watched {
    fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        Self { registry, metrics }
    }

    fn limiter<S: Store>(&self, store: S, policy: Policy) -> Limiter<Observed<S>> {
        Limiter::new(Observed::new(store, self.metrics.clone()), policy)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// Every series that begins so and is not zero, without its beginning.
    fn counted(&self, metric: &str) -> BTreeMap<String, u64> {
        let text = self.text();
        let values = text.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit_once(' '));
        let values = values.map(|(labels, value)| (labels.to_owned(), value.parse::<u64>().expect("a count")));
        values.filter(|(_, value)| *value > 0).collect()
    }

    /// `decisions`, as decision, scope, operation type and source.
    fn decisions(&self) -> BTreeMap<String, u64> {
        let words = |labels: String| {
            let values = labels.split(',').filter_map(|label| label.split('"').nth(1));
            values.skip(2).collect::<Vec<_>>().join(" ")
        };
        self.counted("toolhive_rate_limit_decisions_total").into_iter().map(|(labels, count)| (words(labels), count)).collect()
    }
}

fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.map(|(labels, count)| (labels.to_owned(), count)).into()
}

async fn decide<S: Store>(limiter: &Limiter<S>, user: &str) {
    let _ = limiter.decide(&Call::of(CALL).by(user)).await;
}

#[tokio::test]
async fn buckets_are_counted_as_toolhive_does() {
    let watched = Watched::new();
    let limiter = watched.limiter(Memory::default(), policy(&limits()));
    for _ in 0..3 {
        decide(&limiter, USER).await;
    }
    decide(&limiter, "").await;
    let expected = [
        ("allowed per_user server store", 1),
        ("allowed per_user tool store", 1),
        ("allowed shared server store", 2),
        ("allowed shared tool store", 2),
        ("rejected per_user tool store", 2),
    ];
    assert_eq!(watched.decisions(), counts(expected));
    let full = r#"toolhive_rate_limit_decisions_total{namespace="ns",server="mcp",decision="rejected",scope="per_user",operation_type="tool",source="store"} 2"#;
    assert!(watched.text().lines().any(|line| line == full), "{}", watched.text());

    let of_server = r#"namespace="ns",server="mcp""#;
    let by = |decision: &str| format!(r#"{{{of_server},decision="{decision}",source="store"}}"#);
    assert_eq!(watched.counted("tollgate_rate_limit_calls_total"), counts([(&by("allowed"), 2), (&by("rejected"), 2)]));
    let denials = format!(r#"{{{of_server},limit="tools[search].perUser",source="store"}}"#);
    assert_eq!(watched.counted("tollgate_rate_limit_denials_total"), counts([(&denials, 2)]));
    let allowed = |limit: &str| format!(r#"{{{of_server},limit="{limit}",source="store"}}"#);
    let expected = [
        (&*allowed("global"), 2),
        (&*allowed("perUser"), 1),
        (&*allowed("tools[search].global"), 2),
        (&*allowed("tools[search].perUser"), 1),
    ];
    assert_eq!(watched.counted("tollgate_rate_limit_allowed_total"), counts(expected));
    let of_server = format!("{{{of_server}}}");
    assert_eq!(watched.counted("tollgate_rate_limit_users_skipped_total"), counts([(&of_server, 1)]));
    assert_eq!(watched.counted("toolhive_rate_limit_check_latency_seconds_count"), counts([(&of_server, 4)]));
}

#[tokio::test]
async fn who_decided_is_told_apart() {
    for (answer, expected) in [
        (allowed_by(DecidedBy::Local), counts([("allowed shared server local", 1), ("allowed shared tool local", 1)])),
        (allowed_by(DecidedBy::FailOpen), counts([("allowed shared server fail_open", 1), ("allowed shared tool fail_open", 1)])),
        (denied_by(1, DecidedBy::Cache), counts([("rejected shared tool cache", 1)])),
        (denied_by(0, DecidedBy::Local), counts([("rejected shared server local", 1)])),
    ] {
        let (watched, source) = (Watched::new(), answer.as_ref().expect("a decision").source);
        decide(&watched.limiter(Fixed(answer), policy(&limits())), "").await;
        assert_eq!(watched.decisions(), expected);
        let one_if = |holds: bool| if holds { counts([(r#"{namespace="ns",server="mcp"}"#, 1)]) } else { BTreeMap::new() };
        assert_eq!(watched.counted("toolhive_rate_limit_fail_open_total"), one_if(source == DecidedBy::FailOpen));
        let measured = watched.counted("toolhive_rate_limit_check_latency_seconds_count");
        assert_eq!(measured, one_if(source != DecidedBy::Cache), "what is certain takes no time");
    }
}

#[tokio::test]
async fn shadow_is_counted_apart() {
    let watched = Watched::new();
    let per_user = |limit: &tollgate::limiter::Limit| limit.limit_type() == "perUser";
    let limiter = watched.limiter(Memory::default(), policy(&limits()).shadow(per_user));
    for _ in 0..3 {
        decide(&limiter, USER).await;
    }
    let expected = [
        ("allowed per_user server shadow", 1),
        ("allowed per_user tool shadow", 1),
        ("allowed shared server store", 3),
        ("allowed shared tool store", 3),
        ("rejected per_user tool shadow", 2),
    ];
    assert_eq!(watched.decisions(), counts(expected));
    let of_server = r#"namespace="ns",server="mcp""#;
    let allowed = format!(r#"{{{of_server},decision="allowed",source="store"}}"#);
    assert_eq!(watched.counted("tollgate_rate_limit_calls_total"), counts([(&allowed, 3)]));
    let denials = format!(r#"{{{of_server},limit="tools[search].perUser",source="shadow"}}"#);
    let of_limit = watched.counted("tollgate_rate_limit_allowed_total");
    let allowed = |limit: &str, source: &str| of_limit.get(&format!(r#"{{{of_server},limit="{limit}",source="{source}"}}"#)).copied();
    assert_eq!((allowed("global", "store"), allowed("tools[search].perUser", "shadow")), (Some(3), Some(1)), "{of_limit:?}");
    assert_eq!(watched.counted("tollgate_rate_limit_denials_total"), counts([(&denials, 2)]));
}

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let watched = Watched::new();
    let (policy, labels) = (policy(&limits()), |error_type: &str| format!(r#"{{namespace="ns",server="mcp",error_type="{error_type}"}}"#));
    for cause in [Cause::Timeout, Cause::Connection, Cause::Auth, Cause::Bucket, Cause::Other] {
        let error = StoreError::untaken(cause, "it is told to fail");
        watched.metrics.failed(&policy.plan(&Call::of(CALL)), &error);
        decide(&watched.limiter(Fixed(Err(error)), policy.clone()), USER).await;
    }
    let expected = [("timeout", 1), ("connection", 1), ("auth", 1), ("other", 2)].map(|(kind, count)| (labels(kind), count));
    assert_eq!(watched.counted("toolhive_rate_limit_redis_errors_total"), expected.into());
    let expected = ["timeout", "connection", "auth", "bucket", "other"].map(|kind| (labels(kind), 1));
    assert_eq!(watched.counted("tollgate_rate_limit_undecided_total"), expected.into());
    assert_eq!(watched.decisions(), BTreeMap::new());
    let of_server = r#"{namespace="ns",server="mcp"}"#;
    assert_eq!(watched.counted("toolhive_rate_limit_check_latency_seconds_count"), counts([(of_server, 5)]));
}

#[tokio::test]
async fn the_series_of_a_server_go_with_it() {
    let watched = Watched::new();
    let policies = ["mcp", "other"].map(|name| Policy::new(&ServerId::new("ns", name), &limits()));
    for policy in &policies {
        let error = StoreError::untaken(Cause::Timeout, "it is told to fail");
        watched.metrics.failed(&policy.plan(&Call::of(CALL)), &error);
        let answers = [Err(error), allowed_by(DecidedBy::FailOpen), allowed_by(DecidedBy::Store), denied_by(1, DecidedBy::Store)];
        for answer in answers {
            let limiter = watched.limiter(Fixed(answer), policy.clone());
            decide(&limiter, USER).await;
            decide(&limiter, "").await;
        }
    }
    let of = |server: &str| {
        let label = format!("server=\"{server}\"");
        watched.text().lines().filter(|line| line.contains(&label)).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (stays, families) = (of("mcp"), |lines: &BTreeSet<String>| -> BTreeSet<String> {
        lines.iter().filter_map(|line| Some(line.split_once('{')?.0.to_owned())).collect()
    });
    assert_eq!(families(&of("other")).len(), 8 + 3, "eight counters and a histogram: {:?}", of("other"));
    watched.metrics.retain(&|server| server.name == "mcp");
    assert_eq!(of("other"), BTreeSet::new());
    assert_eq!(of("mcp"), stays);
    // It comes back, and counts from zero.
    decide(&watched.limiter(Fixed(allowed_by(DecidedBy::Store)), policies[1].clone()), USER).await;
    let calls = r#"{namespace="ns",server="other",decision="allowed",source="store"}"#;
    assert_eq!(watched.counted("tollgate_rate_limit_calls_total").get(calls), Some(&1));
}

#[tokio::test]
async fn a_call_that_only_limits_per_user_would_count_is_seen() {
    let watched = Watched::new();
    let limiter = watched.limiter(Fixed(denied_by(0, DecidedBy::Store)), policy(&server(None, bucket(1, "1h"))));
    assert!(limiter.decide(&Call::of(CALL)).await.expect("nobody asks").is_allowed());
    assert_eq!(watched.counted("tollgate_rate_limit_users_skipped_total"), counts([(r#"{namespace="ns",server="mcp"}"#, 1)]));
    limiter.reload(policy(&Limits::default()));
    assert!(limiter.decide(&Call::of(CALL)).await.expect("nobody asks").is_allowed());
    assert_eq!(watched.counted("tollgate_rate_limit_users_skipped_total").values().sum::<u64>(), 1, "no limit was left out");
    assert_eq!(watched.decisions(), BTreeMap::new());
}

#[tokio::test]
async fn servers_are_told_apart_and_users_are_not_told() {
    let watched = Watched::new();
    let store = Arc::new(Memory::default());
    for name in ["one", "two \"quoted\"\n"] {
        let limiter = watched.limiter(Arc::clone(&store), Policy::new(&ServerId::new("ns", name), &limits()));
        for user in [USER, USER, "bob", "carol"] {
            decide(&limiter, user).await;
        }
        let _ = limiter.decide(&Call::of("a tool without limits").by(USER)).await;
    }
    let text = watched.text();
    for name in ["one", r#"two \"quoted\"\n"#] {
        let calls = format!(r#"tollgate_rate_limit_calls_total{{namespace="ns",server="{name}",decision="allowed",source="store"}} 4"#);
        assert!(text.lines().any(|line| line == calls), "{text}");
    }
    for secret in [USER, "alice", "bob", "carol", "thv:rl", "a tool without limits"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn batches_of_scripts_are_measured() -> Result<(), RedisSettingsError> {
    let (watched, neighbour) = (Watched::new(), Server::start().await);
    let settings = RedisSettings::parse(&format!("redis://{}", neighbour.address()))?.observer(watched.metrics.clone());
    let limiter = Arc::new(watched.limiter(Redis::new(&settings).expect("usable settings"), policy(&limits())));
    let mut calls = JoinSet::new();
    for user in 0..50 {
        let limiter = Arc::clone(&limiter);
        calls.spawn(async move { limiter.decide(&Call::of("other").by(&user.to_string())).await.expect("it answers") });
    }
    calls.join_all().await;
    let text = watched.text();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).expect(name);
    assert_eq!(value("tollgate_rate_limit_batch_size_sum"), 50.0);
    let scripts = value("tollgate_rate_limit_batch_size_count");
    assert!((1.0..50.0).contains(&scripts), "{scripts} scripts");
    assert_eq!(value("tollgate_rate_limit_script_latency_seconds_count"), scripts);
    assert!(value("tollgate_rate_limit_script_latency_seconds_sum") > 0.0);
    Ok(())
}

/// The whole stack, with one observer for all of it.
#[tokio::test]
async fn a_store_that_goes_away_is_seen() -> Result<(), RedisSettingsError> {
    let (watched, neighbour) = (Watched::new(), Server::start().await);
    let settings = RedisSettings::parse(&format!("redis://{}", neighbour.address()))?.observer(watched.metrics.clone());
    let guard = GuardSettings::default().most_failures(NonZeroU32::MIN).observer(watched.metrics.clone());
    let limiter = watched.limiter(Guard::new(Redis::new(&settings).expect("usable settings"), guard), policy(&limits()));
    decide(&limiter, "").await;
    neighbour.kill();
    for _ in 0..3 {
        decide(&limiter, "").await;
    }
    let of_server = r#"namespace="ns",server="mcp""#;
    let by = |source: &str| format!(r#"{{{of_server},decision="allowed",source="{source}"}}"#);
    assert_eq!(watched.counted("tollgate_rate_limit_calls_total"), counts([(&by("store"), 1), (&by("fail_open"), 3)]));
    let labels = format!("{{{of_server}}}");
    assert_eq!(watched.counted("toolhive_rate_limit_fail_open_total"), counts([(&labels, 3)]));
    let errors = format!(r#"{{{of_server},error_type="connection"}}"#);
    assert_eq!(watched.counted("toolhive_rate_limit_redis_errors_total"), counts([(&errors, 1)]), "it was asked once more");
    assert!(watched.text().contains("\ntollgate_rate_limit_store_up 0\n"));
    Ok(())
}

#[test]
fn the_store_is_up_until_it_is_told_otherwise() {
    let watched = Watched::new();
    let up = || watched.counted("tollgate_rate_limit_store_up").contains_key("");
    assert!(up());
    watched.metrics.store_is(false);
    assert!(!up());
    watched.metrics.store_is(true);
    assert!(up());
}

#[tokio::test]
async fn a_watched_store_can_be_looked_into() {
    let limiter = Limiter::new(Observed::new(Memory::default(), Arc::new(Unobserved)), policy(&limits()));
    decide(&limiter, USER).await;
    assert_eq!(limiter.list(Bounds::default()).await.expect("it tells").buckets.len(), 4);
    assert!(limiter.reset(&BucketName::global()).await.expect("it is done"));
    assert_eq!(limiter.inspect(&Call::of(CALL)).await.expect("it tells").len(), 2);
}

/// The tables of the module's documentation and the registry name the same metrics, by the names that a scrape shows.
#[tokio::test]
async fn every_metric_is_documented() {
    let watched = Watched::new();
    let (policy, error) = (policy(&limits()), StoreError::untaken(Cause::Other, "it is told to fail"));
    watched.metrics.failed(&policy.plan(&Call::of(CALL)), &error);
    for answer in [allowed_by(DecidedBy::Store), denied_by(0, DecidedBy::Store), Err(error)] {
        decide(&watched.limiter(Fixed(answer), policy.clone()), "").await;
    }
    let text = watched.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exported: BTreeSet<String> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/mod.rs")).expect("it is there");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(exported, documented);
}
